//! Fake root: one id is mapped, so every call that gives a file or a process to another user fails; package managers
//! want them to succeed (`docs/provision.md`).
//!
//! Without state the system call filter says that they did ([`mod@rules`]), and init hears only of the few whose file matters.
//! With state init hears of these calls and of
//! those that ask whose a file is (seccomp user notification, `seccomp_unotify(2)`), and keeps a table ([`notifier`]).
//! Nothing of it confines anyone: a command that lies to init, or changes its memory while init reads it, is told lies.

mod files;
mod layout;
mod notifier;
mod rules;
mod table;

pub(super) use notifier::OwnershipHandler;
pub(super) use rules::{Owner, rules, unheard};
