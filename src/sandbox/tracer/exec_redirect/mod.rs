//! Emulation by ptrace(2) (`--emulation ptrace`): a call that would execute a foreign program executes its emulator.
//!
//! [`Execution`] reads the arguments of such a call, [`mod@file`] opens the program as its process would, [`script`] reads `#!`
//! lines as the kernel does, and [`ExecRedirector`] changes the call.

mod arguments;
mod file;
mod redirector;
mod rules;
mod script;

pub(super) use arguments::Execution;
pub(super) use file::start as start_of_file;
pub(super) use redirector::{ExecRedirector, Left};
pub(in crate::sandbox) use rules::exec_stop_rules;
