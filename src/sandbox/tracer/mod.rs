//! Init as the tracer (ptrace(2)) of the command and all its descendants.
//!
//! The filter stops the processes before the calls that matter (`SECCOMP_RET_TRACE`, Linux 4.8) and before no others.
//! [`stop_loop`] decides what each stop means and how to resume, so that signals, job control and exit statuses stay as they
//! are without a tracer. It serves three features:
//! - [`exec_redirect`]: foreign programs where no handler is registered with the kernel (`--emulation ptrace`);
//! - [`explain`]: what the sandbox refused (`--explain`);
//! - [`interpose`]: another time and another order of directories (`--clock`, `--dir-order`).
//!
//! A process that lost its tracer can execute nothing: the calls that stop then fail with ENOSYS.

mod attach;
pub(in crate::sandbox) mod exec_redirect;
pub(in crate::sandbox) mod explain;
pub(in crate::sandbox) mod interpose;
mod probe;
mod stop_loop;

pub(super) use attach::Gate;
pub(super) use probe::probe;
pub(super) use stop_loop::Tracer;
