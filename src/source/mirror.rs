//! Writing mirrors: archives by digest, in a directory or a repository of a registry.

use std::fs;
use std::io::Seek as _;
use std::path::Path;

use rustix::fs::CWD;

use crate::digest::Digest;
use crate::fs::beneath::Links;
use crate::fs::{atomic, regular};
use crate::lock::Source;
use crate::oci::{self, Manifest};
use crate::registry::Client;
use crate::source::SourceError;
use crate::source::location::tag;
use crate::store::Store;

/// `artifactType` of the manifest (OCI image spec 1.1).
pub(crate) const ARTIFACT_TYPE: &str = "application/vnd.hermes.source.v1";

/// Copies the archive to `sha256/<hex>` in `directory`, unless it is there. Returns whether it was copied.
///
/// # Errors
/// The archive is missing or damaged; the file cannot be written.
pub(crate) fn to_directory(store: &Store, source: &Source, directory: &Path) -> Result<bool, SourceError> {
    let parent = directory.join("sha256");
    let path = parent.join(source.digest.hex());
    let failed = |source| SourceError::File { verb: "write", path: path.clone(), source };
    if regular::open(CWD, &path, Links::Follow)
        .and_then(|mut file| Digest::of_reader(&mut file, &|_| ()))
        .is_ok_and(|(there, _)| there == source.digest)
    {
        return Ok(false);
    }
    fs::create_dir_all(&parent).map_err(failed)?;
    let mut from = store.open_blob(&source.blob())?;
    let mut to = atomic::create(&path).map_err(failed)?;
    std::io::copy(&mut from, &mut to).map_err(failed)?;
    to.as_file().rewind().map_err(failed)?;
    let written = Digest::of_reader(&mut to.as_file(), &|_| ()).map_err(failed)?;
    if written.0 != source.digest {
        return Err(damaged(store, source, written.0));
    }
    to.publish().map_err(failed)?;
    Ok(true)
}

/// Pushes the archive to a repository, tagged `sha256-<hex>`. Returns whether its blob was sent.
///
/// # Errors
/// The archive is damaged; the registry refuses it.
pub(crate) async fn to_registry(
    store: &Store,
    source: &Source,
    repository: &str,
    client: &Client,
) -> Result<bool, SourceError> {
    let reference = tag(repository, &source.digest)?;
    let path = store.blob_path(&source.digest);
    let read = |error| SourceError::File { verb: "read", path: path.clone(), source: error };
    let (actual, _) = Digest::of_reader(&mut store.open_blob(&source.blob())?, &|_| ()).map_err(read)?;
    if actual != source.digest {
        return Err(damaged(store, source, actual));
    }
    let (media_type, empty) = oci::EMPTY;
    let config = store.add_blob(empty, media_type)?;
    client.push_blob(&reference, &config, &store.blob_path(&config.digest)).await?;
    let sent = client.push_blob(&reference, &source.blob(), &path).await?;
    let manifest = Manifest { config, layers: vec![source.blob()] };
    let bytes = manifest.write(Some(ARTIFACT_TYPE)).map_err(|error| read(error.into()))?;
    client.push_manifest(&reference, oci::MANIFEST, &bytes).await?;
    Ok(sent)
}

fn damaged(store: &Store, source: &Source, actual: Digest) -> SourceError {
    let path = store.blob_path(&source.digest);
    crate::store::StoreError::Corrupt { path, expected: source.digest, actual }.into()
}
