//! What records name and is kept beside them once, by content, under the hexadecimal digits of its SHA-256.

use std::fs::{DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;

use crate::digest::Digest;
use crate::fs::atomic;
use crate::fs::trust::Trust;
use crate::record::RecordError;

/// A directory beside the records, and what the names in it end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shelf {
    directory: &'static str,
    ending: &'static str,
    /// Longest file in it, in bytes.
    pub limit: u64,
}

/// Lock files of single runs, in the form of `hermes.lock`.
pub(crate) const LOCKS: Shelf = Shelf { directory: "locks", ending: ".lock", limit: 16 << 20 };
/// Listings of outputs and projects.
pub(crate) const TREES: Shelf = Shelf { directory: "trees", ending: "", limit: 1 << 30 };

impl Shelf {
    /// Where `digest` is kept, in the directory of the records.
    #[must_use]
    pub(crate) fn path(self, records: &Path, digest: &Digest) -> PathBuf {
        records.join(self.directory).join(format!("{}{}", digest.hex(), self.ending))
    }

    /// Keeps `bytes`, which are looked for first: one call of the system where they are there.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn keep(self, records: &Path, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(records, digest);
        // One cut by a crash of the system has another length.
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
        // As records are: nobody else's to read.
        file.as_file().set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.publish()
    }

    /// Reads what `digest` names.
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
