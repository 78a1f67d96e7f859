//! `hermes import`.

use std::path::Path;

use crate::commands::{Context, Error};
use crate::oci::Descriptor;
use crate::reference::Reference;

/// Takes the images of an OCI image layout, a directory or a tar archive of one, into the store.
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
