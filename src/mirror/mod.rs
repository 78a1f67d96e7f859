//! Mirrors of content: directories, and repositories of a registry, that have files by their digests.
//!
//! A directory, on this host or on a web server, has a file `sha256/<hex>`. In a repository a file is an artifact (OCI image
//! specification 1.1, "Guidelines for Artifact Usage"): a manifest tagged `sha256-<hex>` with the empty config and the file as
//! its one layer. `source` and `archive` read mirrors; this module writes them.

mod error;
mod file;
mod place;

pub(crate) use error::MirrorError;
pub(crate) use file::{has, to_directory, to_repository};
pub(crate) use place::{Place, directory, path_of, tag};
