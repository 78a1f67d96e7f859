//! The format of a lock file: versions, and conversion to the model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::lock::Source;
use crate::lock::build::Build;
use crate::lock::entry::{AnyPlatform, WireBlob, WireEmulator, WireImage, WireLayer};
use crate::lock::model::{Emulator, FileOfImage, FileOfPackage, Image, Layer, Lock, Origin};
use crate::lock::packages::{ArchiveName, WireArchive, WirePackages, WireRoots};
use crate::lock::root::Deb;
use crate::lock::source::{AnyToolchainName, SourceName, WireSource};
use crate::oci::{self, Descriptor};
use crate::reference::Reference;
use crate::visible::shortened;

/// The versions of the format. Each adds keys to the one before, and all are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Images and emulators.
    V1 = 1,
    /// Adds `[build]` and sources, and `chain-id` and `tree` of an image.
    V2 = 2,
    /// Adds `label` of an image. Written only where an image has one, so that an older hermes can read all other locks.
    V3 = 3,
    /// Adds archives, roots, native tools and emulators out of packages, sources of toolchains and packages of indexes. Written only
    /// where a lock has one of these.
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
        let has_sources = !lock.toolchain_sources.is_empty() || !lock.unknown.toolchain_sources.is_empty();
        let is_of_index = |source: &Source| source.package.is_some();
        // All packages of roots are from archives.
        if !lock.archives.is_empty() || has_sources || lock.sources.values().any(is_of_index) {
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
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    toolchain: BTreeMap<AnyToolchainName, BTreeMap<AnyPlatform, BTreeMap<SourceName, WireSource>>>,
    /// Written apart: see [`WirePackages`].
    #[serde(default, skip_serializing)]
    archive: BTreeMap<ArchiveName, WireArchive>,
    #[serde(default, skip_serializing)]
    root: WireRoots,
    #[serde(default, skip_serializing)]
    native: WireRoots,
}

impl WireEmulator {
    fn of(emulator: &Emulator) -> Self {
        let Emulator { digest, size, version, origin } = emulator.clone();
        let plain = Self { digest, size, version, image: None, path: None, archives: Vec::new(), deb: None };
        match origin {
            None => plain,
            Some(Origin::Image(FileOfImage { image, path })) => Self { image: Some(image), path: Some(path), ..plain },
            Some(Origin::Package(FileOfPackage { deb, archives, path })) => {
                Self { path: Some(path), archives, deb: Some(deb.line()), ..plain }
            }
        }
    }

    /// The emulator; `is_archive` tells whether the lock has an archive with this name.
    fn read(self, is_archive: impl Fn(&String) -> bool) -> Result<Emulator, String> {
        let Self { digest, size, version, image, path, archives, deb } = self;
        let origin = match (image, deb, path) {
            (image, None, path) if archives.is_empty() => {
                image.zip(path).map(|(image, path)| Origin::Image(FileOfImage { image, path }))
            }
            (None, Some(line), Some(path)) if !archives.is_empty() => {
                if let Some(missing) = archives.iter().find(|archive| !is_archive(archive)) {
                    return Err(format!("the lock has no archive {}", missing.escape_default()));
                }
                let invalid = || format!("'{}' is not a package", shortened(&line, 200));
                let deb = Deb::parse(&line, false).ok_or_else(invalid)?;
                Some(Origin::Package(FileOfPackage { deb, archives, path }))
            }
            _ => return Err("it has either image and path, or deb, archives and path".to_owned()),
        };
        Ok(Emulator { digest, size, version, origin })
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
        let mut toolchain: BTreeMap<_, BTreeMap<_, BTreeMap<_, _>>> = BTreeMap::new();
        for ((name, platform, of), source) in &lock.toolchain_sources {
            let platforms = toolchain.entry(AnyToolchainName(name.clone())).or_default();
            let sources = platforms.entry(AnyPlatform::Known(*platform)).or_default();
            sources.insert(SourceName(of.clone()), WireSource::of(source));
        }
        for ((name, platform), sources) in &lock.unknown.toolchain_sources {
            let platforms = toolchain.entry(AnyToolchainName(name.clone())).or_default();
            platforms.insert(AnyPlatform::Unknown(platform.clone()), sources.clone());
        }
        let (version, build) = (Version::of(lock).number(), lock.build.clone());
        let (archive, root, native) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { version, build, image, emulator, source, toolchain, archive, root, native }
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
                AnyPlatform::Known(platform) => {
                    let is_archive = |name: &String| self.archive.keys().any(|archive| archive.is(name));
                    let emulator = wire.read(is_archive);
                    let emulator = emulator.map_err(|why| format!("emulator for {}: {why}", platform.name()))?;
                    lock.emulators.insert(platform, emulator);
                }
                AnyPlatform::Unknown(platform) => drop(lock.unknown.emulators.insert(platform, wire)),
            }
        }
        if let Some(build) = &lock.build {
            build.check()?;
        }
        for (name, wire) in self.source {
            let source = wire.read().ok_or_else(|| format!("source {} is not valid", name.0))?;
            lock.sources.insert(name.0, source);
        }
        for (toolchain, platforms) in self.toolchain {
            for (platform, sources) in platforms {
                let platform = match platform {
                    AnyPlatform::Known(platform) => platform,
                    AnyPlatform::Unknown(platform) => {
                        lock.unknown.toolchain_sources.insert((toolchain.0.clone(), platform), sources);
                        continue;
                    }
                };
                for (name, wire) in sources {
                    let source = wire.read().ok_or_else(|| format!("source {} is not valid", name.0))?;
                    lock.toolchain_sources.insert((toolchain.0.clone(), platform, name.0), source);
                }
            }
        }
        WirePackages { archive: self.archive, root: self.root, native: self.native }.read(&mut lock)?;
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
