//! System calls that the crates do not wrap, or not in the form needed: the only `unsafe` code.
//!
//! Every wrapper is named after its call, and every failure carries call, subject and errno.
#![expect(unsafe_code, reason = "the one module for it; every block says why it is sound")]

mod error;
pub(crate) mod file;
pub(crate) mod mount;
pub(crate) mod net;
pub(crate) mod process;
pub(crate) mod ptrace;
mod ptrace_request;
pub(crate) mod registers;
pub(crate) mod remount;
pub(crate) mod seccomp;
pub(crate) mod terminal;

pub(crate) use error::{Context, SysError};
