//! The content of a lock, independent of the version of the format.

use std::collections::BTreeMap;
use std::fmt;

use crate::digest::Digest;
use crate::lock::build::Build;
use crate::lock::entry::{self, UnknownPlatforms};
use crate::lock::root::{
    Archive, Deb, NativeTools, Root, RootKey, native_key, native_reference, root_key, root_reference,
};
use crate::lock::{Source, ToolchainSourceKey};
use crate::oci::{self, Descriptor, WirePlatform};
use crate::platform::Platform;
use crate::reference::Reference;

/// The content of a lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// Settings of builds. `None` in a lock of version 1.
    pub build: Option<Build>,
    /// Images by reference and requested platform.
    pub images: BTreeMap<(Reference, Platform), Image>,
    /// Emulators by foreign platform.
    pub emulators: BTreeMap<Platform, Emulator>,
    /// Sources of the project, by name.
    pub sources: BTreeMap<String, Source>,
    /// Sources of toolchains.
    pub toolchain_sources: BTreeMap<ToolchainSourceKey, Source>,
    /// What the file has for platforms that this hermes does not know.
    pub unknown: UnknownPlatforms,
    /// Archives of packages, by a name that roots use.
    pub archives: BTreeMap<String, Archive>,
    /// Roots composed of packages.
    pub roots: BTreeMap<RootKey, Root>,
    /// Native tools composed of packages, by the toolchain and target platform that they are for.
    pub natives: BTreeMap<RootKey, NativeTools>,
}

impl Lock {
    /// The root, or the native tools, of which `reference` is the reserved reference.
    #[must_use]
    pub fn root(&self, reference: &Reference, platform: Platform) -> Option<&Root> {
        let native = || native_key(reference).and_then(|key| self.natives.get(&key)).map(|native| &native.root);
        let root = root_key(reference, platform).and_then(|key| self.roots.get(&key));
        root.or_else(native).filter(|root| root.platform == platform)
    }

    /// Whether the lock has an image, or packages, for a reference and platform.
    #[must_use]
    pub fn has(&self, (reference, platform): (&Reference, Platform)) -> bool {
        self.images.contains_key(&(reference.clone(), platform)) || self.root(reference, platform).is_some()
    }

    /// The image of a root, if it was composed.
    #[must_use]
    pub fn image_of_root(&self, key: &RootKey, root: &Root) -> Option<&Image> {
        self.images.get(&(root_reference(&key.0, key.1, root.platform)?, root.platform))
    }

    /// The image of native tools, if it was composed.
    #[must_use]
    pub fn image_of_native(&self, key: &RootKey, native: &NativeTools) -> Option<&Image> {
        self.images.get(&(native_reference(&key.0, key.1)?, native.root.platform))
    }

    /// All sources, each with a name for messages: those of the project, then those of toolchains.
    pub fn all_sources(&self) -> impl Iterator<Item = (String, &Source)> {
        let of_project = self.sources.iter().map(|(name, source)| (name.clone(), source));
        let of_toolchains = self.toolchain_sources.iter();
        of_project.chain(of_toolchains.map(|((toolchain, platform, name), source)| {
            (format!("{name} of {toolchain} for {}", platform.name()), source)
        }))
    }

    /// The archives of a root; `None` if the lock lacks one.
    #[must_use]
    pub fn archives_of(&self, root: &Root) -> Option<Vec<&Archive>> {
        self.archives_named(&root.archives)
    }

    /// The archives with these names; `None` if the lock lacks one.
    #[must_use]
    pub fn archives_named(&self, names: &[String]) -> Option<Vec<&Archive>> {
        names.iter().map(|name| self.archives.get(name)).collect()
    }

    /// Takes from `other` the archives with these names.
    pub fn copy_archives(&mut self, names: &[String], other: &Self) {
        for name in names {
            self.archives.extend(other.archives.get(name).map(|archive| (name.clone(), archive.clone())));
        }
    }

    /// Takes from `other` the root, or the native tools, of which `reference` is the reserved reference, with the archives.
    pub fn copy_root(&mut self, reference: &Reference, platform: Platform, other: &Self) {
        let Some(root) = other.root(reference, platform) else { return };
        self.copy_archives(&root.archives, other);
        if let Some(key) = root_key(reference, platform) {
            self.roots.insert(key, root.clone());
        } else if let Some((key, native)) = native_key(reference).and_then(|key| other.natives.get_key_value(&key)) {
            self.natives.insert(key.clone(), native.clone());
        }
    }
}

/// An image for one platform, identified by content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The platform that the image is made for: the requested one, or a compatible older ARM.
    pub platform: Platform,
    /// The platform that the image states, if the user chose the image by that (`--image-platform`).
    pub label: Option<WirePlatform>,
    /// The index that the reference named; `None` if it named a manifest.
    pub index: Option<Descriptor>,
    pub manifest: Descriptor,
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
    /// Digest of the table of contents of all layers together, which does not depend on how the image is divided into layers
    /// or compressed. `None` if the layers were not unpacked when the lock was written.
    pub tree: Option<Digest>,
}

impl Image {
    /// What the reference named: the index, else the manifest.
    #[must_use]
    pub fn top(&self) -> &Descriptor {
        self.index.as_ref().unwrap_or(&self.manifest)
    }

    /// The `diff_id`s of the layers, lowest first.
    #[must_use]
    pub fn diff_ids(&self) -> Vec<Digest> {
        self.layers.iter().map(|layer| layer.diff_id).collect()
    }

    /// The `ChainID` of the layers; `None` without layers.
    #[must_use]
    pub fn chain_id(&self) -> Option<Digest> {
        oci::chain_id(&self.diff_ids())
    }
}

/// A layer: its blob, and the tar in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The blob, as in the registry.
    pub blob: Descriptor,
    /// SHA-256 of the uncompressed tar; identifies the unpacked layer.
    pub diff_id: Digest,
}

/// A QEMU user-mode emulator, identified by content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emulator {
    /// SHA-256 of the program.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
    /// The version that it states, valid by [`Emulator::is_version`].
    pub version: Option<String>,
    /// Where to get it from; `None` for a file of a host.
    pub origin: Option<Origin>,
}

/// Where an emulator can be fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file in an image.
    Image(FileOfImage),
    /// A file in a package.
    Package(FileOfPackage),
}

/// A file in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOfImage {
    /// The image, for the host's platform.
    pub image: Reference,
    /// The file's absolute path in it.
    pub path: String,
}

/// A file in a package of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOfPackage {
    /// The package, for the host's architecture. Of no other package any file is used.
    pub deb: Deb,
    /// Names of the archives in the lock that may have it.
    pub archives: Vec<String>,
    /// The file's absolute path.
    pub path: String,
}

impl Origin {
    /// The image or package.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Image(file) => format!("the image {}", file.image),
            Self::Package(file) => format!("the package {}", file.deb.shown()),
        }
    }

    /// The file's absolute path in it.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Image(FileOfImage { path, .. }) | Self::Package(FileOfPackage { path, .. }) => path,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(FileOfImage { image, path }) => write!(f, "{path} in {image}"),
            Self::Package(FileOfPackage { deb, path, .. }) => write!(f, "{path} in {}", deb.shown()),
        }
    }
}

impl Emulator {
    /// A program without known version and origin.
    #[must_use]
    pub fn new(digest: Digest, size: u64) -> Self {
        Self { digest, size, version: None, origin: None }
    }

    /// Whether both have the same content.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.digest, self.size) == (other.digest, other.size)
    }

    /// Whether `text` is a valid version: short and printable.
    #[must_use]
    pub fn is_version(text: &str) -> bool {
        entry::is_version(text)
    }

    /// The blob that it is stored as.
    #[must_use]
    pub fn blob(&self) -> Descriptor {
        Descriptor::new("application/octet-stream", self.digest, self.size)
    }
}
