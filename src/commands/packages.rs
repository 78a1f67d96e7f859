//! `hermes packages`: lists the packages of an image in the store, or the changes from another image.

use serde::Serialize;

use crate::commands::image_diff::{ImageChanges, between, inventory};
use crate::commands::{Context, Error, images};
use crate::digest::Digest;
use crate::packages::Inventory;
use crate::platform::Platform;
use crate::reference::Reference;

/// The packages of an image.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Listed {
    /// Its name.
    pub reference: Reference,
    /// What it is made for.
    pub platform: Platform,
    /// Its manifest.
    pub manifest: Digest,
    /// What it has.
    #[serde(flatten)]
    pub inventory: Inventory,
}

/// The packages of an image for a platform; by default this host's, else the image's only one.
pub(crate) fn list(context: &Context, reference: &Reference, platform: Option<Platform>) -> Result<Listed, Error> {
    let store = context.open_store()?;
    let _lease = store.lease_all();
    let image = images::pick(&store, reference, platform)?;
    let inventory =
        inventory(context, &store, &image)?.ok_or_else(|| Error::NoLayersHere(Box::new(reference.clone())))?;
    let (platform, manifest) = (image.platform, image.manifest.digest);
    Ok(Listed { reference: reference.clone(), platform, manifest, inventory })
}

/// The changes from the image `old` to the image `new`, for one platform.
pub(crate) fn changes(
    context: &Context,
    old: &Reference,
    new: &Reference,
    platform: Option<Platform>,
) -> Result<ImageChanges, Error> {
    let store = context.open_store()?;
    let _lease = store.lease_all();
    let pick = |reference| images::pick(&store, reference, platform);
    between(context, &store, &pick(old)?, &pick(new)?)
}
