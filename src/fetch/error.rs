//! Why an image could not be fetched whole.

use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::fs::space;
use crate::hint::{ErrorKind, Hint};
use crate::registry::RegistryError;
use crate::store::StoreError;

/// Why an image could not be fetched whole.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The registry failed or sent something wrong.
    #[error(transparent)]
    Registry {
        /// How.
        source: Box<RegistryError>,
    },
    /// The same, but part of a layer came and is in the store for the next time.
    #[error(transparent)]
    Partial {
        /// How.
        source: Box<RegistryError>,
    },
    /// The store failed.
    #[error("cannot keep the image in the store")]
    Store {
        /// How.
        source: Box<StoreError>,
    },
    /// A layer that came from a registry could not be unpacked or is not what it should be.
    #[error("layer {digest} from {host} is not usable")]
    Layer {
        /// The layer's blob.
        digest: Digest,
        /// The registry or mirror it came from.
        host: String,
        /// What is wrong.
        source: Box<StoreError>,
    },
    /// A layer's blob in the store is damaged or cannot be unpacked.
    #[error("the layer in {} is not usable", path.display())]
    Blob {
        /// The blob.
        path: PathBuf,
        /// What is wrong.
        source: Box<StoreError>,
    },
    /// A layer's blob cannot be written.
    #[error("cannot write the blob {}", path.display())]
    Write {
        /// The blob.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A thread of hermes died.
    #[error("a thread that unpacked a layer died")]
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
                hints.push("what came is kept for a week: the same command goes on from there".into());
                hints
            }
            Self::Layer { host, source, .. } if source.kind() == ErrorKind::Integrity => {
                let mut hints = source.hints();
                hints.push(format!(
                    "nothing of it was kept; if {host} is a mirror, take it out of 'mirrors' in config.toml and try again"
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
