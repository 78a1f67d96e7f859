//! Why an archive is not unpacked.

use std::io;

use crate::hint::{ErrorKind, Hint};
use crate::layer::{LayerError, show};

/// Why an archive is not unpacked, or a patch not applied.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The tar, or its compression.
    #[error(transparent)]
    Tar(#[from] LayerError),
    /// The zip.
    #[error("the zip is not valid: {0}")]
    Zip(String),
    /// No archive that hermes unpacks.
    #[error("{0}")]
    Format(&'static str),
    /// An entry that must not be, or cannot be, put on disk.
    #[error("the entry '{path}' is refused: {why}")]
    Entry {
        /// Its path.
        path: String,
        /// Why.
        why: String,
    },
    /// More than an archive may cost.
    #[error("more than {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: u64,
    },
    /// Nothing comes out.
    #[error("nothing is left of the archive after {0} leading path components are left out")]
    Empty(u32),
    /// A patch that is not one.
    #[error("the patch is not valid at line {line}: {why}")]
    Patch {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A patch that is not for this tree.
    #[error("the patch does not apply to '{path}': {why}")]
    Mismatch {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A system call failed.
    #[error("cannot {action} '{path}'")]
    Io {
        /// Such as `create`.
        action: &'static str,
        /// The entry.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl UnpackError {
    pub(super) fn entry(path: &[u8], why: impl Into<String>) -> Self {
        Self::Entry { path: show(path), why: why.into() }
    }

    /// For `map_err`: a system call on the entry `path` failed.
    pub(super) fn io<E: Into<io::Error>>(action: &'static str, path: &[u8]) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { action, path: show(path), source: source.into() }
    }
}

impl Hint for UnpackError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Tar(error) => error.kind(),
            Self::Io { .. } | Self::Empty(_) | Self::Format(_) | Self::Patch { .. } | Self::Mismatch { .. } => {
                ErrorKind::Failed
            }
            _ => ErrorKind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Tar(error) => error.hints(),
            Self::Io { source, .. } => crate::fs::space::hints(source),
            Self::Empty(_) => vec!["say how many are to be left out: strip = 0".into()],
            Self::Patch { .. } | Self::Mismatch { .. } => {
                vec!["patches are unified diffs with a/ and b/ before the paths, and apply without fuzz".into()]
            }
            _ => vec![],
        }
    }
}
