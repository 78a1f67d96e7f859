//! Errors of `hermes bundle`.

use std::path::PathBuf;

use crate::commands::OwnError;
use crate::digest::Digest;
use crate::hint::{ErrorKind, Hint};

/// Most missing blobs that are named.
const MAX_NAMED: usize = 10;

/// Why a bundle cannot be made or loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BundleError {
    /// Neither a project nor a lock.
    #[error("there is no project in this directory, and no lockfile was named")]
    NoProject,
    /// Nothing to put into it.
    #[error("{} contains no image to bundle", lock.display())]
    NothingLocked {
        /// The lock file.
        lock: PathBuf,
    },
    /// Parts that are not here.
    #[error("the store does not have {}", what.join(", "))]
    Lacking {
        /// What they are.
        what: Vec<String>,
    },
    /// A lock that would have to be overwritten.
    #[error("{} exists and differs from the lockfile in the bundle", path.display())]
    OtherLock {
        /// The lock file.
        path: PathBuf,
    },
}

impl BundleError {
    pub(super) fn lacking(blobs: Vec<(Digest, String)>) -> Self {
        let more = blobs.len().saturating_sub(MAX_NAMED);
        let named = blobs.into_iter().take(MAX_NAMED).map(|(digest, name)| format!("{name} ({})", digest.short()));
        let more = (more > 0).then(|| format!("and {more} more"));
        Self::Lacking { what: named.chain(more).collect() }
    }
}

impl OwnError for BundleError {}

impl Hint for BundleError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoProject => ErrorKind::Usage,
            Self::Lacking { .. } => ErrorKind::Unavailable,
            Self::NothingLocked { .. } | Self::OtherLock { .. } => ErrorKind::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoProject => {
                vec!["change to a directory with a hermes.toml, or name a lockfile with --lock FILE".into()]
            }
            Self::NothingLocked { .. } => vec!["lock an image first: hermes fetch".into()],
            Self::Lacking { .. } => {
                vec!["download it while there is a network: hermes bundle create without --offline".into()]
            }
            Self::OtherLock { .. } => vec![
                "omit --write-lock: the bundle is imported, and the lockfile does not change".into(),
                "or write it elsewhere: --lock FILE".into(),
            ],
        }
    }
}
