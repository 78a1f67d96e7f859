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
    #[error("there is no project here whose lock it could be")]
    NoProject,
    /// Nothing to put into it.
    #[error("{} names no image that is wanted", lock.display())]
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
    #[error("{} is there, and is not the lock of the bundle", path.display())]
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
            Self::NoProject => vec!["change to a directory with a hermes.toml, or name a lock with --lock FILE".into()],
            Self::NothingLocked { .. } => vec!["lock something first: hermes fetch".into()],
            Self::Lacking { .. } => {
                vec!["fetch it while there is a network: hermes bundle create without --offline".into()]
            }
            Self::OtherLock { .. } => vec![
                "leave --write-lock out: what is in the bundle is taken, and the lock stays as it is".into(),
                "or write it elsewhere: --lock FILE".into(),
            ],
        }
    }
}
