//! System calls that the crates do not wrap, or not in the form needed: the only `unsafe` code.
//!
//! Every wrapper is named after its call, and every failure carries call, subject and errno.
#![expect(unsafe_code, reason = "the one module for it; every block says why it is sound")]

mod error;
pub mod file;
pub mod mount;
pub mod net;
pub mod process;
pub mod ptrace;
pub mod registers;
pub mod remount;
pub mod seccomp;
pub mod terminal;

pub use error::{Context, SysError};
