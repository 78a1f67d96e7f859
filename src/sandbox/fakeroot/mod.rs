//! Fake root. Only one id is mapped, so the kernel refuses every call that gives a file or a process to another user.
//! Package managers expect these calls to succeed (`docs/provision.md`).
//!
//! Without state the system call filter lets them seem to succeed ([`mod@rules`]), and passes only those calls to init that
//! depend on the file. With state the filter passes these calls, and those that ask for the owner of a file, to init
//! (seccomp user notification, `seccomp_unotify(2)`), which keeps a table ([`notifier`]). None of this confines the
//! command: if it lies to init, or changes its memory while init reads it, it only deceives itself.

mod files;
mod layout;
mod notifier;
mod rules;
mod table;

pub(super) use notifier::OwnershipHandler;
pub(super) use rules::{Owner, rules, without_listener};
pub(super) use table::FirstOwners;
