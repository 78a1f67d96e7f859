//! Sources of a project: archives by their digest, unpacked strictly, patched, read-only.
//!
//! An archive is bytes of a digest, wherever they come from: its URL, a mirror, a directory, a registry, or a commit that was
//! made into a tar. What is unpacked depends on the archive, the path components left out and the patches alone; it is kept by
//! the digest of these three. `docs/sources.md` describes it.

mod archive;
mod download;
mod entry_path;
mod error;
mod git;
mod hunk;
mod links;
mod location;
pub(crate) mod mirror;
mod patch;
mod tree;
mod zip;

pub use archive::{strip_of, unpack};
pub(crate) use download::{Search, download};
pub(crate) use error::{SourceError, UnpackError};
pub(crate) use git::{GitHost, commit_time};
pub(crate) use location::settings;

#[cfg(test)]
mod tests;
