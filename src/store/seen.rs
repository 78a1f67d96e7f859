//! Lock files that were used with this store: `seen/<sha256 of the path>` holds the path. What they
//! name is kept.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::lock::LockFile;
use crate::store::lease::make_directory;
use crate::store::{Needs, Store, StoreError};

/// Longest path remembered, in bytes (Linux `PATH_MAX`).
const MAX_PATH: u64 = 4096;

impl Store {
    /// Remembers the lock file at the absolute `path`, so that what it names is kept. Costs one system
    /// call where it is remembered already.
    ///
    /// # Errors
    /// The system's, such as that the store is on a read-only file system.
    pub fn remember(&self, path: &Path) -> Result<(), StoreError> {
        // What is here for a moment only, and leased as long.
        if self.remembers(path) || path.starts_with(self.path("tmp")) {
            return Ok(());
        }
        // A store of a hermes that remembered none.
        let directory = self.path("seen");
        make_directory(&directory).map_err(StoreError::io("create", &directory))?;
        self.publish(&entry_name(path), plain(path).as_os_str().as_bytes())
    }

    /// Whether the lock file at the absolute `path` is remembered.
    #[must_use]
    pub fn remembers(&self, path: &Path) -> bool {
        rustix::fs::lstat(self.path(&entry_name(path))).is_ok()
    }

    /// What each lock file that is still there names, but those in `forget`. These and those that are gone
    /// are forgotten if `sweep`.
    ///
    /// # Errors
    /// [`StoreError::Seen`], [`StoreError::Lock`]: what it names is then not known. The system's.
    pub(super) fn seen(&self, forget: &[PathBuf], sweep: bool) -> Result<Vec<(PathBuf, Needs)>, StoreError> {
        let mut seen = Vec::new();
        for entry in self.seen_entries()? {
            let path = self.read_entry(&entry).map_err(StoreError::io("read", &entry))?;
            let path = path.ok_or_else(|| StoreError::Seen { path: entry.clone() })?;
            let forgotten = forget.iter().any(|forget| plain(forget) == path);
            if forgotten || !path.try_exists().map_err(|source| StoreError::lock(&path, source))? {
                if sweep {
                    let _ = fs::remove_file(&entry);
                }
                continue;
            }
            let unknown = |source| StoreError::Lock { path: path.clone(), source: Box::new(source) };
            let lock = LockFile::new(path.clone()).read().map_err(unknown)?;
            let mut needs = Needs::default();
            for image in lock.images.values() {
                needs.image(image);
            }
            for emulator in lock.emulators.values() {
                needs.blob(&emulator.blob());
            }
            for source in lock.sources.values() {
                needs.source(source);
            }
            seen.push((path, needs));
        }
        Ok(seen)
    }

    /// The path in a file of `seen/`; `None` where it is not the one the file is named for.
    pub(super) fn read_entry(&self, entry: &Path) -> io::Result<Option<PathBuf>> {
        let bytes = self.inner.trust.read(entry, MAX_PATH)?;
        let path = PathBuf::from(OsStr::from_bytes(&bytes));
        Ok(entry.ends_with(entry_name(&path)).then_some(path))
    }

    /// The files of `seen/`.
    pub(super) fn seen_entries(&self) -> Result<Vec<PathBuf>, StoreError> {
        let directory = self.path("seen");
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            entries => entries.map_err(StoreError::io("read", &directory))?,
        };
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        let mut paths = paths.collect::<io::Result<Vec<_>>>().map_err(StoreError::io("read", &directory))?;
        paths.sort();
        Ok(paths)
    }
}

fn entry_name(path: &Path) -> String {
    format!("seen/{}", Digest::of(plain(path).as_os_str().as_bytes()).hex())
}

/// The same path without `.` and doubled slashes.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}
