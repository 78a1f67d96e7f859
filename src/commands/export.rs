//! `hermes export`.

use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::commands::{Context, Error};
use crate::digest::Digest;
use crate::fs::atomic;
use crate::reference::Reference;

/// An archive that was written.
#[derive(Debug, Clone, Serialize)]
pub struct Exported {
    /// The image.
    pub reference: Reference,
    /// What its name leads to.
    pub digest: Digest,
    /// The archive.
    pub file: PathBuf,
}

/// Writes an image with all its platforms that are in the store to `file`, a tar of an OCI image
/// layout. The file appears when it is whole.
///
/// # Errors
/// No such image, the store's, or a file that cannot be written.
pub fn export(context: &Context, reference: &Reference, file: &Path) -> Result<Exported, Error> {
    let store = context.open_store()?;
    let top = store.find_ref(reference)?.ok_or_else(|| Error::NoImage(reference.clone()))?;
    let unwritable = |source: io::Error| Error::Archive { path: file.to_owned(), source };
    let out = atomic::create(file).map_err(unwritable)?;
    store.export(reference, &top, BufWriter::new(&out), context.reporter.as_ref())?;
    atomic::publish(out, file).map_err(unwritable)?;
    Ok(Exported { reference: reference.clone(), digest: top.digest, file: file.to_owned() })
}
