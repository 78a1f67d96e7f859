//! The format of a lock file: versions, and conversion to the model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::lock::build::Build;
use crate::lock::entry::{AnyPlatform, WireBlob, WireEmulator, WireImage, WireLayer, WireRoot};
use crate::lock::model::{Emulator, Image, Layer, Lock, Origin};
use crate::lock::packages::{ArchiveName, ToolchainName, WireArchive, WirePackages};
use crate::lock::source::{SourceName, WireSource};
use crate::oci::{self, Descriptor};
use crate::reference::Reference;

/// The versions of the format. Each adds keys to the one before, and all are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Images and emulators.
    V1 = 1,
    /// Adds `[build]` and sources, and `chain-id` and `tree` of an image.
    V2 = 2,
    /// Adds `label` of an image. Written only where an image has one, so that an older hermes can read all other locks.
    V3 = 3,
    /// Adds archives and roots. Written only where a lock has a root.
    V4 = 4,
}

impl Version {
    pub(super) const LATEST: Self = Self::V4;

    /// The version with this number.
    pub(super) fn numbered(number: i64) -> Option<Self> {
        [Self::V1, Self::V2, Self::V3, Self::V4].into_iter().find(|version| version.number() == number)
    }

    pub(super) fn number(self) -> i64 {
        self as i64
    }

    /// The version that `lock` is written in.
    fn of(lock: &Lock) -> Self {
        if !lock.roots.is_empty() || !lock.unknown.roots.is_empty() {
            Self::V4
        } else if lock.images.values().any(|image| image.label.is_some()) {
            Self::V3
        } else {
            Self::V2
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireLock {
    version: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    build: Option<Build>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    image: BTreeMap<Reference, BTreeMap<AnyPlatform, WireImage>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    emulator: BTreeMap<AnyPlatform, WireEmulator>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    source: BTreeMap<SourceName, WireSource>,
    /// Written apart: see [`WirePackages`].
    #[serde(default, skip_serializing)]
    archive: BTreeMap<ArchiveName, WireArchive>,
    #[serde(default, skip_serializing)]
    root: BTreeMap<ToolchainName, BTreeMap<AnyPlatform, WireRoot>>,
}

impl WireEmulator {
    fn of(emulator: &Emulator) -> Self {
        let Emulator { digest, size, version, origin } = emulator.clone();
        let (image, path) = origin.map(|origin| (origin.image, origin.path)).unzip();
        Self { digest, size, version, image, path }
    }

    fn read(self) -> Emulator {
        let origin = self.image.zip(self.path).map(|(image, path)| Origin { image, path });
        Emulator { digest: self.digest, size: self.size, version: self.version, origin }
    }
}

impl WireBlob {
    pub(super) fn of(blob: &Descriptor) -> Self {
        Self { digest: blob.digest, size: blob.size, media_type: blob.media_type.clone() }
    }

    pub(super) fn read(self) -> Descriptor {
        Descriptor::new(&self.media_type, self.digest, self.size)
    }
}

impl WireLock {
    pub(super) fn of(lock: &Lock) -> Self {
        let mut image: BTreeMap<Reference, BTreeMap<AnyPlatform, WireImage>> = BTreeMap::new();
        for ((reference, wanted), locked) in &lock.images {
            if lock.root(reference, *wanted).is_some() {
                continue;
            }
            let layer = locked.layers.iter().map(|layer| WireLayer {
                digest: layer.blob.digest,
                size: layer.blob.size,
                media_type: layer.blob.media_type.clone(),
                diff_id: layer.diff_id,
            });
            let wire = WireImage {
                platform: AnyPlatform::Known(locked.platform),
                label: locked.label.as_ref().map(ToString::to_string),
                chain_id: locked.chain_id(),
                tree: locked.tree,
                index: locked.index.as_ref().map(WireBlob::of),
                manifest: WireBlob::of(&locked.manifest),
                config: WireBlob::of(&locked.config),
                layer: layer.collect(),
            };
            image.entry(reference.clone()).or_default().insert(AnyPlatform::Known(*wanted), wire);
        }
        for ((reference, wanted), wire) in &lock.unknown.images {
            let platforms = image.entry(reference.clone()).or_default();
            platforms.insert(AnyPlatform::Unknown(wanted.clone()), wire.clone());
        }
        let known = lock.emulators.iter();
        let known = known.map(|(platform, emulator)| (AnyPlatform::Known(*platform), WireEmulator::of(emulator)));
        let unknown = lock.unknown.emulators.iter();
        let unknown = unknown.map(|(platform, wire)| (AnyPlatform::Unknown(platform.clone()), wire.clone()));
        let emulator = known.chain(unknown);
        let source = lock.sources.iter().map(|(name, source)| (SourceName(name.clone()), WireSource::of(source)));
        let (emulator, source) = (emulator.collect(), source.collect());
        let (version, build) = (Version::of(lock).number(), lock.build.clone());
        Self { version, build, image, emulator, source, archive: BTreeMap::new(), root: BTreeMap::new() }
    }

    pub(super) fn read(self) -> Result<Lock, String> {
        let mut lock = Lock { build: self.build, ..Lock::default() };
        for (reference, platforms) in self.image {
            for (wanted, wire) in platforms {
                let diff_ids: Vec<_> = wire.layer.iter().map(|layer| layer.diff_id).collect();
                if wire.chain_id.is_some() && wire.chain_id != oci::chain_id(&diff_ids) {
                    let name = wanted.name();
                    return Err(format!(
                        "chain-id of {reference} for {name} does not match its layers: one of them was changed"
                    ));
                }
                match wanted {
                    AnyPlatform::Known(wanted) => {
                        let image = wire.read().map_err(|platform| {
                            format!("the image of {reference} for {} is for {platform}", wanted.name())
                        })?;
                        lock.images.insert((reference.clone(), wanted), image);
                    }
                    AnyPlatform::Unknown(wanted) => {
                        lock.unknown.images.insert((reference.clone(), wanted), wire);
                    }
                }
            }
        }
        for (platform, wire) in self.emulator {
            match platform {
                AnyPlatform::Known(platform) => drop(lock.emulators.insert(platform, wire.read())),
                AnyPlatform::Unknown(platform) => drop(lock.unknown.emulators.insert(platform, wire)),
            }
        }
        if let Some(build) = &lock.build {
            build.check()?;
        }
        lock.sources = self.source.into_iter().map(|(name, wire)| (name.0, wire.read())).collect();
        WirePackages { archive: self.archive, root: self.root }.read(&mut lock)?;
        Ok(lock)
    }
}

impl WireImage {
    /// The image; the text of its platform, if that is unknown.
    fn read(self) -> Result<Image, String> {
        let platform = match self.platform {
            AnyPlatform::Known(platform) => platform,
            AnyPlatform::Unknown(platform) => return Err(platform),
        };
        let layers = self.layer.into_iter().map(|layer| Layer {
            blob: Descriptor::new(&layer.media_type, layer.digest, layer.size),
            diff_id: layer.diff_id,
        });
        Ok(Image {
            platform,
            // Checked when the file was read.
            label: self.label.and_then(|label| label.parse().ok()),
            index: self.index.map(WireBlob::read),
            manifest: self.manifest.read(),
            config: self.config.read(),
            layers: layers.collect(),
            tree: self.tree,
        })
    }
}
