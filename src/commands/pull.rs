//! `hermes pull`.

use std::cell::LazyCell;

use serde::Serialize;

use crate::commands::composition;
use crate::commands::prepare::{Purpose, has_blobs, needs_of, prepare};
use crate::commands::site_stores::Sites;
use crate::commands::source::acquire;
use crate::commands::{Context, Error, TargetSelector, network};
use crate::digest::Digest;
use crate::fetch::{FetchReport, fetch};
use crate::lock::Image;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::resolve::{Wanted, resolve, resolve_local};

/// An image that is now in the store.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Pulled {
    /// The image.
    pub reference: Reference,
    /// The platform asked for.
    pub platform: Platform,
    /// Its manifest.
    pub manifest: Digest,
    /// Bytes that came over the network.
    pub bytes: u64,
}

/// Asks the registry what `reference` is now, and fetches what is missing. Locks stay as they are.
/// What its digest names and the store has is not asked for.
///
/// # Errors
/// Any stage's; [`Error::Offline`] under `--offline`.
pub(crate) fn image(context: &Context, reference: &Reference, wanted: &Wanted) -> Result<Pulled, Error> {
    let platform = wanted.platform;
    let store = context.open_store()?;
    // Damage in the store is no news here: what is missing or wrong is fetched.
    let known = resolve_local(reference, wanted.clone(), &store).ok().flatten();
    let mut lease = store.lease();
    if let Some(image) = &known {
        lease.add(&needs_of(image));
    }
    let sites = LazyCell::new(|| Sites::open(context));
    let whole = known.filter(|image| store.has_image(image) && has_blobs(&store, image, |blob| sites.has_blob(blob)));
    let pulled = |image: &Image, bytes| Pulled {
        reference: reference.clone(),
        platform,
        manifest: image.manifest.digest,
        bytes,
    };
    if let Some(image) = &whole
        && reference.digest().is_some()
    {
        // It may be here by another name only, which may go.
        if store.find_ref(reference)?.is_none_or(|top| top.digest != image.top().digest) {
            store.set_ref(reference, image.top())?;
        }
        store.tidy()?;
        return Ok(pulled(image, 0));
    }
    if context.offline {
        return Err(Error::Offline { reference: reference.clone(), platform });
    }
    let (image, report) = network::run(context, async |client| {
        if let Some(image) = whole
            && client.digest(reference).await? == Some(image.top().digest)
        {
            store.tidy()?;
            return Ok((image, FetchReport::default()));
        }
        let image = resolve(reference, wanted.clone(), &store, &client, context.reporter.as_ref()).await?;
        // What came is looked for again, and so fetched again if somebody removed it before this.
        lease.add(&needs_of(&image));
        sites.unpack(&store, &image);
        let report =
            fetch(reference, &image, &store, &client, &context.reporter, context.jobs, &|blob| sites.has_blob(blob))
                .await?;
        Ok((image, report))
    })?;
    composition::make_ready(&image, &store)?;
    Ok(pulled(&image, report.bytes_downloaded))
}

/// Fetches what a run of `selector` would need, by its lock, so that it works offline afterwards.
///
/// # Errors
/// Any stage's.
pub(crate) fn toolchain(context: &Context, selector: TargetSelector) -> Result<Pulled, Error> {
    context.allow_project(false)?;
    let target = context.choose(selector)?;
    let store = context.open_store()?;
    let prepared = prepare(context, &store, &target, Purpose::Pull)?;
    for image in std::iter::once(&prepared.image).chain(&prepared.native) {
        composition::make_ready(image, &store)?;
    }
    acquire::fetch(context, &store)?;
    let bytes = prepared.fetched.map_or(0, |report| report.bytes_downloaded);
    Ok(Pulled {
        reference: target.reference,
        platform: target.image_platform,
        manifest: prepared.image.manifest.digest,
        bytes,
    })
}
