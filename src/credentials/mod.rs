//! Credentials: of registries, in the files and helpers that docker and podman share; of package indexes, in `~/.netrc`.
//!
//! This module makes no requests, and no secret becomes part of a message.

mod credential;
mod error;
mod file;
mod helper;
mod key;
mod lookup;
mod netrc;
mod store;

pub(crate) use credential::Credential;
pub(crate) use error::CredentialsError;
pub(crate) use lookup::CredentialFiles;
pub(crate) use lookup::Lookup;
pub(crate) use netrc::{MAX_NETRC, of_netrc};
pub(crate) use store::{Backend, erase, store};
