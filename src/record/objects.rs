//! Objects that records name by digest: lock files and listings. Each is a file beside the records, named by the hexadecimal
//! digits of its SHA-256, and stored once.

use std::fs::{DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;

use crate::digest::Digest;
use crate::fs::atomic;
use crate::fs::trust::Trust;
use crate::record::RecordError;

/// A kind of object: its directory beside the records, and the suffix of its file names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ObjectKind {
    directory: &'static str,
    ending: &'static str,
    /// Longest file in it, in bytes.
    pub limit: u64,
}

/// Lock files of single runs, in the form of `hermes.lock`.
pub(crate) const LOCKS: ObjectKind = ObjectKind { directory: "locks", ending: ".lock", limit: 16 << 20 };
/// Listings of outputs and projects.
pub(crate) const TREES: ObjectKind = ObjectKind { directory: "trees", ending: "", limit: 1 << 30 };

impl ObjectKind {
    /// The path of the object `digest`; `records` is the directory of the records.
    #[must_use]
    pub(crate) fn path(self, records: &Path, digest: &Digest) -> PathBuf {
        records.join(self.directory).join(format!("{}{}", digest.hex(), self.ending))
    }

    /// Stores `bytes`, unless they are stored already, which takes one system call to find out.
    ///
    /// # Errors
    /// The directory or the file cannot be written, or is another user's.
    pub(crate) fn keep(self, records: &Path, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(records, digest);
        // A file that a crash of the system cut short has another length.
        if std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() == bytes.len() as u64) {
            return Ok(());
        }
        let directory = records.join(self.directory);
        let trust = Trust::in_caller();
        if let Err(error) = trust.check_directory(CWD, &directory) {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        }
        let mut file = atomic::create(&path)?;
        // As private as the records.
        file.as_file().set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.publish()
    }

    /// Reads the object `digest`.
    ///
    /// # Errors
    /// [`RecordError`].
    pub(crate) fn read(self, records: &Path, digest: &Digest) -> Result<Vec<u8>, RecordError> {
        let path = self.path(records, digest);
        match Trust::in_caller().read(&path, self.limit) {
            Ok(bytes) => match Digest::of(&bytes) {
                found if found == *digest => Ok(bytes),
                found => Err(RecordError::Changed { path, found }),
            },
            Err(source) => Err(RecordError::Io { path, source }),
        }
    }
}
