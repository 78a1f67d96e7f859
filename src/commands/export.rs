//! `hermes export`.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::commands::{Context, Error, images};
use crate::digest::Digest;
use crate::fs::atomic;
use crate::fs::opened::Opened;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::Store;

/// The format of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A tar of an OCI image layout.
    Oci,
    /// An OCI image layout in a directory.
    OciDirectory,
    /// The format of `docker save`.
    Docker,
}

/// The arguments of `hermes export`.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The image.
    pub reference: Reference,
    /// The format.
    pub format: Format,
    /// The platform, for a format that has room for one only.
    pub platform: Option<Platform>,
}

/// An archive that was written.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Exported {
    /// The image.
    pub reference: Reference,
    /// The top document of the image; in Docker's format its config, which Docker calls the image id.
    pub digest: Digest,
    /// The archive.
    pub file: PathBuf,
}

/// Writes an image to `file`, which appears when it is complete: with all platforms in the store, or in Docker's format
/// with one.
pub(crate) fn export(context: &Context, request: &Request, file: &Path) -> Result<Exported, Error> {
    let unwritable = |source: io::Error| Error::Unwritable { path: file.to_owned(), source };
    let store = context.open_store()?;
    let _lease = store.lease_all();
    let digest = if request.format == Format::OciDirectory {
        let top = store.find_ref(&request.reference)?.ok_or_else(|| Error::NoImage(request.reference.clone()))?;
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let parent = Opened::directory(parent).map_err(unwritable)?;
        let name = file.file_name().ok_or_else(|| unwritable(io::ErrorKind::AlreadyExists.into()))?;
        let mut builder = tempfile::Builder::new();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        let to = builder.prefix(".hermes-").permissions(mode).tempdir_in(parent.reach());
        let to = to.map_err(unwritable)?;
        store.export_directory(&request.reference, &top, to.path(), context.reporter.as_ref())?;
        fs::rename(to.path(), parent.reach().join(name)).map_err(unwritable)?;
        top.digest
    } else {
        let out = atomic::create(file).map_err(unwritable)?;
        let digest = write(context, &store, request, out.as_file())?;
        out.publish().map_err(unwritable)?;
        digest
    };
    Ok(Exported { reference: request.reference.clone(), digest, file: file.to_owned() })
}

/// Writes an image to a stream.
pub(crate) fn stream(context: &Context, request: &Request, out: &File) -> Result<(), Error> {
    let store = context.open_store()?;
    let _lease = store.lease_all();
    write(context, &store, request, out).map(drop)
}

fn write(context: &Context, store: &Store, request: &Request, out: impl Write) -> Result<Digest, Error> {
    let Request { reference, format, platform } = request;
    let (out, reporter) = (BufWriter::new(out), context.reporter.as_ref());
    match format {
        Format::Docker => {
            let image = images::pick(store, reference, *platform)?;
            store.export_docker(reference, &image, out, reporter)?;
            Ok(image.config.digest)
        }
        Format::Oci => {
            let top = store.find_ref(reference)?.ok_or_else(|| Error::NoImage(reference.clone()))?;
            store.export(reference, &top, out, reporter)?;
            Ok(top.digest)
        }
        Format::OciDirectory => Err(Error::NoStream),
    }
}
