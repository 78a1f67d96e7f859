//! Resolving by what the store holds.

use std::collections::BTreeSet;
use std::fs;

use super::error::ResolveError;
use super::walk::{self, Step, Walk, Wanted};
use crate::lock;
use crate::oci::{self, Descriptor, Document, ImageConfig};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{Store, StoreError};

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
            read => read.map(Some).map_err(ResolveError::store(reference)),
        }
    };
    let top = match reference.digest() {
        // Its media type is unknown, and not needed: the document says what it is.
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
