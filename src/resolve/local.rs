//! Resolving references from the store.

use std::collections::BTreeSet;
use std::fs;

use super::error::ResolveError;
use super::walk::{self, Step, Walk, Wanted};
use crate::lock;
use crate::oci::{self, Descriptor, Document, ImageConfig};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{Store, StoreError};

/// Resolves `reference` for `wanted` from the store alone, to an image that was imported or pulled. Opens no socket. A
/// reference with a digest needs no name in the store, only the content.
///
/// `Ok(None)` if the store does not have the reference, or not its image for this platform. Layers are not checked
/// (`Store::missing_layers`).
///
/// # Errors
/// [`ResolveError::NoPlatform`] if the image in the store has no such platform. A registry may have it, if the image was
/// imported for one platform only. Otherwise damage in the store.
pub fn resolve_local(
    reference: &Reference,
    wanted: impl Into<Wanted>,
    store: &Store,
) -> Result<Option<lock::Image>, ResolveError> {
    Ok(resolve_stored(reference, &wanted.into(), store)?.map(|(image, _)| image))
}

/// As [`resolve_local`], with a warning about the image, if any.
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
            // Another process removed it just now.
            Err(StoreError::Missing(_)) => Ok(None),
            read => read.map(Some).map_err(ResolveError::store(reference)),
        }
    };
    let top = match reference.digest() {
        // The media type is not known, and not needed: the document states it.
        Some(digest) => match fs::metadata(store.blob_path(&digest)) {
            Ok(file) => Descriptor::new("", digest, file.len()),
            Err(_) => return Ok(None),
        },
        None => match store.find_ref(reference).map_err(ResolveError::store(reference))? {
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

/// The platforms of the image or index `top`, from the store. `None` if the store lacks a document.
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
