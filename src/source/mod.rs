//! Sources of projects and toolchains: archives identified by digest, unpacked strictly, patched, and read-only.
//!
//! An archive comes from its URL, a mirror, a directory, a registry or an index of Python packages, or is a tar of a git commit
//! or of files in a definition. The unpacked tree depends
//! only on the archive, the stripped path components and the patches, and is stored by the digest of these three.
//! `docs/sources.md` describes sources.

mod archive;
mod download;
mod entry_path;
mod error;
mod git;
mod hunk;
pub(crate) mod index;
mod inline;
mod label;
mod links;
mod location;
mod patch;
mod tree;
mod zip;

pub use archive::{strip_of, unpack};
pub(crate) use download::{Search, download};
pub(crate) use error::{SourceError, UnpackError};
pub(crate) use git::{GitHost, commit_time};
pub(crate) use index::PipHost;
pub(crate) use inline::archive as inline_archive;
pub(crate) use label::Label;
pub(crate) use location::settings;

#[cfg(test)]
mod tests;
