//! What the files of a project ask for beyond the project's own directory, and whether the user has allowed it.
//!
//! A project may be a stranger's: its files alone give it nothing of the host. Each setting that reaches further is a
//! [`Setting`]; [`Consent`] compares those that a command needs with what the user has said, and gives an [`Allowed`],
//! without which nothing of this is opened. The user says it for one command (an option), by a rule of `config.toml`, or
//! for good: with `hermes allow`, or at the terminal. What was said for good holds for one directory and for exactly the
//! settings that it had then. A lock allows nothing.

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
