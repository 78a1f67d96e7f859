//! Resolving references from a registry.

use std::collections::BTreeSet;

use super::error::ResolveError;
use super::walk::{self, Step, Walk, Wanted};
use crate::digest::Digest;
use crate::lock;
use crate::oci::{self, Descriptor, Document, ImageConfig};
use crate::platform::Platform;
use crate::progress::Reporter;
use crate::reference::Reference;
use crate::registry::Client;
use crate::store::Store;

/// Resolves `reference` for `wanted` with the registry or its mirrors, and stores index, manifest and image config in
/// `store`. Layers and the name of the image are the work of `fetch`.
///
/// # Errors
/// The registry or the store fails; a document is not valid; there is no image for the platform.
pub async fn resolve(
    reference: &Reference,
    wanted: impl Into<Wanted>,
    store: &Store,
    client: &Client,
    reporter: &dyn Reporter,
) -> Result<lock::Image, ResolveError> {
    let keep = |descriptor: &Descriptor, bytes: &[u8]| {
        store.add_blob(bytes, &descriptor.media_type).map(drop).map_err(ResolveError::store(reference))
    };
    ask(Walk::new(reference, &wanted.into()), Some(store), &keep, client, reporter).await
}

/// As [`resolve`], but writes nothing. `store`, if any, is only read.
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
    let top = client.manifest(reference).await.map_err(ResolveError::registry)?;
    let content_type = top.content_type.as_deref();
    let described = Descriptor::new(&walk::media_type(&top.bytes, content_type), top.digest, top.bytes.len() as u64);
    let step = walk.enter(described.clone(), &top.bytes, content_type)?;
    keep(&described, &top.bytes)?;
    let draft = match step {
        Step::Manifest(draft) => draft,
        Step::Child(child) => {
            let answer = client.manifest_at(reference, &child.entry).await.map_err(ResolveError::registry)?;
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
        // Missing or damaged; a new copy replaces a damaged one.
        None => client.small_blob(reference, &config, oci::MAX_CONFIG).await.map_err(ResolveError::registry)?,
    };
    let (image, doubt) = walk.finish(draft, &bytes)?;
    keep(&config, &bytes)?;
    if let Some(doubt) = doubt {
        reporter.warn(&doubt);
    }
    Ok(image)
}

/// Asks the registry for the digest that `reference` has now, and for its platforms. Stores nothing.
pub(crate) async fn platforms(
    reference: &Reference,
    client: &Client,
) -> Result<(Digest, BTreeSet<Platform>), ResolveError> {
    let top = client.manifest(reference).await.map_err(ResolveError::registry)?;
    let known = match Document::parse(&top.bytes, top.content_type.as_deref())
        .map_err(ResolveError::document(reference, top.digest))?
    {
        Document::Index(entries) => entries.iter().filter_map(Descriptor::known_platform).collect(),
        Document::Manifest(manifest) => {
            let config = client
                .small_blob(reference, &manifest.config, oci::MAX_CONFIG)
                .await
                .map_err(ResolveError::registry)?;
            let config = ImageConfig::parse(&config, &manifest)
                .map_err(ResolveError::document(reference, manifest.config.digest))?;
            config.platform.known().into_iter().collect()
        }
    };
    Ok((top.digest, known))
}
