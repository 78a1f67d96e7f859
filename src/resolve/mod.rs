//! From a reference to an image, down to its bytes: by a registry, or by what the store holds.
//!
//! Both ways read the same documents by the same rules (`walk`); they differ only in where bytes come
//! from. Resolving over the network leaves index, manifest and config in the store as blobs, which
//! nothing reaches yet; `fetch` sets the reference once the layers are there too, so that no half
//! image is ever visible.

mod error;
mod walk;

use std::collections::BTreeSet;
use std::fs;

pub use error::ResolveError;

use crate::digest::Digest;
use crate::lock;
use crate::oci::{self, Descriptor, Document, ImageConfig, WirePlatform};
use crate::platform::Platform;
use crate::progress::Reporter;
use crate::reference::Reference;
use crate::registry::{Client, RegistryError};
use crate::store::{Store, StoreError};
use walk::{Step, Walk};

/// Which image is wanted of those that a reference leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The platform that it is for.
    pub platform: Platform,
    /// What it says that it is for, where the user knows better.
    pub said: Option<WirePlatform>,
}

impl From<Platform> for Wanted {
    fn from(platform: Platform) -> Self {
        Self { platform, said: None }
    }
}

/// Asks the registry (or its mirrors) what `reference` means for `wanted`. Index, manifest and image
/// config are in `store` afterwards; layers and the reference itself are `fetch`'s work.
///
/// # Errors
/// See [`ResolveError`].
pub async fn resolve(
    reference: &Reference,
    wanted: impl Into<Wanted>,
    store: &Store,
    client: &Client,
    reporter: &dyn Reporter,
) -> Result<lock::Image, ResolveError> {
    let keep = |descriptor: &Descriptor, bytes: &[u8]| {
        store.add_blob(bytes, &descriptor.media_type).map(drop).map_err(in_store(reference))
    };
    ask(Walk::new(reference, &wanted.into()), Some(store), &keep, client, reporter).await
}

/// The same, but nothing is kept; `store` is only looked into, if there is one.
///
/// # Errors
/// See [`ResolveError`].
pub(crate) async fn preview(
    reference: &Reference,
    wanted: impl Into<Wanted>,
    store: Option<&Store>,
    client: &Client,
    reporter: &dyn Reporter,
) -> Result<lock::Image, ResolveError> {
    ask(Walk::new(reference, &wanted.into()), store, &|_, _| Ok(()), client, reporter).await
}

type Keep<'a> = &'a dyn Fn(&Descriptor, &[u8]) -> Result<(), ResolveError>;

async fn ask(
    walk: Walk<'_>,
    store: Option<&Store>,
    keep: Keep<'_>,
    client: &Client,
    reporter: &dyn Reporter,
) -> Result<lock::Image, ResolveError> {
    let reference = walk.reference;
    let top = client.manifest(reference).await.map_err(refused)?;
    let content_type = top.content_type.as_deref();
    let described = Descriptor::new(&walk::media_type(&top.bytes, content_type), top.digest, top.bytes.len() as u64);
    let step = walk.enter(described.clone(), &top.bytes, content_type)?;
    keep(&described, &top.bytes)?;
    let draft = match step {
        Step::Manifest(draft) => draft,
        Step::Child(child) => {
            let answer = client.manifest_at(reference, &child.entry).await.map_err(refused)?;
            let entry = child.entry.clone();
            let draft = walk.descend(child, &answer.bytes, answer.content_type.as_deref())?;
            keep(&entry, &answer.bytes)?;
            draft
        }
    };
    let config = draft.config().clone();
    let known = store.filter(|store| store.has_blob(&config));
    let bytes = match known.and_then(|store| store.read_blob(&config, oci::MAX_CONFIG).ok()) {
        Some(bytes) => bytes,
        // Missing, or damaged: then it is healed.
        None => client.small_blob(reference, &config, oci::MAX_CONFIG).await.map_err(refused)?,
    };
    let (image, doubt) = walk.finish(draft, &bytes)?;
    keep(&config, &bytes)?;
    if let Some(doubt) = doubt {
        reporter.warn(&doubt);
    }
    Ok(image)
}

/// What `reference` means for `wanted` by the store alone: an image that was imported or pulled.
/// Opens no socket. A reference with a digest needs no name in the store, only that content.
///
/// `Ok(None)` where the store does not know it, or does not hold the part for this platform. The
/// layers are not looked at (`Store::missing_layers`).
///
/// # Errors
/// [`ResolveError::NoPlatform`] where the image in the store has no such platform: a registry may
/// have it nonetheless, as with an image imported for one platform. Otherwise damage in the store.
pub fn resolve_local(
    reference: &Reference,
    wanted: impl Into<Wanted>,
    store: &Store,
) -> Result<Option<lock::Image>, ResolveError> {
    Ok(resolve_stored(reference, &wanted.into(), store)?.map(|(image, _)| image))
}

/// The same, with what is doubtful about the image.
///
/// # Errors
/// As [`resolve_local`].
pub(crate) fn resolve_stored(
    reference: &Reference,
    wanted: &Wanted,
    store: &Store,
) -> Result<Option<(lock::Image, Option<String>)>, ResolveError> {
    let walk = Walk::new(reference, wanted);
    let read = |descriptor: &Descriptor, limit| {
        if !store.has_blob(descriptor) {
            return Ok(None);
        }
        match store.read_blob(descriptor, limit) {
            // Removed this moment by somebody who removes images.
            Err(StoreError::Missing(_)) => Ok(None),
            read => read.map(Some).map_err(in_store(reference)),
        }
    };
    let top = match reference.digest() {
        // Its media type is unknown, and not needed: the document says what it is.
        Some(digest) => match fs::metadata(store.blob_path(&digest)) {
            Ok(file) => Descriptor::new("", digest, file.len()),
            Err(_) => return Ok(None),
        },
        None => match store.find_ref(reference).map_err(in_store(reference))? {
            Some(top) => top,
            None => return Ok(None),
        },
    };
    let Some(bytes) = read(&top, oci::MAX_MANIFEST)? else { return Ok(None) };
    let top = Descriptor::new(&walk::media_type(&bytes, Some(&top.media_type)), top.digest, top.size);
    let draft = match walk.enter(top, &bytes, None)? {
        Step::Manifest(draft) => draft,
        Step::Child(child) => match read(&child.entry, oci::MAX_MANIFEST)? {
            Some(bytes) => walk.descend(child, &bytes, None)?,
            None => return Ok(None),
        },
    };
    let Some(bytes) = read(draft.config(), oci::MAX_CONFIG)? else { return Ok(None) };
    walk.finish(draft, &bytes).map(Some)
}

/// For which platforms `reference` has images, and the digest it leads to now: by a registry. Nothing
/// is kept.
///
/// # Errors
/// See [`ResolveError`].
pub(crate) async fn platforms(
    reference: &Reference,
    client: &Client,
) -> Result<(Digest, BTreeSet<Platform>), ResolveError> {
    let top = client.manifest(reference).await.map_err(refused)?;
    let invalid =
        |digest| move |source| ResolveError::Document { reference: Box::new(reference.clone()), digest, source };
    let known = match Document::parse(&top.bytes, top.content_type.as_deref()).map_err(invalid(top.digest))? {
        Document::Index(entries) => entries.iter().filter_map(Descriptor::known_platform).collect(),
        Document::Manifest(manifest) => {
            let config = client.small_blob(reference, &manifest.config, oci::MAX_CONFIG).await.map_err(refused)?;
            let config = ImageConfig::parse(&config, &manifest).map_err(invalid(manifest.config.digest))?;
            config.platform.known().into_iter().collect()
        }
    };
    Ok((top.digest, known))
}

/// The same by what the store holds of `top`, to which `reference` leads. `None` where that is not
/// enough.
#[must_use]
pub(crate) fn platforms_local(top: &Descriptor, store: &Store) -> Option<BTreeSet<Platform>> {
    match Document::parse(&store.read_blob(top, oci::MAX_MANIFEST).ok()?, None).ok()? {
        Document::Index(entries) => Some(entries.iter().filter_map(Descriptor::known_platform).collect()),
        Document::Manifest(manifest) => {
            let config = store.read_blob(&manifest.config, oci::MAX_CONFIG).ok()?;
            Some(ImageConfig::parse(&config, &manifest).ok()?.platform.known().into_iter().collect())
        }
    }
}

fn refused(source: RegistryError) -> ResolveError {
    ResolveError::Registry { source: Box::new(source) }
}

fn in_store(reference: &Reference) -> impl Fn(StoreError) -> ResolveError {
    move |source| ResolveError::Store { reference: Box::new(reference.clone()), source: Box::new(source) }
}
