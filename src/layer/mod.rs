//! Hostile tar → tree on disk.
//!
//! A layer blob is decompressed, hashed, read strictly and written below one directory as a tree
//! that overlayfs can take as it is; what cannot be put on disk by an ordinary user (owners, devices,
//! setuid bits, privileged xattrs) goes into the [`Toc`]. `docs/store.md` describes both.

use std::io::Read;
use std::path::Path;

use crate::digest::Digest;

mod archive;
mod check;
mod decode;
mod error;
mod header;
mod input;
mod limits;
mod merge;
mod path;
mod pax;
mod readahead;
mod toc;
mod tree;
mod unpack;
mod writers;

pub(crate) use archive::{Content, Member};
pub(crate) use check::hash;
pub(crate) use check::{Depth, Fault, check};
pub(crate) use decode::{Compression, Decoder};
pub use error::LayerError;
pub(crate) use error::show;
pub(crate) use header::{Header, Type};
pub use limits::Limits;
pub(crate) use limits::Tally;
pub use merge::{Files, Merge};
pub(crate) use toc::TocError;
pub use toc::{Entry, Kind, Toc};

/// An unpacked layer.
#[derive(Debug)]
pub struct Unpacked {
    /// SHA-256 of the tar after decompression.
    pub diff_id: Digest,
    /// Entries of the tar.
    pub entries: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Whether the tree carries every whiteout and opaque mark. Where the kernel (before 5.8) or the
    /// file system refused one, the tree must not be an overlay's lower layer: merge by the TOC.
    pub overlay_ready: bool,
    /// What the tar said of every entry.
    pub toc: Toc,
}

/// Unpacks a layer into the existing, empty directory `into`, with threads of its own.
///
/// # Errors
/// Anything hostile, damaged or over `limits`; the system's errors. `into` is then in any state.
pub fn unpack(
    mut blob: impl Read + Send,
    media_type: &str,
    into: &Path,
    limits: &Limits,
) -> Result<Unpacked, LayerError> {
    unpack::unpack(&mut blob, media_type, into, limits)
}

/// Gives every regular file and every link of a tar, plain or compressed by gzip, zstd, xz or bzip2, to `visit`, which must write a
/// file's content, wherever to. Nothing is put on disk.
///
/// # Errors
/// As [`unpack()`], and those of `visit`.
pub(crate) fn for_each_member(
    mut archive: impl Read,
    limits: &Limits,
    visit: archive::Visit<'_>,
) -> Result<(), LayerError> {
    archive::for_each_member(&mut archive, limits, visit)
}

/// Gives every entry of a tar to `visit` as it stands there, with its content. Compressions
/// are those of [`for_each_member`]. Only the form of the tar is judged here; what an entry may be is the visitor's to say.
///
/// # Errors
/// A tar that is damaged, that readers could take in two ways, or over `limits`; those of `visit`.
pub(crate) fn for_each_entry<E: From<LayerError>>(
    mut archive: impl Read,
    limits: &Limits,
    visit: &mut dyn FnMut(&Header, Content<'_>) -> Result<(), E>,
) -> Result<(), E> {
    archive::for_each_entry(&mut archive, limits, visit)
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
