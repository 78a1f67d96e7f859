//! Runs a command in a sandbox.
//!
//! [`policy`] (the requirements) → [`plan`] (what will be done, as data) → [`filter`] (the system call filter) → [`spawn`]
//! (the init process in new namespaces) → [`init`] (carries out the plan, starts the command, reaps) ‖ [`supervise`]
//! (waits, forwards signals and the terminal) → [`Outcome`]. [`landlock_only`] does the same without namespaces,
//! [`probe`] tries what the host allows.
//!
//! There are two user namespaces. Init is root of the outer one, which owns the mounts, the network and the handlers of
//! foreign programs. The command runs in the inner one, where it has no power over any of these even if it regained every
//! capability. It cannot make a third: the outer one is limited to one child.
//!
//! The processes are forks without exec. That is sound because [`spawn::run`] demands proof that this process has a
//! single thread, and it saves the start of a program.

mod advice;
pub(crate) mod cgroup;
mod channel;
mod denial;
mod error;
mod explanation;
mod fakeroot;
mod filter;
mod init;
mod interposed;
mod landlock_only;
mod limits;
mod message;
mod outcome;
mod plan;
mod policy;
pub(crate) mod probe;
mod seccomp;
mod spawn;
mod step;
mod streams;
mod subids;
mod summary;
mod supervise;
mod terminal;
mod termination;
mod tracer;

pub(crate) use cgroup::{Group, apply_limits};
pub(crate) use error::SandboxError;
#[cfg(test)]
pub(crate) use explanation::Remedy;
pub(crate) use explanation::{Entry, Explanation};
pub use interposed::DirectoryOrder;
pub(crate) use interposed::{Clock, Interposed};
pub(crate) use landlock_only::{LandlockPlan, run as run_landlock_only};
pub(crate) use limits::{AppliedLimits, Limits, lowest_nice};
pub(crate) use outcome::{Cause, Ended, Enforced, Outcome};
pub(crate) use plan::{Device, Mount, Plan, Reach, Root, RootStrategy, Scratch};
pub(crate) use policy::{
    Bind, Caller, FakeRoot, Feature, HOSTNAME, Isolation, Network, PathOwner, Policy, Profile, Shared, UMASK,
};
pub(crate) use seccomp::POLICY_DIGEST;
pub(crate) use spawn::{Beside, InitReaper, run, run_beside};
#[cfg(test)]
pub(crate) use step::Step;
pub(crate) use subids::SubIds;
pub(crate) use summary::{FilterSummary, filter_summary, landlock_filter_summary, namespace_names};
