//! The format of a lock file.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::lock::build::Build;
use crate::lock::model::{Emulator, Image, Layer, Lock, Origin};
use crate::lock::source::{SourceName, WireSource};
use crate::oci::{Descriptor, WirePlatform};
use crate::platform::Platform;
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
}

impl Version {
    pub(super) const LATEST: Self = Self::V3;

    /// The version with this number.
    pub(super) fn numbered(number: i64) -> Option<Self> {
        [Self::V1, Self::V2, Self::V3].into_iter().find(|version| version.number() == number)
    }

    pub(super) fn number(self) -> i64 {
        self as i64
    }

    /// The version that `lock` is written in.
    fn of(lock: &Lock) -> Self {
        if lock.images.values().any(|image| image.label.is_some()) { Self::V3 } else { Self::V2 }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireLock {
    version: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    build: Option<Build>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    image: BTreeMap<Reference, BTreeMap<Platform, WireImage>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    emulator: BTreeMap<Platform, WireEmulator>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    source: BTreeMap<SourceName, WireSource>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WireImage {
    platform: Platform,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "label")]
    label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chain_id: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tree: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<WireBlob>,
    manifest: WireBlob,
    config: WireBlob,
    #[serde(default)]
    layer: Vec<WireLayer>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WireBlob {
    digest: Digest,
    size: u64,
    media_type: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WireLayer {
    digest: Digest,
    size: u64,
    media_type: String,
    diff_id: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireEmulator {
    digest: Digest,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "version")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if Emulator::is_version(&text) { Ok(Some(text)) } else { Err(D::Error::custom("not a version of an emulator")) }
}

fn label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_plain = text.len() <= 100 && text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_label = is_plain && text.parse::<WirePlatform>().is_ok();
    if is_label { Ok(Some(text)) } else { Err(D::Error::custom("not the label of an image's platform")) }
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
    fn of(blob: &Descriptor) -> Self {
        Self { digest: blob.digest, size: blob.size, media_type: blob.media_type.clone() }
    }

    fn read(self) -> Descriptor {
        Descriptor::new(&self.media_type, self.digest, self.size)
    }
}

impl WireLock {
    pub(super) fn of(lock: &Lock) -> Self {
        let mut image: BTreeMap<Reference, BTreeMap<Platform, WireImage>> = BTreeMap::new();
        for ((reference, wanted), locked) in &lock.images {
            let layer = locked.layers.iter().map(|layer| WireLayer {
                digest: layer.blob.digest,
                size: layer.blob.size,
                media_type: layer.blob.media_type.clone(),
                diff_id: layer.diff_id,
            });
            let wire = WireImage {
                platform: locked.platform,
                label: locked.label.as_ref().map(ToString::to_string),
                chain_id: locked.chain_id(),
                tree: locked.tree,
                index: locked.index.as_ref().map(WireBlob::of),
                manifest: WireBlob::of(&locked.manifest),
                config: WireBlob::of(&locked.config),
                layer: layer.collect(),
            };
            image.entry(reference.clone()).or_default().insert(*wanted, wire);
        }
        let emulator = lock.emulators.iter().map(|(platform, emulator)| (*platform, WireEmulator::of(emulator)));
        let source = lock.sources.iter().map(|(name, source)| (SourceName(name.clone()), WireSource::of(source)));
        let (emulator, source) = (emulator.collect(), source.collect());
        Self { version: Version::of(lock).number(), build: lock.build.clone(), image, emulator, source }
    }

    pub(super) fn read(self) -> Result<Lock, String> {
        let mut images = BTreeMap::new();
        for (reference, platforms) in self.image {
            for (wanted, wire) in platforms {
                let said = wire.chain_id;
                let image = wire.read();
                if said.is_some() && said != image.chain_id() {
                    let name = wanted.name();
                    return Err(format!(
                        "chain-id of {reference} for {name} is not that of its layers: one was changed"
                    ));
                }
                images.insert((reference.clone(), wanted), image);
            }
        }
        if let Some(build) = &self.build {
            build.check()?;
        }
        let emulators = self.emulator.into_iter().map(|(platform, wire)| (platform, wire.read())).collect();
        let sources = self.source.into_iter().map(|(name, wire)| (name.0, wire.read())).collect();
        Ok(Lock { build: self.build, images, emulators, sources })
    }
}

impl WireImage {
    fn read(self) -> Image {
        let layers = self.layer.into_iter().map(|layer| Layer {
            blob: Descriptor::new(&layer.media_type, layer.digest, layer.size),
            diff_id: layer.diff_id,
        });
        Image {
            platform: self.platform,
            // Checked when the file was read.
            label: self.label.and_then(|label| label.parse().ok()),
            index: self.index.map(WireBlob::read),
            manifest: self.manifest.read(),
            config: self.config.read(),
            layers: layers.collect(),
            tree: self.tree,
        }
    }
}
