//! Objects: what the store keeps by digest, and removes as a whole.

use std::path::PathBuf;

use crate::digest::Digest;
use crate::store::Store;

/// A kind of object. What is made of other objects comes before them, so that objects can be removed in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ObjectKind {
    /// Layers merged into one tree, by chain id.
    Tree,
    /// An unpacked layer, by `diff_id`.
    Layer,
    /// An unpacked source, by key.
    Source,
    /// A blob, by the digest of its bytes.
    Blob,
}

/// An object: its kind, and the digest that names it.
pub(super) type ObjectId = (ObjectKind, Digest);

impl ObjectKind {
    pub(super) const ALL: [Self; 4] = [Self::Tree, Self::Layer, Self::Source, Self::Blob];

    /// The directory of the store that holds objects of this kind.
    pub(super) fn directory(self) -> &'static str {
        match self {
            Self::Tree => "roots",
            Self::Layer => "layers",
            Self::Source => "sources",
            Self::Blob => "blobs/sha256",
        }
    }

    /// The word for it in a lease.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Layer => "layer",
            Self::Source => "source",
            Self::Blob => "blob",
        }
    }

    /// The kind with this [`Self::name`].
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Store {
    pub(super) fn object_path(&self, (kind, digest): ObjectId) -> PathBuf {
        self.path(kind.directory()).join(digest.hex())
    }
}
