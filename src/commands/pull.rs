//! `hermes pull`.

use serde::Serialize;

use crate::commands::acquire::{Acquirer, How};
use crate::commands::prepare::{Purpose, prepare};
use crate::commands::source::acquire;
use crate::commands::{Context, Error, TargetSelector};
use crate::digest::Digest;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::resolve::Wanted;
use crate::rootfs::Rootfs;

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
    /// Downloaded bytes.
    pub bytes: u64,
}

/// Downloads the current version of an image. Locks do not change. The registry is not asked for an image that is named by
/// digest and complete in the store.
pub(crate) fn image(context: &Context, reference: &Reference, wanted: &Wanted) -> Result<Pulled, Error> {
    let store = context.open_store()?;
    let mut lease = store.lease();
    let (image, how) = Acquirer::new(context, &store, &mut lease).current(reference, wanted)?;
    let bytes = match how {
        How::Registry(report) => {
            Rootfs::make_ready(&image, &store)?;
            report.bytes_downloaded
        }
        How::Present | How::Local => {
            // It may be here by another name only, which may go.
            if store.find_ref(reference)?.is_none_or(|top| top.digest != image.top().digest) {
                store.set_ref(reference, image.top())?;
            }
            store.tidy()?;
            0
        }
    };
    let manifest = image.manifest.digest;
    Ok(Pulled { reference: reference.clone(), platform: wanted.platform, manifest, bytes })
}

/// Downloads everything that a run of `selector` needs, by its lock, so that it works offline afterwards.
pub(crate) fn toolchain(context: &Context, selector: TargetSelector) -> Result<Pulled, Error> {
    context.allow_project(false)?;
    let target = context.choose(selector)?;
    let store = context.open_store()?;
    let prepared = prepare(context, &store, &target, Purpose::pull())?;
    for image in std::iter::once(&prepared.image).chain(&prepared.native) {
        Rootfs::make_ready(image, &store)?;
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
