//! `hermes images`, `inspect` and `rm`: lists, shows and removes images in the store.

use std::ffi::OsStr;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::commands::{Context, Error};
use crate::digest::Digest;
use crate::lock::{Image, LockFile};
use crate::oci::{self, Descriptor, Document};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::resolve::resolve_local;
use crate::store::{Pruned, Store};

/// An image of the store, for one platform.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Row {
    /// Its name.
    pub reference: Reference,
    /// What it is made for.
    pub platform: Platform,
    /// Its manifest.
    pub manifest: Digest,
    /// Compressed size of its layers, in bytes.
    pub size: u64,
    /// Whether it is unpacked, ready to run.
    pub unpacked: bool,
}

/// All images, by name and platform.
pub(crate) fn list(context: &Context) -> Result<Vec<Row>, Error> {
    let store = context.open_store()?;
    let mut rows = Vec::new();
    for (reference, _) in store.refs()? {
        for image in images(&store, &reference)? {
            rows.push(Row {
                reference: reference.clone(),
                platform: image.platform,
                manifest: image.manifest.digest,
                size: image.layers.iter().map(|layer| layer.blob.size).sum(),
                unpacked: store.has_image(&image),
            });
        }
    }
    Ok(rows)
}

/// The images of a name that are in the store, each made for another platform.
fn images(store: &Store, reference: &Reference) -> Result<Vec<Image>, Error> {
    let mut images: Vec<Image> = Vec::new();
    let others = Platform::all().filter(|platform| *platform != Platform::host());
    for platform in std::iter::once(Platform::host()).chain(others) {
        match resolve_local(reference, platform, store) {
            // An image for an older ARM that also serves a newer one is listed once, with its own platform; an image without
            // a platform is listed with this host's.
            Ok(Some(image))
                if image.platform == platform && images.iter().all(|known| known.manifest != image.manifest) =>
            {
                images.push(image);
            }
            Ok(_) | Err(crate::resolve::ResolveError::NoPlatform { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    images.sort_by_key(|image| image.platform);
    Ok(images)
}

/// The details of an image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Inspected {
    /// Its name.
    pub reference: Reference,
    /// The top document of the image: an index, or the manifest itself.
    pub top: Descriptor,
    /// The entries of the index, whether or not they are in the store.
    pub index: Vec<Descriptor>,
    /// The platform shown.
    pub platform: Platform,
    /// Its manifest.
    pub manifest: Descriptor,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
    /// The image config, as it came.
    pub config: Box<RawValue>,
}

/// A layer of an inspected image.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Layer {
    /// The blob.
    pub blob: Descriptor,
    /// SHA-256 of its tar.
    pub diff_id: Digest,
    /// Whether it is unpacked.
    pub unpacked: bool,
}

/// The image for a platform; by default for this host's, else the only one.
pub(super) fn pick(store: &Store, reference: &Reference, platform: Option<Platform>) -> Result<Image, Error> {
    let missing = || Error::NoImage(reference.clone());
    if let Some(platform) = platform {
        return resolve_local(reference, platform, store)?.ok_or_else(missing);
    }
    let images = images(store, reference)?;
    let native = images.iter().find(|image| image.platform == Platform::host());
    native.or(images.first()).cloned().ok_or_else(missing)
}

/// The image for a platform; by default for this host's, else the only one.
///
/// # Errors
/// No such image, or the store's.
pub(crate) fn inspect(
    context: &Context,
    reference: &Reference,
    platform: Option<Platform>,
) -> Result<Inspected, Error> {
    let store = context.open_store()?;
    let missing = || Error::NoImage(reference.clone());
    let image = pick(&store, reference, platform)?;
    let index = match &image.index {
        Some(index) => match Document::parse(&store.read_blob(index, oci::MAX_MANIFEST)?, None) {
            Ok(Document::Index(entries)) => entries,
            _ => vec![],
        },
        None => vec![],
    };
    let layers = image.layers.iter().map(|layer| Layer {
        blob: layer.blob.clone(),
        diff_id: layer.diff_id,
        unpacked: store.has_layer(&layer.diff_id),
    });
    let config = String::from_utf8_lossy(&store.read_blob(&image.config, oci::MAX_CONFIG)?).into_owned();
    Ok(Inspected {
        reference: reference.clone(),
        top: image.top().clone(),
        index,
        platform: image.platform,
        layers: layers.collect(),
        config: RawValue::from_string(config).map_err(|_| missing())?,
        manifest: image.manifest,
    })
}

/// Removes a name, and the objects that nothing else needs. Also removes the image from the locks of toolchains that are used
/// outside of projects; the lock files of projects keep what they reference.
///
/// # Errors
/// No such image, or the store's.
pub(crate) fn remove(context: &Context, reference: &Reference) -> Result<Pruned, Error> {
    let store = context.open_store()?;
    let missing = || Error::NoImage(reference.clone());
    store.find_ref(reference)?.ok_or_else(missing)?;
    for path in remembered(context) {
        let file = LockFile::new(path);
        let lock = file.read()?;
        if lock.images.keys().any(|(name, _)| name == reference) || lock.unknown.has(reference) {
            file.update(|lock| {
                lock.images.retain(|(name, _), _| name != reference);
                lock.unknown.remove(reference);
            })?;
        }
    }
    store.remove(reference, context.reporter.as_ref())?.ok_or_else(missing)
}

/// The locks of toolchains that are used outside of projects.
fn remembered(context: &Context) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(&context.locks).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension() == Some(OsStr::new("lock"))).collect()
}
