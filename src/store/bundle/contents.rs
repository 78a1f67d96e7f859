//! The contents of a bundle, which follow from its lock alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use crate::digest::Digest;
use crate::lock::Lock;
use crate::oci::{self, Descriptor};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::StoreError;
use crate::store::layout::BUNDLE_VERSION;
use crate::store::refs::REF_NAME;

/// Annotation of entries of the index that are no images: what they are.
pub(in crate::store) const PART: &str = "vnd.hermes.part";

/// Something that a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Part {
    /// `image`, `emulator`, `source`, `archive`, `packages`, `lock`.
    pub kind: &'static str,
    /// What it is called.
    pub name: String,
    /// Of an image, an archive or packages the manifest, of anything else its bytes.
    pub digest: Digest,
    /// Its length in bytes, with all it consists of.
    pub size: u64,
}

/// Annotation of the index of a bundle.
pub(super) const BUNDLE: &str = "vnd.hermes.bundle.version";
/// Annotation of the index of a bundle that has the packages of roots, and not their images.
pub(super) const PACKAGES: &str = "vnd.hermes.bundle.packages";
const TITLE: &str = "org.opencontainers.image.title";
const LOCK_TYPE: &str = "application/toml";

/// What a bundle has of the roots of packages in its lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The images that were composed.
    Images,
    /// The packages, to be composed.
    Packages,
}

pub(super) struct Contents {
    /// The bytes of `index.json`.
    pub(super) index: Vec<u8>,
    /// Blobs that are made here: the lock, and manifests for what is no image.
    pub(super) made: BTreeMap<Digest, Vec<u8>>,
    /// Blobs that are kept in a store, and their sizes.
    pub(super) blobs: BTreeMap<Digest, u64>,
    /// What they are.
    names: BTreeMap<Digest, String>,
    pub(super) parts: Vec<Part>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireIndex {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<WireEntry>,
    annotations: BTreeMap<&'static str, &'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireEntry {
    #[serde(flatten)]
    target: Descriptor,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireArtifact {
    schema_version: u8,
    media_type: &'static str,
    artifact_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

impl Contents {
    /// What a bundle of `lock`, whose text is `text`, consists of, by its `form`. `root` is for messages.
    pub(super) fn of(lock: &Lock, form: Form, text: Vec<u8>, root: &Path) -> Result<Self, StoreError> {
        let mut contents = Self {
            index: vec![],
            made: BTreeMap::new(),
            blobs: BTreeMap::new(),
            names: BTreeMap::new(),
            parts: vec![],
        };
        let mut entries = contents.images(lock, form);
        let json = |source| StoreError::Ref { path: root.to_owned(), source };
        for (platform, emulator) in &lock.emulators {
            let name = format!("qemu-{}", platform.name());
            let (blob, what) = (emulator.blob(), format!("the emulator for {}", platform.name()));
            contents.keep(&blob, &what);
            entries.push(contents.artifact("emulator", name, blob).map_err(json)?);
        }
        for (name, source) in &lock.sources {
            let blob = source.blob();
            contents.keep(&blob, &format!("the source {name}"));
            entries.push(contents.artifact("source", format!("source-{name}"), blob).map_err(json)?);
        }
        for ((toolchain, _, name), source) in &lock.toolchain_sources {
            let blob = source.blob();
            // A toolchain has the same sources for most of its platforms.
            if !contents.blobs.contains_key(&blob.digest) {
                contents.keep(&blob, &format!("the source {name} of {toolchain}"));
                entries.push(contents.artifact("source", format!("source-{toolchain}-{name}"), blob).map_err(json)?);
            }
        }
        entries.extend(contents.archives(lock).map_err(json)?);
        if form == Form::Packages {
            entries.extend(contents.packages(lock).map_err(json)?);
        }
        let blob = contents.make(text, LOCK_TYPE);
        entries.push(contents.artifact("lock", "hermes.lock".to_owned(), blob).map_err(json)?);
        let form = (form == Form::Packages).then_some((PACKAGES, "true"));
        let index = WireIndex {
            schema_version: 2,
            media_type: oci::INDEX,
            manifests: entries,
            annotations: [(BUNDLE, BUNDLE_VERSION)].into_iter().chain(form).collect(),
        };
        contents.index = serde_json::to_vec(&index).map_err(json)?;
        // One blob may be both: the empty config of an image.
        contents.blobs.retain(|digest, _| !contents.made.contains_key(digest));
        Ok(contents)
    }

    /// Every blob and its size, in the order of the digests.
    pub(super) fn order(&self) -> impl Iterator<Item = (&Digest, u64)> {
        let made = self.made.iter().map(|(digest, bytes)| (digest, bytes.len() as u64));
        let all: BTreeMap<_, _> = self.blobs.iter().map(|(digest, size)| (digest, *size)).chain(made).collect();
        all.into_iter()
    }

    /// What a blob is.
    pub(super) fn name(&self, digest: &Digest) -> String {
        self.names.get(digest).cloned().unwrap_or_else(|| "what describes a part of it".to_owned())
    }

    fn images(&mut self, lock: &Lock, form: Form) -> Vec<WireEntry> {
        let mut tops: BTreeMap<&Reference, BTreeSet<&Descriptor>> = BTreeMap::new();
        let is_composed = |reference: &Reference, platform: Platform| lock.root(reference, platform).is_some();
        let images = lock.images.iter();
        let images = images.filter(|(key, _)| form == Form::Images || !is_composed(&key.0, key.1));
        for ((reference, wanted), image) in images {
            tops.entry(reference).or_default().insert(image.top());
            let name = format!("{reference} for {}", wanted.name());
            let documents = image
                .index
                .iter()
                .map(|blob| (blob, "the index"))
                .chain([(&image.manifest, "the manifest"), (&image.config, "the config")]);
            for (blob, what) in documents.chain(image.layers.iter().map(|layer| (&layer.blob, "a layer"))) {
                self.keep(blob, &format!("{what} of {name}"));
            }
            let layers: BTreeMap<_, _> =
                image.layers.iter().map(|layer| (layer.blob.digest, layer.blob.size)).collect();
            let size = image.manifest.size + image.config.size + layers.values().sum::<u64>();
            self.parts.push(Part { kind: "image", name, digest: image.manifest.digest, size });
        }
        let mut entries = Vec::new();
        for (reference, tops) in tops {
            let is_one = tops.len() == 1;
            for top in tops {
                // A name can lead to one thing only.
                let name = if is_one { reference.clone() } else { reference.pinned(top.digest) };
                let target = Descriptor::new(&top.media_type, top.digest, top.size);
                let annotations = BTreeMap::from([(REF_NAME.to_owned(), name.to_string())]);
                entries.push(WireEntry { target: Descriptor { annotations, ..target }, artifact_type: None });
            }
        }
        entries
    }

    /// Entries for the archives that roots use, each with its release and the indexes that describe packages of the lock.
    fn archives(&mut self, lock: &Lock) -> serde_json::Result<Vec<WireEntry>> {
        let mut used: BTreeMap<&String, BTreeMap<String, &Descriptor>> = BTreeMap::new();
        for root in lock.roots.values() {
            for (name, archive) in root.archives.iter().filter_map(|name| lock.archives.get_key_value(name)) {
                let files = used.entry(name).or_default();
                files.insert(archive.release_path(), &archive.release);
                self.keep(&archive.release, &format!("the {}", archive.release_name()));
                for (path, blob) in root.indexes(archive) {
                    files.insert(format!("dists/{}/{path}", archive.suite), blob);
                    self.keep(blob, &format!("the index {path} of {}", archive.suite));
                }
            }
        }
        let entry = |(name, files): (&String, BTreeMap<String, &Descriptor>)| {
            self.artifact_of_files("archive", format!("archive-{name}"), "archive", files)
        };
        used.into_iter().map(entry).collect()
    }

    /// An entry for the packages of each root, and of native tools.
    fn packages(&mut self, lock: &Lock) -> serde_json::Result<Vec<WireEntry>> {
        let mut entries = Vec::new();
        let roots = lock.roots.iter().map(|(key, root)| ("packages", key, root));
        let natives = lock.natives.iter().map(|(key, native)| ("native", key, &native.root));
        for (what, (toolchain, target), root) in roots.chain(natives) {
            let blobs: Vec<_> = root.debs.iter().map(|deb| (deb, deb.blob())).collect();
            for (deb, blob) in &blobs {
                self.keep(blob, &format!("the package {}", deb.shown()));
            }
            let files = blobs.iter().map(|(deb, blob)| (deb.path.clone(), blob)).collect();
            let name = format!("{what}-{toolchain}-{}", target.name());
            entries.push(self.artifact_of_files("packages", name, "deb", files)?);
        }
        Ok(entries)
    }

    /// An entry for a blob that is no image, by a manifest of its own.
    fn artifact(&mut self, kind: &'static str, name: String, blob: Descriptor) -> serde_json::Result<WireEntry> {
        self.parts.push(Part { kind, name: name.clone(), digest: blob.digest, size: blob.size });
        let layers = vec![titled(blob, name.clone())];
        self.entry(kind, name, format!("application/vnd.hermes.{kind}.v1"), layers)
    }

    /// An entry for files of an archive by their paths, which are their titles: whoever gets the artifact has a part of the
    /// archive.
    fn artifact_of_files(
        &mut self,
        kind: &'static str,
        name: String,
        artifact: &str,
        files: BTreeMap<String, &Descriptor>,
    ) -> serde_json::Result<WireEntry> {
        let sizes: BTreeMap<_, _> = files.values().map(|blob| (blob.digest, blob.size)).collect();
        let size = sizes.values().fold(0, |sum: u64, size| sum.saturating_add(*size));
        let layers = files.into_iter().map(|(path, blob)| titled(blob.clone(), path)).collect();
        let entry = self.entry(kind, name.clone(), format!("application/vnd.hermes.{artifact}.v1"), layers)?;
        self.parts.push(Part { kind, name, digest: entry.target.digest, size });
        Ok(entry)
    }

    fn entry(
        &mut self,
        kind: &'static str,
        name: String,
        artifact_type: String,
        layers: Vec<Descriptor>,
    ) -> serde_json::Result<WireEntry> {
        let (empty_type, empty) = oci::EMPTY;
        let manifest = WireArtifact {
            schema_version: 2,
            media_type: oci::MANIFEST,
            artifact_type: artifact_type.clone(),
            config: self.make(empty.to_vec(), empty_type),
            layers,
        };
        let target = self.make(serde_json::to_vec(&manifest)?, oci::MANIFEST);
        let annotations = BTreeMap::from([(REF_NAME.to_owned(), name), (PART.to_owned(), kind.to_owned())]);
        Ok(WireEntry { target: Descriptor { annotations, ..target }, artifact_type: Some(artifact_type) })
    }

    fn make(&mut self, bytes: Vec<u8>, media_type: &str) -> Descriptor {
        let blob = Descriptor::new(media_type, Digest::of(&bytes), bytes.len() as u64);
        self.made.insert(blob.digest, bytes);
        blob
    }

    fn keep(&mut self, blob: &Descriptor, what: &str) {
        self.blobs.insert(blob.digest, blob.size);
        self.names.entry(blob.digest).or_insert_with(|| what.to_owned());
    }
}

fn titled(blob: Descriptor, title: String) -> Descriptor {
    Descriptor { annotations: BTreeMap::from([(TITLE.to_owned(), title)]), ..blob }
}
