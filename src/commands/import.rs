//! `hermes import`.

use std::path::Path;

use crate::commands::{Context, Error};
use crate::oci::Descriptor;
use crate::reference::Reference;

/// Takes the images of an OCI image layout, a directory or a tar archive of one, into the store.
///
/// # Errors
/// The store's: not a layout, wrong digests, an image without a name.
pub fn import(
    context: &Context,
    source: &Path,
    name: Option<&Reference>,
) -> Result<Vec<(Reference, Descriptor)>, Error> {
    Ok(context.open_store()?.import(source, name, context.reporter.as_ref())?)
}
