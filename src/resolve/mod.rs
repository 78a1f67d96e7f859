//! From a reference to an image, down to its bytes: by a registry, or by what the store holds.
//!
//! Both ways read the same documents by the same rules (`walk`); they differ only in where bytes come
//! from. Resolving over the network leaves index, manifest and config in the store as blobs, which
//! nothing reaches yet; `fetch` sets the reference once the layers are there too, so that no half
//! image is ever visible.

mod error;
mod walk;

use std::fs;

pub use error::ResolveError;

use crate::lock;
use crate::oci::{self, Descriptor};
use crate::platform::Platform;
use crate::progress::Reporter;
use crate::reference::Reference;
use crate::registry::Client;
use crate::store::{Store, StoreError};
use walk::{Step, Walk};

/// Asks the registry (or its mirrors) what `reference` means for `wanted`. Index, manifest and image
/// config are in `store` afterwards; layers and the reference itself are `fetch`'s work.
///
/// # Errors
/// See [`ResolveError`].
pub async fn resolve(
    reference: &Reference,
    wanted: Platform,
    store: &Store,
    client: &Client,
    reporter: &dyn Reporter,
) -> Result<lock::Image, ResolveError> {
    let asked = |source| ResolveError::Registry { source: Box::new(source) };
    let keep = |descriptor: &Descriptor, bytes: &[u8]| {
        store.add_blob(bytes, &descriptor.media_type).map(drop).map_err(in_store(reference))
    };
    let walk = Walk { reference, wanted };
    let top = client.manifest(reference).await.map_err(asked)?;
    let content_type = top.content_type.as_deref();
    let described = Descriptor::new(&walk::media_type(&top.bytes, content_type), top.digest, top.bytes.len() as u64);
    let step = walk.enter(described.clone(), &top.bytes, content_type)?;
    keep(&described, &top.bytes)?;
    let draft = match step {
        Step::Manifest(draft) => draft,
        Step::Child(child) => {
            let answer = client.manifest_at(reference, &child.entry).await.map_err(asked)?;
            let entry = child.entry.clone();
            let draft = walk.descend(child, &answer.bytes, answer.content_type.as_deref())?;
            keep(&entry, &answer.bytes)?;
            draft
        }
    };
    let config = draft.config().clone();
    let known = if store.has_blob(&config) { store.read_blob(&config, oci::MAX_CONFIG).ok() } else { None };
    let bytes = match known {
        Some(bytes) => bytes,
        // Missing, or damaged: then it is healed.
        None => client.small_blob(reference, &config, oci::MAX_CONFIG).await.map_err(asked)?,
    };
    let (image, doubt) = walk.finish(draft, &bytes)?;
    keep(&config, &bytes)?;
    if let Some(doubt) = doubt {
        reporter.note(&doubt);
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
    wanted: Platform,
    store: &Store,
) -> Result<Option<lock::Image>, ResolveError> {
    let walk = Walk { reference, wanted };
    let read = |descriptor: &Descriptor, limit| {
        if store.has_blob(descriptor) {
            store.read_blob(descriptor, limit).map(Some).map_err(in_store(reference))
        } else {
            Ok(None)
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
    Ok(Some(walk.finish(draft, &bytes)?.0))
}

fn in_store(reference: &Reference) -> impl Fn(StoreError) -> ResolveError {
    move |source| ResolveError::Store { reference: Box::new(reference.clone()), source: Box::new(source) }
}
