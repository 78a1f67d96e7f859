//! Consent: whether the user allows the access beyond a project that the project's files ask for.
//!
//! A project may be a stranger's, so its files alone give it no access to the host. A [`Setting`] asks for access.
//! [`Consent`] compares the settings that a command needs with what the user has allowed, and returns an [`Allowed`], which
//! functions that open such things require as proof. The user gives consent for one command (an option), by a rule in
//! `config.toml`, or permanently, with `hermes allow` or at the prompt. Permanent consent is for one directory and for
//! exactly the settings that it had then. A lock gives no access.

mod access;
mod decision;
mod error;
mod memory;
mod project_path;
mod rule;

pub(crate) use access::{Access, Setting, Settings};
pub(crate) use decision::{Allowed, Consent, Question};
pub(crate) use error::ConsentError;
pub(crate) use memory::Memory;
pub(crate) use project_path::ProjectPath;
pub(crate) use rule::Rule;

#[cfg(test)]
mod tests;
