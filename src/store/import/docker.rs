//! What `docker save` and `podman save` write: a `manifest.json` that names configs and layers, which are tars, by
//! their paths in the archive. An image keeps its config, whose digest Docker calls the
//! image's id; its manifest is written here, always the same for the same image.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;

use crate::digest::Digest;
use crate::fs::atomic;
use crate::layer::{Compression, LayerError};
use crate::oci::{self, Descriptor, DocumentError, ImageConfig, Manifest};
use crate::reference::Reference;
use crate::store::StoreError;
use crate::store::import::source::Source;
use crate::store::import::{MAX_IMAGES, TOO_MANY};

/// Most links followed from one name to the next: old archives have layers once, and links to them.
const MAX_LINKS: usize = 8;
/// Most memory for the names of files and links, in bytes: many times what those of the largest archives take.
const MAX_NAMES: usize = 64 << 20;
/// What docker calls an image without a name, in old archives.
const NO_NAME: &str = "<none>:<none>";

/// The files of an archive that may be a Docker one, by their paths.
#[derive(Default)]
pub(super) struct Members {
    by_path: BTreeMap<String, Member>,
    /// What was added takes about as many bytes.
    taken: usize,
}

enum Member {
    /// A file, taken out of the archive by its digest, and its length.
    File(Digest, u64),
    /// Another name for this path.
    Link(String),
}

impl Members {
    /// Whether a file of this name may matter: those of Docker's own form, and what links among blobs lead to.
    pub(super) fn concerns(name: &str) -> bool {
        Path::new(name).extension() == Some(OsStr::new("json")) || name.contains(".tar") || name.starts_with("blobs/")
    }

    pub(super) fn add_file(&mut self, name: &str, digest: Digest, size: u64) -> Result<(), LayerError> {
        self.add(name, Member::File(digest, size))
    }

    fn add(&mut self, name: &str, member: Member) -> Result<(), LayerError> {
        let target = if let Member::Link(target) = &member { target.len() } else { 0 };
        self.taken += name.len() + target + 2 * size_of::<(String, Member)>();
        if self.taken > MAX_NAMES {
            return Err(LayerError::Limit { what: "bytes of names", limit: MAX_NAMES as u64 });
        }
        self.by_path.insert(name.to_owned(), member);
        Ok(())
    }

    /// Adds a link; one that leads out of the archive is none.
    pub(super) fn add_link(&mut self, name: &str, target: &str, hard: bool) -> Result<(), LayerError> {
        let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
        let mut parts: Vec<&str> = if hard { vec![] } else { parent.split('/').collect() };
        let absolute = !hard && target.starts_with('/');
        for part in target.split('/') {
            let inside = match part {
                "" | "." => true,
                ".." => parts.pop().is_some_and(|part| !part.is_empty()),
                _ => {
                    parts.push(part);
                    true
                }
            };
            if absolute || !inside {
                self.by_path.remove(name);
                return Ok(());
            }
        }
        parts.retain(|part| !part.is_empty());
        self.add(name, Member::Link(parts.join("/")))
    }

    /// Whether this is a Docker archive.
    pub(super) fn has_manifest(&self) -> bool {
        self.find("manifest.json").is_some()
    }

    fn find(&self, name: &str) -> Option<(Digest, u64)> {
        let mut name = name.strip_prefix("./").unwrap_or(name);
        for _ in 0..MAX_LINKS {
            match self.by_path.get(name)? {
                Member::File(digest, size) => return Some((*digest, *size)),
                Member::Link(to) => name = to,
            }
        }
        None
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireImage {
    config: String,
    #[serde(default, deserialize_with = "oci::or_default")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "oci::or_default")]
    layers: Vec<String>,
}

/// An image's names and its manifest.
type Named = (Vec<Reference>, Descriptor);

/// The images of a Docker archive, with their names; `None` where it is none.
pub(super) fn images(source: &Source) -> Result<Option<Vec<Named>>, StoreError> {
    let Some((digest, _)) = source.members.find("manifest.json") else { return Ok(None) };
    let path = source.blob(&digest);
    let bytes = atomic::read_limited(&path, oci::MAX_MANIFEST).map_err(StoreError::io("read", &path))?;
    let images: Option<Vec<WireImage>> = serde_json::from_slice(&bytes).map_err(|error| {
        source.bad("manifest.json", DocumentError::Malformed { what: "list of images", source: error })
    })?;
    let images = images.unwrap_or_default();
    if images.len() > MAX_IMAGES {
        return Err(source.not_a_layout(TOO_MANY));
    }
    images.iter().map(|image| one(source, image)).collect::<Result<_, _>>().map(Some)
}

fn one(source: &Source, image: &WireImage) -> Result<Named, StoreError> {
    let find = |name: &str, kind| {
        let found = source.members.find(name).map(|(digest, size)| Descriptor::new(kind, digest, size));
        found.ok_or_else(|| source.not_a_layout("a file that its manifest.json names is not in it"))
    };
    if image.layers.len() > oci::MAX_LAYERS {
        return Err(source.not_a_layout("an image in it has too many layers"));
    }
    let config = find(&image.config, oci::CONFIG)?;
    // Who writes an archive calls the config by its digest.
    let name = image.config.rsplit('/').next().unwrap_or_default();
    if let Ok(expected) = Digest::from_hex(name.trim_end_matches(".json"))
        && expected != config.digest
    {
        return Err(StoreError::Mismatch { expected, actual: config.digest });
    }
    let layers = image.layers.iter().map(|name| find(name, oci::LAYER)).collect::<Result<Vec<_>, _>>()?;
    let mut manifest = Manifest { config, layers };
    let path = source.blob(&manifest.config.digest);
    let bytes = atomic::read_limited(&path, oci::MAX_CONFIG).map_err(StoreError::io("read", &path))?;
    let document = |source| StoreError::Document { digest: manifest.config.digest, source };
    let config = ImageConfig::parse(&bytes, &manifest).map_err(document)?;
    for (layer, diff_id) in manifest.layers.iter_mut().zip(config.diff_ids) {
        if layer.digest == diff_id {
            continue;
        }
        // One that is compressed is compared when it is unpacked.
        layer.media_type = match compression(&source.blob(&layer.digest))? {
            Some(Compression::Gzip) => oci::LAYER_GZIP.to_owned(),
            Some(Compression::Zstd) => oci::LAYER_ZSTD.to_owned(),
            _ => return Err(StoreError::DiffId { digest: layer.digest, expected: diff_id, actual: layer.digest }),
        };
    }
    let bytes = manifest.write(None).map_err(|source| StoreError::Ref { path: path.clone(), source })?;
    let top = Descriptor::new(oci::MANIFEST, Digest::of(&bytes), bytes.len() as u64);
    let path = source.blob(&top.digest);
    fs::write(&path, bytes).map_err(StoreError::io("write", &path))?;
    let tags = image.repo_tags.iter().filter(|tag| *tag != NO_NAME).map(|tag| tag.parse());
    let tags = tags.collect::<Result<_, _>>().map_err(|_| source.not_a_layout("it has a name that is none"))?;
    Ok((tags, top))
}

fn compression(path: &Path) -> Result<Option<Compression>, StoreError> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(Compression::HEAD).read_to_end(&mut head));
    read.map_err(StoreError::io("read", path))?;
    Ok(Compression::of(&head))
}
