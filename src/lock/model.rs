//! What a lock says, whatever the version of its file.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::lock::Source;
use crate::lock::build::Build;
use crate::oci::{self, Descriptor, WirePlatform};
use crate::platform::Platform;
use crate::reference::Reference;

/// All that was resolved, by what was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// What builds see of their surroundings. `None` in a lock of version 1.
    pub build: Option<Build>,
    /// The image of each reference for each platform it was wanted for.
    pub images: BTreeMap<(Reference, Platform), Image>,
    /// The emulator of each foreign platform.
    pub emulators: BTreeMap<Platform, Emulator>,
    /// The sources of the project, by name.
    pub sources: BTreeMap<String, Source>,
}

/// One image for one platform, down to its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The platform the image is made for: the one wanted, or an older ARM that serves it.
    pub platform: Platform,
    /// The platform that the image itself states, where the user chose it by that (`--image-platform`).
    pub label: Option<WirePlatform>,
    /// The index the reference led to; `None` where it led straight to a manifest.
    pub index: Option<Descriptor>,
    /// The manifest.
    pub manifest: Descriptor,
    /// The image config.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
    /// What the layers make together: the digest of a table of contents of all of it, the same however it is cut into
    /// layers and compressed. `None` where they were not unpacked when this was written.
    pub tree: Option<Digest>,
}

impl Image {
    /// What the reference itself led to: the index, or the manifest where there was none.
    #[must_use]
    pub fn top(&self) -> &Descriptor {
        self.index.as_ref().unwrap_or(&self.manifest)
    }

    /// The tars of the layers, lowest first.
    #[must_use]
    pub fn diff_ids(&self) -> Vec<Digest> {
        self.layers.iter().map(|layer| layer.diff_id).collect()
    }

    /// The name of its layers in their order; `None` where it has none.
    #[must_use]
    pub fn chain_id(&self) -> Option<Digest> {
        oci::chain_id(&self.diff_ids())
    }
}

/// A layer: its blob, compressed or not, and the tar within.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The blob as the registry serves it.
    pub blob: Descriptor,
    /// SHA-256 of the tar after decompression; names the unpacked layer.
    pub diff_id: Digest,
}

/// A QEMU user-mode emulator, pinned by content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emulator {
    /// SHA-256 of the program file.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What it says its version is, as [`Emulator::is_version`] takes it.
    pub version: Option<String>,
    /// Where it can be fetched; `None` of a file of a host.
    pub origin: Option<Origin>,
}

/// A file in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The image, for the host's platform.
    pub image: Reference,
    /// The file's absolute path in it.
    pub path: String,
}

impl Emulator {
    /// The program with these bytes, of which no more is known.
    #[must_use]
    pub fn new(digest: Digest, size: u64) -> Self {
        Self { digest, size, version: None, origin: None }
    }

    /// Whether both are the same bytes.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.digest, self.size) == (other.digest, other.size)
    }

    /// Whether `text` can be a version: short, and nothing that a terminal would obey.
    #[must_use]
    pub fn is_version(text: &str) -> bool {
        (1..=100).contains(&text.len()) && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
    }

    /// The blob it is kept as.
    #[must_use]
    pub fn blob(&self) -> Descriptor {
        Descriptor::new("application/octet-stream", self.digest, self.size)
    }
}
