//! Fake root: one id is mapped, so every call that gives a file or a process to another user fails; package managers
//! want them to succeed (`docs/provision.md`).
//!
//! Without state the system call filter says that they did ([`rules`]).

mod rules;

pub(super) use rules::rules;
