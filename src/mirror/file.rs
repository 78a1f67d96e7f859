//! Files of a mirror: whether they are there, and copies of them.

use std::fs;
use std::io::Seek as _;
use std::path::Path;

use rustix::fs::CWD;

use crate::digest::Digest;
use crate::fs::beneath::Links;
use crate::fs::{atomic, regular};
use crate::mirror::place::{path_of, tag};
use crate::mirror::{MirrorError, Place};
use crate::oci::{self, Descriptor, Manifest};
use crate::registry::{Client, Tagged};
use crate::store::{Store, StoreError};

/// Whether a mirror has a file. This is cheap: a file of a directory must have the right size, an artifact only has to exist.
/// `client` is for repositories.
///
/// # Errors
/// The registry does not answer, or refuses access; the name of a repository is not valid.
pub(crate) async fn has(place: &Place, blob: &Descriptor, client: &Client) -> Result<bool, MirrorError> {
    match place {
        Place::Directory(directory) => {
            let meta = fs::metadata(directory.join(path_of(&blob.digest)));
            Ok(meta.is_ok_and(|meta| meta.is_file() && meta.len() == blob.size))
        }
        Place::Repository(repository) => {
            let reference = tag(repository, &blob.digest).ok_or_else(|| unknown(repository))?;
            Ok(client.tagged(&reference).await? != Tagged::Nothing)
        }
    }
}

/// Copies a file of the store to a directory, unless it is there. Returns whether it was copied.
///
/// # Errors
/// The file is missing or damaged in the store; it cannot be written.
pub(crate) fn to_directory(store: &Store, blob: &Descriptor, directory: &Path) -> Result<bool, MirrorError> {
    let path = directory.join(path_of(&blob.digest));
    let failed = |source| MirrorError::File { verb: "write", path: path.clone(), source };
    if regular::open(CWD, &path, Links::Follow)
        .and_then(|mut file| Digest::of_reader(&mut file, &|_| ()))
        .is_ok_and(|(there, _)| there == blob.digest)
    {
        return Ok(false);
    }
    fs::create_dir_all(path.parent().unwrap_or(directory)).map_err(failed)?;
    let mut from = store.open_blob(blob)?;
    let mut to = atomic::create(&path).map_err(failed)?;
    std::io::copy(&mut from, &mut to).map_err(failed)?;
    to.as_file().rewind().map_err(failed)?;
    let written = Digest::of_reader(&mut to.as_file(), &|_| ()).map_err(failed)?;
    if written.0 != blob.digest {
        return Err(damaged(store, blob, written.0));
    }
    to.publish().map_err(failed)?;
    Ok(true)
}

/// Pushes a file of the store to a repository, as an artifact of type `artifact_type`, unless it is there. Returns whether its
/// bytes were sent.
///
/// # Errors
/// The file is missing or damaged in the store; the registry refuses it.
pub(crate) async fn to_repository(
    store: &Store,
    blob: &Descriptor,
    artifact_type: &str,
    repository: &str,
    client: &Client,
) -> Result<bool, MirrorError> {
    let reference = tag(repository, &blob.digest).ok_or_else(|| unknown(repository))?;
    let path = store.blob_path(&blob.digest);
    let read = |source| MirrorError::File { verb: "read", path: path.clone(), source };
    let (media_type, empty) = oci::EMPTY;
    let config = Descriptor::new(media_type, Digest::of(empty), empty.len() as u64);
    let manifest = Manifest { config, layers: vec![blob.clone()] };
    let bytes = manifest.write(Some(artifact_type)).map_err(|error| read(error.into()))?;
    // A registry accepts a manifest only if it has what the manifest names. An error here is shown by the next request.
    if client.tagged(&reference).await.is_ok_and(|there| there == Tagged::Manifest(Some(Digest::of(&bytes)))) {
        return Ok(false);
    }
    let (actual, _) = Digest::of_reader(&mut store.open_blob(blob)?, &|_| ()).map_err(read)?;
    if actual != blob.digest {
        return Err(damaged(store, blob, actual));
    }
    store.add_blob(empty, media_type)?;
    client.push_blob(&reference, &manifest.config, &store.blob_path(&manifest.config.digest)).await?;
    let sent = client.push_blob(&reference, blob, &path).await?;
    client.push_manifest(&reference, oci::MANIFEST, &bytes).await?;
    Ok(sent)
}

fn unknown(repository: &str) -> MirrorError {
    MirrorError::Repository { text: repository.to_owned() }
}

fn damaged(store: &Store, blob: &Descriptor, actual: Digest) -> MirrorError {
    let path = store.blob_path(&blob.digest);
    StoreError::Corrupt { path, expected: blob.digest, actual }.into()
}
