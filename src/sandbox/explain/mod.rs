//! `--explain`: what was refused to a command, and the option that would have allowed it.
//!
//! Init watches every process of the command by ptrace(2) (`traced`, [`Watcher`]). The filter stops them before the calls
//! of [`calls`] only: what it would refuse, the tracer refuses in its place and takes note of; what it lets through is
//! looked at again when the call is over. What init has seen ([`seen`]) goes to the supervisor, which alone sees
//! the host, and there becomes an [`Explanation`] ([`verdict`]).
//!
//! ptrace, since nothing else sees how a call ended: a listener of the filter (`SECCOMP_RET_USER_NOTIF`) hears of a
//! call before it is carried out, audit and eBPF are root's.
//!
//! The policy is that of any other run. A call that is to fail stops for the tracer with its errno in what the filter
//! says, and no memory of the process is looked at to make it fail. Who is not watched gets ENOSYS from each of these
//! calls. None of the command's processes can become a tracer, and let such a call pass: for the
//! watched ptrace(2) is refused, for others it is one of these calls.

mod address;
mod advice;
mod calls;
mod place;
mod report;
mod seen;
mod subject;
mod verdict;
mod watcher;

pub(super) use calls::watched;
pub use report::{Entry, Explanation, Remedy};
pub(super) use seen::Refusal;
pub use verdict::Caller;
pub(super) use verdict::explain;
pub(super) use watcher::Watcher;
