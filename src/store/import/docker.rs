//! Archives of `docker save` and `podman save`: a `manifest.json` that names configs and layers by their paths in the archive.
//! An image keeps its config, whose digest is Docker's image id; hermes writes a manifest, which is always the same for the
//! same image.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;

use crate::digest::Digest;
use crate::fs::atomic;
use crate::layer::Compression;
use crate::oci::{self, Descriptor, DocumentError, ImageConfig, Manifest};
use crate::reference::Reference;
use crate::store::StoreError;
use crate::store::import::source::{MAX_IMAGES, Source, TOO_MANY};

/// What docker calls an image without a name, in old archives.
const NO_NAME: &str = "<none>:<none>";

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

/// The images of a Docker archive, with their names; `None` if this is no such archive.
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
        found.ok_or_else(|| source.not_a_layout("a file that its manifest.json names is missing"))
    };
    if image.layers.len() > oci::MAX_LAYERS {
        return Err(source.not_a_layout("an image in it has too many layers"));
    }
    let config = find(&image.config, oci::CONFIG)?;
    // Writers of such archives name the config by its digest.
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
    let tags = tags.collect::<Result<_, _>>().map_err(|_| source.not_a_layout("it has an invalid name"))?;
    Ok((tags, top))
}

fn compression(path: &Path) -> Result<Option<Compression>, StoreError> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(Compression::HEAD).read_to_end(&mut head));
    read.map_err(StoreError::io("read", path))?;
    Ok(Compression::of(&head))
}
