//! `--explain`: what was refused to a command, and the option that would have allowed it.
//!
//! Init watches every process of the command by ptrace(2) ([`crate::sandbox::tracer`], [`Watcher`]). The filter stops them before the calls
//! of [`calls`] only, whose results init sees when they are over, and at calls that it refuses. What init has seen
//! ([`denials`]) goes to the supervisor, which alone sees the host, and there becomes an [`Explanation`] ([`diagnosis`]).
//!
//! ptrace, since nothing else sees how a call ended: a listener of the filter (`SECCOMP_RET_USER_NOTIF`) hears of a
//! call before it is carried out, audit and eBPF are root's.
//!
//! The policy is that of any other run, and the kernel enforces it. The answer to a refused call is `SECCOMP_RET_TRAP`: the
//! kernel does not carry the call out, and the process is about to receive SIGSYS. The tracer takes the signal away and
//! writes the errno. A command may add filters, but only one that kills outranks this answer; `SECCOMP_RET_ERRNO` would
//! hold as well, but no tracer hears of it. The tracer compares such a signal with the rules, since a command may use
//! `SECCOMP_RET_TRAP` itself. One difference to other runs is left: a thread that has SIGSYS blocked or ignored when it is
//! refused a call has the default action for it afterwards (kernel/signal.c, `force_sig_info_to_task`).

mod address;
mod advice;
mod call_arguments;
mod calls;
mod denials;
mod diagnosis;
mod path_resolution;
mod report;
mod watcher;

pub(in crate::sandbox) use calls::watched;
pub(in crate::sandbox) use denials::Denial;
pub(crate) use diagnosis::Caller;
pub(in crate::sandbox) use diagnosis::explain;
#[cfg(test)]
pub(crate) use report::Remedy;
pub(crate) use report::{Entry, Explanation};
pub(super) use watcher::Watcher;
