//! Files of an archive, from the first address that has them.

use std::fs::File;
use std::io::{self, Read as _, Write as _};

use crate::archive::ArchiveError;
use crate::archive::mirror::{Files, Mirror};
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
    /// It cannot be reached or read.
    Failed(String),
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
            Self::Absent(text) | Self::Failed(text) => text.clone(),
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

    /// Gets the blob that is at one of `paths` of a mirror. Resumes a download that an earlier call could not end.
    pub(super) async fn receive(
        &self,
        mirror: &Mirror,
        paths: &[String],
        blob: &Descriptor,
        task: TaskId,
    ) -> Result<Result<(), Miss>, ArchiveError> {
        let mut missed = Miss::Absent("it is not there".to_owned());
        for path in paths {
            match self.receive_at(mirror, path, blob, task).await? {
                Ok(()) => return Ok(Ok(())),
                // Another path cannot make good what was wrong.
                Err(miss) if !matches!(missed, Miss::Wrong { .. }) => missed = miss,
                Err(_) => {}
            }
        }
        Ok(Err(missed))
    }

    async fn receive_at(
        &self,
        mirror: &Mirror,
        path: &str,
        blob: &Descriptor,
        task: TaskId,
    ) -> Result<Result<(), Miss>, ArchiveError> {
        let (Some(url), Some(client)) = (mirror.url(path), self.client) else {
            return match mirror.open(path, self.files) {
                Ok(file) => self.copy(file, blob, task),
                Err(error) => Ok(Err(Miss::of_file(&error))),
            };
        };
        loop {
            let mut to = self.store.resume_blob(blob)?;
            let kept = to.kept();
            match self.download(client, &url, &mut to, blob, task).await? {
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
        client: &Client,
        url: &str,
        to: &mut BlobWriter,
        blob: &Descriptor,
        task: TaskId,
    ) -> Result<Result<(), Miss>, ArchiveError> {
        let kept = to.kept();
        let mut download = match client.verified_download(url, Some(blob.size), kept).await {
            Ok(download) => download,
            Err(error) => return Ok(Err(Miss::of_registry(&error))),
        };
        let mut buffer = vec![0; PIECE];
        while to.replay(&mut buffer).map_err(|error| self.unwritable(error))? > 0 {}
        self.reporter.advance(task, kept);
        let mut left = blob.size - kept.min(blob.size);
        loop {
            match download.chunk().await {
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
