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
//! The processes are forks without exec. That is sound because `spawn::spawn` demands proof
//! that this process has a single thread, and it costs no start of a program.

mod advice;
pub(crate) mod cgroup;
mod channel;
mod error;
mod fakeroot;
mod init;
mod landlock_only;
mod limits;
mod message;
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
mod termination;
mod tracer;

pub(crate) use cgroup::Group;
pub(crate) use error::SandboxError;
pub(crate) use landlock_only::{LandlockPlan, run as run_landlock_only};
pub(crate) use limits::{AppliedLimits, Limits, apply_limits};
pub(crate) use outcome::{Cause, Ended, Enforced, Outcome};
pub(crate) use plan::{Device, Plan, Reach, Root, Rung, Scratch};
pub(crate) use policy::{Bind, FakeRoot, Feature, HOSTNAME, Isolation, Network, Policy, Profile, Shared, UMASK};
pub(crate) use seccomp::POLICY_DIGEST;
pub(crate) use spawn::{InitReaper, run};
pub(crate) use subids::SubIds;
#[cfg(test)]
pub(crate) use tracer::explain::Remedy;
pub(crate) use tracer::explain::{Caller, Entry, Explanation};
pub(crate) use tracer::interpose::{Clock, DirectoryOrder, Interposed};
