//! Explanation of denials (`--explain`): what the sandbox denied to a command, and the option that would allow it.
//!
//! Init traces every process of the command ([`crate::sandbox::tracer`], [`Watcher`]). The filter stops them before the
//! calls of [`calls`] only, whose results init reads when they return, and at calls that it denies. Init sends what it
//! collected ([`denials`]) to the supervisor, which alone sees the host and makes an
//! [`Explanation`](crate::sandbox::Explanation) of it ([`diagnosis`]).
//!
//! Only ptrace(2) shows how a call ended: a listener of the filter (`SECCOMP_RET_USER_NOTIF`) sees a call before it is
//! executed, and audit and eBPF need root.
//!
//! The policy is that of any other run, and the kernel enforces it. The answer to a denied call is `SECCOMP_RET_TRAP`:
//! the kernel does not execute the call, and the process is about to receive SIGSYS. The tracer suppresses the signal and
//! sets the errno. A command may add filters, but only one that kills outranks this answer. `SECCOMP_RET_ERRNO` would
//! hold as well, but no tracer sees it. The tracer compares each SIGSYS with the rules, since a command may use
//! `SECCOMP_RET_TRAP` itself. One difference to other runs remains: a thread that blocks or ignores SIGSYS when it is
//! denied a call has the default action for it afterwards (kernel/signal.c, `force_sig_info_to_task`).

mod address;
mod advice;
mod call_arguments;
mod calls;
mod denials;
mod diagnosis;
mod path_resolution;
mod watcher;

pub(in crate::sandbox) use calls::watched;
pub(in crate::sandbox) use diagnosis::explain;
pub(super) use watcher::Watcher;
