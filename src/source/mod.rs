//! Sources of a project: archives by their digest, unpacked strictly, patched, read-only.
//!
//! An archive is bytes of a digest, wherever they come from: its URL, a mirror, a directory, a registry, or a commit that was
//! made into a tar. What is unpacked depends on the archive, the path components left out and the patches alone; it is kept by
//! the digest of these three. `docs/sources.md` describes it.

mod archive;
mod error;
mod hunk;
mod links;
mod names;
mod patch;
mod tree;
mod zip;

pub use archive::{Unpacked, strip_of, unpack};
pub use error::UnpackError;
pub use tree::digest_of;

#[cfg(test)]
mod tests;
