//! Errors of unpacking a layer.

use std::io;

use crate::fs::space;
use crate::hint::{ErrorKind, Hint};
use crate::size;
use crate::visible::visible_path;

/// Why a layer cannot be unpacked. Paths are those of the tar, made fit for a terminal.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A media type that is no layer hermes can read, such as an encrypted one.
    #[error("cannot unpack layers of type '{0}'")]
    MediaType(String),
    /// Compressed in a way OCI does not have.
    #[error("the layer is compressed with {0}, which container images do not use")]
    Compression(&'static str),
    /// An archive is compressed in a way that hermes does not read.
    #[error("it is compressed with {0}, which hermes does not support")]
    ArchiveCompression(&'static str),
    /// The blob cannot be read or decompressed.
    #[error("cannot read the layer")]
    Read(#[source] io::Error),
    /// The layer costs more than it may.
    #[error("the layer has more than {limit} {what}")]
    Limit {
        /// What there is too much of, and its unit.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// So much comes out of so little that it seems made to fill the disk.
    #[error("it unpacks to more than {}, and to more than {ratio} times its size", size::bytes(*.free))]
    Bomb {
        /// Bytes that may come out whatever the size.
        free: u64,
        /// Bytes that may come out for each compressed byte beyond those.
        ratio: u64,
    },
    /// No tar, or one that readers could understand in different ways.
    #[error("invalid tar at byte {offset}: {why}")]
    Tar {
        /// Where in the tar.
        offset: u64,
        why: String,
    },
    /// An entry that must not be, or cannot be, put on disk.
    #[error("the entry '{path}' is refused: {why}")]
    Entry { path: String, why: &'static str },
    /// A path with too many names.
    #[error("the entry '{path}' is refused: its path has more than {limit} components")]
    Deep {
        path: String,
        /// How many are allowed.
        limit: u32,
    },
    /// A path that leads through something that is no directory.
    #[error("the entry '{path}' is refused: '{parent}' is not a directory in this layer")]
    Parent {
        path: String,
        /// The part of it in question.
        parent: String,
    },
    /// A hard link to nothing.
    #[error(
        "the entry '{path}' is refused: its hard link target '{target}' is not an earlier file of this layer or of one below"
    )]
    HardLink { path: String, target: String },
    /// A system call failed.
    #[error("cannot {action} '{path}'")]
    Io {
        /// Such as `create`.
        action: &'static str,
        path: String,
        source: io::Error,
    },
}

impl LayerError {
    /// For `map_err`: a system call on the entry `path` failed.
    pub(super) fn io<E: Into<io::Error>>(action: &'static str, path: &[u8]) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { action, path: visible_path(path), source: source.into() }
    }

    /// For `map_err`: the system has no thread left.
    pub(super) fn no_thread(source: io::Error) -> Self {
        Self::Io { action: "start a thread for", path: ".".into(), source }
    }

    pub(super) fn entry(path: &[u8], why: &'static str) -> Self {
        Self::Entry { path: visible_path(path), why }
    }
}

impl From<io::Error> for LayerError {
    /// An error of the decoder, which may wrap one of ours.
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(error) => Self::Read(error),
        }
    }
}

/// Whether an error of this kind is what a decompressor says.
fn is_about_bytes(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    matches!(kind, InvalidData | InvalidInput | Other | UnexpectedEof)
}

impl Hint for LayerError {
    fn kind(&self) -> ErrorKind {
        match self {
            // A decompressor's error carries no errno; a failing disk's does, but where a path was
            // added to it has only its kind.
            Self::Read(source) if source.raw_os_error().is_none() && is_about_bytes(source.kind()) => {
                ErrorKind::Integrity
            }
            // What is refused for its size alone may be as it should be.
            Self::Read(_)
            | Self::Io { .. }
            | Self::MediaType(_)
            | Self::Compression(_)
            | Self::ArchiveCompression(_)
            | Self::Bomb { .. } => ErrorKind::Failed,
            _ => ErrorKind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Read(source) | Self::Io { source, .. } => space::hints(source),
            Self::Bomb { .. } => vec![
                "if you trust its origin, raise the limit: --unpack-limit SIZE, or 'unpack-limit' in config.toml"
                    .into(),
            ],
            Self::ArchiveCompression(_) => {
                vec![
                    "decompress it first; hermes reads plain tars and those compressed with gzip, zstd, xz or bzip2"
                        .into(),
                ]
            }
            _ => vec![],
        }
    }
}
