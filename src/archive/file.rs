//! Files of an archive, from the first address that has them.

use std::fs::File;
use std::io::{self, Read as _, Write as _};

use bytes::Bytes;

use crate::archive::ArchiveError;
use crate::archive::mirror::{Files, Location, Mirror};
use crate::digest::Digest;
use crate::hint::error_chain;
use crate::oci::Descriptor;
use crate::progress::{Reporter, TaskId};
use crate::registry::{Client, RegistryError};
use crate::store::{BlobWriter, Store, StoreError};

/// Bytes that are read of a file at a time.
const PIECE: usize = 256 << 10;

/// What is needed to get files of an archive.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub store: &'a Store,
    /// `None` without a network: then only directories are read.
    pub client: Option<&'a Client>,
    pub files: Files<'a>,
    pub reporter: &'a dyn Reporter,
}

/// Why one address did not give a file.
#[derive(Debug)]
pub(super) enum Miss {
    /// It does not have the file, or has one of another size.
    Absent(String),
    /// It has other bytes.
    Wrong { got: Digest },
    /// It cannot be read.
    Failed(String),
    /// It cannot be reached.
    Unreachable(String),
}

impl Miss {
    fn of_registry(error: &RegistryError) -> Self {
        let line = error_chain(error);
        match error {
            // An archive may answer with 410 for what it has removed.
            RegistryError::NotFound { .. } | RegistryError::Status { status: 410, .. } => {
                Self::Absent("it is not there".to_owned())
            }
            RegistryError::WrongSize { .. } | RegistryError::TooLong { .. } => Self::Absent(line),
            error if error.is_unreachable() => Self::Unreachable(line),
            _ => Self::Failed(line),
        }
    }

    fn of_file(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Absent("it is not there".to_owned()),
            _ => Self::Failed(error.to_string()),
        }
    }

    /// Its text in messages.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Absent(text) | Self::Failed(text) | Self::Unreachable(text) => text.clone(),
            Self::Wrong { got } => format!("its digest is {got}"),
        }
    }
}

impl Source<'_> {
    /// Whether the address can be used.
    pub(super) fn reaches(&self, mirror: &Mirror) -> bool {
        self.client.is_some() || mirror.is_local()
    }

    /// Reads the file at `path` of a mirror, of unknown content, into memory.
    pub(super) async fn read(&self, mirror: &Mirror, path: &str, limit: u64) -> Result<Vec<u8>, Miss> {
        let too_long = || Miss::Failed(format!("it is longer than {limit} bytes"));
        let (Some(url), Some(client)) = (mirror.url(path), self.client) else {
            let file = mirror.open(path, self.files).map_err(|error| Miss::of_file(&error))?;
            let mut bytes = Vec::new();
            file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| Miss::of_file(&error))?;
            return if bytes.len() as u64 > limit { Err(too_long()) } else { Ok(bytes) };
        };
        let failed = |error: RegistryError| Miss::of_registry(&error);
        let mut download = client.verified_download(&url, None, 0).await.map_err(failed)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = download.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > limit {
                return Err(too_long());
            }
        }
        Ok(bytes)
    }

    /// Gets a blob from a mirror, which may have it at one of `paths` of the archive, or by its digest. Resumes a download that an
    /// earlier call could not end.
    pub(super) async fn receive(
        &self,
        mirror: &Mirror,
        paths: &[String],
        blob: &Descriptor,
        task: TaskId,
    ) -> Result<Result<(), Miss>, ArchiveError> {
        let mut missed = Miss::Absent("it is not there".to_owned());
        for location in mirror.locations(paths, &blob.digest) {
            let miss = match self.receive_from(mirror, &location, blob, task).await? {
                Ok(()) => return Ok(Ok(())),
                Err(miss) => miss,
            };
            let is_unreachable = matches!(miss, Miss::Unreachable(_));
            // That a further location lacks it cannot make good what was wrong.
            if matches!(missed, Miss::Absent(_)) {
                missed = miss;
            }
            if is_unreachable {
                break;
            }
        }
        Ok(Err(missed))
    }

    async fn receive_from(
        &self,
        mirror: &Mirror,
        location: &Location,
        blob: &Descriptor,
        task: TaskId,
    ) -> Result<Result<(), Miss>, ArchiveError> {
        if let Location::File(path) = location {
            return match mirror.open(path, self.files) {
                Ok(file) => self.copy(file, blob, task),
                Err(error) => Ok(Err(Miss::of_file(&error))),
            };
        }
        loop {
            let mut to = self.store.resume_blob(blob)?;
            let kept = to.kept();
            match self.download(location, &mut to, blob, task).await? {
                Ok(()) => {}
                Err(miss) => return Ok(Err(miss)),
            }
            match to.commit() {
                Ok(()) => return Ok(Ok(())),
                Err(StoreError::Mismatch { actual, .. }) => {
                    self.store.drop_partial(&blob.digest);
                    if kept == 0 {
                        return Ok(Err(Miss::Wrong { got: actual }));
                    }
                    // The part that was kept may be damaged, or from another address.
                }
                Err(StoreError::Size { .. }) => {
                    self.store.drop_partial(&blob.digest);
                    return Ok(Err(Miss::Absent("it has another size".to_owned())));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Downloads what `to` lacks.
    async fn download(
        &self,
        location: &Location,
        to: &mut BlobWriter,
        blob: &Descriptor,
        task: TaskId,
    ) -> Result<Result<(), Miss>, ArchiveError> {
        let kept = to.kept();
        match (location, self.client) {
            (Location::Url(url), Some(client)) => match client.verified_download(url, Some(blob.size), kept).await {
                Ok(mut download) => self.fill(to, blob, task, async || download.chunk().await).await,
                Err(error) => Ok(Err(Miss::of_registry(&error))),
            },
            (Location::Blob(reference), Some(client)) => match client.blob_from(reference, blob, kept).await {
                Ok(mut download) => self.fill(to, blob, task, async || download.chunk().await).await,
                Err(error) => Ok(Err(Miss::of_registry(&error))),
            },
            (Location::File(_), _) | (_, None) => Ok(Err(Miss::Failed("the network is disabled".to_owned()))),
        }
    }

    /// Writes what `next` gives after what `to` had before.
    async fn fill(
        &self,
        to: &mut BlobWriter,
        blob: &Descriptor,
        task: TaskId,
        mut next: impl AsyncFnMut() -> Result<Option<Bytes>, RegistryError>,
    ) -> Result<Result<(), Miss>, ArchiveError> {
        self.reporter.advance(task, to.kept());
        let mut buffer = vec![0; PIECE];
        while to.replay(&mut buffer).map_err(|error| self.unwritable(error))? > 0 {}
        let mut left = blob.size.saturating_sub(to.kept());
        loop {
            match next().await {
                Ok(None) => return Ok(Ok(())),
                // Another address may have the file all the same.
                Ok(Some(chunk)) if chunk.len() as u64 > left => {
                    return Ok(Err(Miss::Absent(format!("it has more than {} bytes", blob.size))));
                }
                Ok(Some(chunk)) => {
                    left -= chunk.len() as u64;
                    to.write_all(&chunk).map_err(|error| self.unwritable(error))?;
                    self.reporter.advance(task, chunk.len() as u64);
                }
                Err(error) => return Ok(Err(Miss::of_registry(&error))),
            }
        }
    }

    /// Copies a file of this host.
    fn copy(&self, mut file: File, blob: &Descriptor, task: TaskId) -> Result<Result<(), Miss>, ArchiveError> {
        let length = match file.metadata() {
            Ok(meta) => meta.len(),
            Err(error) => return Ok(Err(Miss::of_file(&error))),
        };
        if length != blob.size {
            return Ok(Err(Miss::Absent(format!("it has {length} bytes, not {}", blob.size))));
        }
        let mut to = self.store.create_blob(blob)?;
        let mut buffer = vec![0; PIECE];
        let mut left = length;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            match file.read(&mut buffer[..most]) {
                Ok(0) => break,
                Ok(length) => {
                    to.write_all(&buffer[..length]).map_err(|error| self.unwritable(error))?;
                    self.reporter.advance(task, length as u64);
                    left -= length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Err(Miss::of_file(&error))),
            }
        }
        match to.commit() {
            Ok(()) => Ok(Ok(())),
            Err(StoreError::Mismatch { actual, .. }) => Ok(Err(Miss::Wrong { got: actual })),
            Err(StoreError::Size { .. }) => Ok(Err(Miss::Absent("it became shorter".to_owned()))),
            Err(error) => Err(error.into()),
        }
    }

    fn unwritable(&self, source: io::Error) -> ArchiveError {
        ArchiveError::File { verb: "write", path: self.store.root().join("tmp"), source }
    }
}
