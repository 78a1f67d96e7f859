//! The sandbox: from what was asked to a process that ran.
//!
//! `policy` (what was asked) → `plan` (what will be done, as data) → `spawn` (the init process in
//! new namespaces) → `init` (carries the plan out, runs the command, reaps) ‖ `supervise` (waits,
//! passes signals and the terminal on) → [`Outcome`].
//!
//! There are two user namespaces. Init is root of the outer one, which owns the mounts, the network
//! and the handlers. The command lives in an inner one, where it has no power over any of these even
//! if it regained every capability. No third can be made: the outer one is limited to one child.
//!
//! The processes are forks without exec. That is sound because [`spawn`](spawn::spawn) demands proof
//! that this process has a single thread, and it costs no start of a program.

mod advice;
mod bare;
pub(crate) mod cgroup;
mod disguise;
mod ending;
mod error;
mod explain;
mod fakeroot;
mod init;
mod limits;
mod outcome;
mod plan;
mod policy;
pub(crate) mod probe;
mod seccomp;
mod spawn;
mod streams;
mod subids;
mod supervise;
mod terminal;
mod traced;
mod wire;

pub(crate) use bare::{Bare, Reach, run as run_bare};
pub(crate) use cgroup::Group;
pub(crate) use disguise::{Clock, DirectoryOrder, Disguise};
pub(crate) use error::SandboxError;
#[cfg(test)]
pub(crate) use explain::Remedy;
pub(crate) use explain::{Caller, Entry, Explanation};
pub(crate) use limits::{Held, Limits, hold};
pub(crate) use outcome::{Cause, Ended, Enforced, Outcome};
pub(crate) use plan::{Device, Plan, Root, Rung, Scratch};
pub(crate) use policy::{Bind, FakeRoot, Feature, HOSTNAME, Isolation, Network, Policy, Profile, Shared, UMASK};
pub(crate) use seccomp::POLICY_DIGEST;
pub(crate) use spawn::{Remains, run};
pub(crate) use subids::SubIds;
