//! Errors of writing mirrors.

use std::io;
use std::path::PathBuf;

use crate::fs::space;
use crate::hint::{ErrorKind, Hint};
use crate::registry::RegistryError;
use crate::store::StoreError;

/// A file cannot be copied to a mirror.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MirrorError {
    /// The store lacks it, or has it damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The registry refuses it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The name of the mirror is not a repository.
    #[error("invalid repository of a registry '{text}'")]
    Repository {
        /// As the user named it.
        text: String,
    },
    /// A file of the mirror cannot be written, or one of the store not be read.
    #[error("cannot {verb} {}", path.display())]
    File { verb: &'static str, path: PathBuf, source: io::Error },
    /// The mirror is in a registry, and the network is disabled.
    #[error("cannot write to {place} with --offline")]
    Offline {
        /// The repository.
        place: String,
    },
}

impl Hint for MirrorError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Registry(error) => error.kind(),
            Self::Repository { .. } | Self::Offline { .. } => ErrorKind::Usage,
            Self::File { .. } => ErrorKind::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Store(error) => error.hints(),
            Self::Registry(error) => error.hints(),
            Self::Repository { .. } => {
                vec!["name a directory, or a repository such as oci://registry.example.org/site/mirror".into()]
            }
            Self::File { source, .. } => space::hints(source),
            Self::Offline { .. } => vec!["name a directory, or omit --offline".into()],
        }
    }
}
