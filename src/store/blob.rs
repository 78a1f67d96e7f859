//! Blobs: files named by their digest.

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::digest::{Digest, Hasher};
use crate::fs::space;
use crate::lock;
use crate::oci::Descriptor;
use crate::store::partial::Partial;
use crate::store::{Store, StoreError};
use crate::sys::file::begin_writing;

/// How many bytes of a blob are begun to be put on disk at a time.
const WRITE_BACK: u64 = 8 << 20;
const READ_ONLY: u32 = 0o444;
const PROGRAM: u32 = 0o555;

impl Store {
    /// Whether the blob is there: a regular file of its size. This is cheap, and detects the empty files that a power failure
    /// leaves; the content is verified whenever it is read.
    #[must_use]
    pub fn has_blob(&self, blob: &Descriptor) -> bool {
        fs::symlink_metadata(self.blob_path(&blob.digest)).is_ok_and(|meta| meta.is_file() && meta.len() == blob.size)
    }

    /// Where the blob is, or would be.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path("blobs/sha256").join(digest.hex())
    }

    /// Reads a blob of at most `limit` bytes and verifies it.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::TooLong`], [`StoreError::Corrupt`].
    pub fn read_blob(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>, StoreError> {
        let (digest, size) = (blob.digest, blob.size);
        if size > limit {
            return Err(StoreError::TooLong { digest, size, limit });
        }
        let path = self.blob_path(&digest);
        // One byte more than promised shows that the content differs.
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
        self.open_blob(blob)?.take(size + 1).read_to_end(&mut bytes).map_err(StoreError::io("read", &path))?;
        let actual = Digest::of(&bytes);
        if actual == digest { Ok(bytes) } else { Err(StoreError::Corrupt { path, expected: digest, actual }) }
    }

    /// Opens a blob, unverified.
    ///
    /// # Errors
    /// [`StoreError::Missing`].
    pub fn open_blob(&self, blob: &Descriptor) -> Result<File, StoreError> {
        let path = self.blob_path(&blob.digest);
        self.inner.trust.open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StoreError::Missing(blob.digest),
            _ => StoreError::io("read", &path)(source),
        })
    }

    /// Checks that the disk of the store has room for `bytes` more and a reserve, before a download of known size begins.
    ///
    /// # Errors
    /// [`StoreError::NoRoom`].
    pub fn require_room(&self, bytes: u64) -> Result<(), StoreError> {
        match space::left(self.root()) {
            Some(left) if left < bytes => Err(StoreError::NoRoom { root: self.root().to_owned(), needed: bytes, left }),
            _ => Ok(()),
        }
    }

    /// Begins to write a blob.
    pub fn create_blob(&self, expected: &Descriptor) -> Result<BlobWriter, StoreError> {
        let (digest, size) = (expected.digest, expected.size);
        let file = Staged::Temp(self.temp_file()?);
        Ok(BlobWriter { file, to: self.blob_path(&digest), hasher: Hasher::default(), kept: 0, digest, size })
    }

    /// Begins to write a blob, or goes on with what an earlier writer left of it
    /// ([`BlobWriter::kept`]). What is written stays for the next one, until it is committed or
    /// [`Self::drop_partial`]. While another process does the same, this is [`Self::create_blob`].
    pub fn resume_blob(&self, expected: &Descriptor) -> Result<BlobWriter, StoreError> {
        match self.lock_partial(&expected.digest)? {
            Some(partial) if expected.size > 0 => BlobWriter::resume(self, partial, expected),
            _ => self.create_blob(expected),
        }
    }

    /// Writes a small blob whole, unless it is there.
    pub fn add_blob(&self, bytes: &[u8], media_type: &str) -> Result<Descriptor, StoreError> {
        let blob = Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64);
        // A damaged one is replaced.
        if !self.has_blob(&blob) || self.read_blob(&blob, blob.size).is_err() {
            let mut writer = self.create_blob(&blob)?;
            writer.write_all(bytes).map_err(StoreError::io("write", &writer.to))?;
            writer.commit()?;
        }
        Ok(blob)
    }

    /// Copies a program into the store, to be executed from there: the open file `from`, whose path is for messages.
    pub fn add_program(&self, mut from: &File, path: &Path) -> Result<lock::Emulator, StoreError> {
        let read = |source| StoreError::Io { action: "read", path: path.to_owned(), source };
        from.rewind().map_err(read)?;
        let to = self.temp_file()?;
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 128 << 10];
        loop {
            let length = from.read(&mut buffer).map_err(read)?;
            if length == 0 {
                break;
            }
            hasher.update(&buffer[..length]);
            to.as_file().write_all(&buffer[..length]).map_err(StoreError::io("write", to.path()))?;
        }
        let size = hasher.count();
        let digest = hasher.finish();
        // It will be run without being hashed again, so it must survive a power failure whole.
        to.as_file().sync_data().map_err(StoreError::io("write", to.path()))?;
        to.as_file()
            .set_permissions(fs::Permissions::from_mode(PROGRAM))
            .map_err(StoreError::io("write", to.path()))?;
        let emulator = lock::Emulator::new(digest, size);
        let path = self.blob_path(&digest);
        match to.persist_noclobber(&path) {
            Ok(_) => {}
            // One that is whole stays: a file that a run has opened to mount it, and that is replaced
            // before it has, cannot be mounted any more.
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                let meta = fs::symlink_metadata(&path);
                let runs = meta.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
                if !runs || self.read_blob(&emulator.blob(), size).is_err() {
                    publish(error.file, &path, PROGRAM)?;
                }
            }
            Err(error) => return Err(StoreError::Io { action: "create", path, source: error.error }),
        }
        Ok(emulator)
    }

    /// Publishes a file in `tmp/`, which was hashed when it was written, as the blob `digest`.
    pub(super) fn adopt(&self, file: &Path, digest: &Digest) -> Result<(), StoreError> {
        let path = self.blob_path(digest);
        fs::set_permissions(file, fs::Permissions::from_mode(READ_ONLY)).map_err(StoreError::io("write", file))?;
        fs::rename(file, &path).map_err(StoreError::io("create", &path))
    }
}

/// Bytes on their way in of which nothing is known beforehand. Dropped without [`Self::commit`], they leave nothing.
pub struct Incoming {
    file: NamedTempFile,
    hasher: Hasher,
    limit: u64,
}

impl Store {
    /// Begins to write a blob of at most `limit` bytes whose digest will be seen.
    pub fn receive_blob(&self, limit: u64) -> Result<Incoming, StoreError> {
        Ok(Incoming { file: self.temp_file()?, hasher: Hasher::default(), limit })
    }
}

impl Incoming {
    /// What has come so far.
    #[must_use]
    pub fn so_far(&self) -> (Digest, u64) {
        (self.hasher.clone().finish(), self.hasher.count())
    }

    /// Publishes it.
    pub fn commit(self, store: &Store) -> Result<(), StoreError> {
        let path = store.blob_path(&self.hasher.finish());
        publish(self.file, &path, READ_ONLY)
    }
}

impl Write for Incoming {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.hasher.count() + bytes.len() as u64 > self.limit {
            let text = format!("received more than {} bytes", self.limit);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let length = self.file.as_file().write(bytes)?;
        self.hasher.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where a blob is written until it is published.
enum Staged {
    /// Gone when dropped.
    Temp(NamedTempFile),
    /// Kept when dropped.
    Partial(Partial),
}

/// A blob being written. Dropped without [`Self::commit`], it publishes nothing; what
/// [`Store::resume_blob`] gave is kept then for the next one.
pub struct BlobWriter {
    file: Staged,
    to: PathBuf,
    hasher: Hasher,
    /// Bytes that were there before.
    kept: u64,
    digest: Digest,
    size: u64,
}

impl BlobWriter {
    pub(super) fn resume(store: &Store, partial: Partial, expected: &Descriptor) -> Result<Self, StoreError> {
        let (digest, size) = (expected.digest, expected.size);
        let to = store.blob_path(&digest);
        let mut file = partial.file();
        let mut kept = file.seek(SeekFrom::End(0)).map_err(StoreError::io("read", &to))?;
        if kept > size {
            let emptied = file.set_len(0).and_then(|()| file.rewind());
            emptied.map_err(StoreError::io("write", &to))?;
            kept = 0;
        }
        Ok(Self { file: Staged::Partial(partial), to, hasher: Hasher::default(), kept, digest, size })
    }

    /// How many bytes an earlier writer left. They are to be read by [`Self::replay`] before anything
    /// is written.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// Reads the next bytes that an earlier writer left, counting them as written; 0 at their end.
    pub fn replay(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Staged::Partial(partial) = &self.file else { return Ok(0) };
        let at = self.hasher.count();
        let left = usize::try_from(self.kept.saturating_sub(at)).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(0);
        }
        let most = left.min(buffer.len());
        let length = partial.read(&mut buffer[..most], at)?;
        self.hasher.update(&buffer[..length]);
        Ok(length)
    }

    /// Verifies what was written so far as the whole blob.
    ///
    /// # Errors
    /// [`StoreError::Size`], [`StoreError::Mismatch`].
    pub fn verify(&self) -> Result<(), StoreError> {
        if self.hasher.count() != self.size {
            let actual = self.hasher.count();
            return Err(StoreError::Size { digest: self.digest, expected: self.size, actual });
        }
        let actual = self.hasher.clone().finish();
        if actual == self.digest { Ok(()) } else { Err(StoreError::Mismatch { expected: self.digest, actual }) }
    }

    /// Verifies size and digest, then publishes the blob.
    pub fn commit(self) -> Result<(), StoreError> {
        self.verify()?;
        match self.file {
            Staged::Temp(file) => publish(file, &self.to, READ_ONLY),
            Staged::Partial(partial) => {
                let mode = partial.file().set_permissions(fs::Permissions::from_mode(READ_ONLY));
                mode.map_err(StoreError::io("write", &self.to))?;
                partial.publish(&self.to)
            }
        }
    }
}

impl Write for BlobWriter {
    /// Fails, having written nothing, where more comes than the blob's size: an endless answer must
    /// not fill the disk (CVE-2023-25153).
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.hasher.count() + bytes.len() as u64 > self.size {
            let text = format!("received more than the {} bytes of {}", self.size, self.digest);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let length = match &self.file {
            Staged::Temp(file) => file.as_file().write(bytes)?,
            Staged::Partial(partial) => partial.file().write(bytes)?,
        };
        let before = self.hasher.count();
        self.hasher.update(&bytes[..length]);
        let now = self.hasher.count();
        if before / WRITE_BACK != now / WRITE_BACK {
            let from = (now / WRITE_BACK - 1) * WRITE_BACK;
            match &self.file {
                Staged::Temp(file) => begin_writing(file.as_file(), from, WRITE_BACK),
                Staged::Partial(partial) => begin_writing(partial.file(), from, WRITE_BACK),
            }
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Neither buffers.
        Ok(())
    }
}

fn publish(file: NamedTempFile, path: &Path, mode: u32) -> Result<(), StoreError> {
    file.as_file().set_permissions(fs::Permissions::from_mode(mode)).map_err(StoreError::io("write", file.path()))?;
    file.persist(path).map_err(StoreError::io("create", path))?;
    Ok(())
}
