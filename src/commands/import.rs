//! `hermes import`.

use std::path::Path;

use crate::commands::{Context, Error};
use crate::oci::Descriptor;
use crate::reference::Reference;

/// Imports images from an OCI image layout (directory or tar) or a `docker save` archive into the store.
///
/// # Errors
/// The store's: not a layout, wrong digests, an image without a name.
pub(crate) fn import(
    context: &Context,
    source: &Path,
    name: Option<&Reference>,
) -> Result<Vec<(Reference, Descriptor)>, Error> {
    let store = context.open_store()?;
    // Which blobs come in is only known when they are there.
    let _lease = store.lease_all();
    Ok(store.import(source, name, context.reporter.as_ref())?)
}
