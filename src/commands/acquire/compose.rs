//! Composition of images from packages of Debian.
//!
//! A root is unpacked natively ([`unpack`]), configured by its own dpkg in a sandbox ([`configure`]), and becomes a layer of the
//! store ([`mod@write`]). A second layer has what further packages add ([`packages`]). A root without scripts is unpacked and
//! written, and has one layer ([`unscripted`]). The bytes follow from the [`Composition`] alone: not from the clock, the user or the
//! file system of the host.

mod base;
mod composition;
mod configure;
mod error;
mod packages;
mod unpack;
mod unscripted;
mod write;

pub use composition::{Archive, Composition};
pub use error::ComposeError;

use composition::Work;

use crate::debian::compose::image::{self, ComposedLayer};
use crate::lock::{Image, Layer};
use crate::oci::{self, Manifest};
use crate::store::Store;

/// Composes the image and writes it into the store: blobs, and unpacked layers. Nothing refers to them yet. `hold` gets each layer
/// before it is in the store, or is taken from there, and keeps it.
///
/// If scripts run, this process must have one thread, as for every sandbox.
///
/// # Errors
///
/// An archive is not the expected one or conflicts with another; a script fails; the sandbox cannot be made; files cannot be
/// read or written.
pub fn compose(
    store: &Store,
    composition: &Composition<'_>,
    hold: &mut dyn FnMut(&Layer),
) -> Result<Image, ComposeError> {
    let place = store.scratch()?;
    let mut work = Work { store, composition, place: place.path(), hold };
    if !composition.scripts {
        let layer = unscripted::compose(&mut work)?;
        let step = ComposedLayer { diff_id: layer.diff_id, request: Some(composition.requested.to_vec()) };
        return describe(store, composition, vec![layer], &[step]);
    }
    let kept = composition.base_key.and_then(|key| store.composed_layer(&key)).filter(|base| {
        (work.hold)(base);
        // Another process may have removed it before.
        store.has_layer(&base.diff_id) && store.has_blob(&base.blob)
    });
    let (base, unpacked) = match kept {
        Some(base) => (base, None),
        None => base::compose(&mut work)?,
    };
    let mut steps = vec![ComposedLayer { diff_id: base.diff_id, request: None }];
    let mut layers = vec![base];
    if !composition.packages.is_empty() {
        let layer = packages::compose(&mut work, &layers[0], unpacked)?;
        steps.push(ComposedLayer { diff_id: layer.diff_id, request: Some(composition.requested.to_vec()) });
        layers.push(layer);
    }
    describe(store, composition, layers, &steps)
}

/// Writes config and manifest of the image.
fn describe(
    store: &Store,
    composition: &Composition<'_>,
    layers: Vec<Layer>,
    steps: &[ComposedLayer],
) -> Result<Image, ComposeError> {
    let Composition { platform, suite, epoch, .. } = *composition;
    let config = image::config(platform, suite, epoch, steps).map_err(ComposeError::Document)?;
    let config = store.add_blob(&config, oci::CONFIG)?;
    let blobs = layers.iter().map(|layer| layer.blob.clone()).collect();
    let manifest = Manifest { config: config.clone(), layers: blobs }.write(None).map_err(ComposeError::Document)?;
    let manifest = store.add_blob(&manifest, oci::MANIFEST)?;
    Ok(Image { platform, label: None, index: None, manifest, config, layers, tree: None })
}
