//! Errors of fetching an image.

use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::fs::space;
use crate::hint::{ErrorKind, Hint};
use crate::registry::RegistryError;
use crate::store::StoreError;

/// An image cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The registry failed, or sent wrong content.
    #[error(transparent)]
    Registry { source: Box<RegistryError> },
    /// The registry failed, and the part of a layer that was received is in the store.
    #[error(transparent)]
    Partial { source: Box<RegistryError> },
    /// The store failed.
    #[error("cannot store the image")]
    Store { source: Box<StoreError> },
    /// A layer from a registry cannot be unpacked or has wrong content.
    #[error("cannot use the layer {digest} from {host}")]
    Layer {
        /// Digest of the blob.
        digest: Digest,
        /// The registry or mirror that sent it.
        host: String,
        source: Box<StoreError>,
    },
    /// A layer's blob in the store is damaged or cannot be unpacked.
    #[error("cannot use the layer in {}", path.display())]
    Blob { path: PathBuf, source: Box<StoreError> },
    /// A layer's blob cannot be written.
    #[error("cannot write the blob {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// A worker thread panicked.
    #[error("a thread that unpacks layers panicked")]
    Worker,
}

impl FetchError {
    pub(super) fn registry(source: RegistryError) -> Self {
        Self::Registry { source: Box::new(source) }
    }

    pub(super) fn store(source: StoreError) -> Self {
        Self::Store { source: Box::new(source) }
    }
}

impl Hint for FetchError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Registry { source } | Self::Partial { source } => source.kind(),
            Self::Store { source } | Self::Layer { source, .. } | Self::Blob { source, .. } => source.kind(),
            Self::Write { .. } => ErrorKind::Failed,
            Self::Worker => ErrorKind::Internal,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Registry { source } => source.hints(),
            Self::Partial { source } => {
                let mut hints = source.hints();
                hints
                    .push("the store keeps the received part for a week: the same command resumes the download".into());
                hints
            }
            Self::Layer { host, source, .. } if source.kind() == ErrorKind::Integrity => {
                let mut hints = source.hints();
                hints.push(format!(
                    "the data was discarded; if {host} is a mirror, remove it from 'mirrors' in config.toml and try again"
                ));
                hints
            }
            Self::Blob { path, source } if source.kind() == ErrorKind::Integrity => {
                let mut hints = source.hints();
                hints.push(format!("remove {} and run 'hermes pull' again", path.display()));
                hints
            }
            Self::Store { source } | Self::Layer { source, .. } | Self::Blob { source, .. } => source.hints(),
            Self::Write { source, .. } => space::hints(source),
            Self::Worker => Vec::new(),
        }
    }
}
