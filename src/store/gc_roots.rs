//! Lock files that were used with this store: `gcroots/<sha256 of the path>` holds the path. What they name is kept.
//!
//! Stores that were made before this directory had its name have `seen/` instead.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::lock::{LockFile, Made};
use crate::store::layout::{GC_ROOTS, OLD_GC_ROOTS};
use crate::store::staging::make_directory;
use crate::store::{Closure, Store, StoreError};

/// Longest path remembered, in bytes (Linux `PATH_MAX`).
const MAX_PATH: u64 = 4096;

impl Store {
    /// Keeps what the lock file at the absolute `path` names, from now on. Costs one system call where it is kept already.
    pub fn add_gc_root(&self, path: &Path) -> Result<(), StoreError> {
        // A lock file in `tmp/` exists for a moment only, and what it names is leased as long.
        if self.is_gc_root(path) || path.starts_with(self.path("tmp")) {
            return Ok(());
        }
        // Where an older hermes made the store, one still finds what the other wrote.
        let name = if self.path(OLD_GC_ROOTS).is_dir() { OLD_GC_ROOTS } else { GC_ROOTS };
        // The oldest stores have neither directory.
        let directory = self.path(name);
        make_directory(&directory).map_err(StoreError::io("create", &directory))?;
        self.publish(&format!("{name}/{}", entry_name(path)), plain(path).as_os_str().as_bytes())
    }

    /// Whether what the lock file at the absolute `path` names is kept.
    #[must_use]
    pub fn is_gc_root(&self, path: &Path) -> bool {
        let name = entry_name(path);
        [GC_ROOTS, OLD_GC_ROOTS].iter().any(|parent| rustix::fs::lstat(self.path(parent).join(&name)).is_ok())
    }

    /// What each lock file needs, without those in `forget` and those that no longer exist, which `sweep` removes from the
    /// roots.
    ///
    /// # Errors
    /// [`StoreError::GcRoot`], [`StoreError::Lock`]: what the lock file needs is unknown.
    pub(super) fn gc_roots(&self, forget: &[PathBuf], sweep: bool) -> Result<Vec<(PathBuf, Closure)>, StoreError> {
        let mut seen = Vec::new();
        for entry in self.gc_root_files()? {
            let path = self.read_gc_root(&entry).map_err(StoreError::io("read", &entry))?;
            let path = path.ok_or_else(|| StoreError::GcRoot { path: entry.clone() })?;
            let forgotten = forget.iter().any(|forget| plain(forget) == path);
            if forgotten || !path.try_exists().map_err(|source| StoreError::lock(&path, source))? {
                if sweep {
                    let _ = fs::remove_file(&entry);
                }
                continue;
            }
            let unknown = |source| StoreError::Lock { path: path.clone(), source: Box::new(source) };
            let lock = LockFile::new(path.clone()).read().map_err(unknown)?;
            let mut needs = Closure::default();
            for image in lock.images.values() {
                needs.image(image);
            }
            for emulator in lock.emulators.values() {
                needs.blob(&emulator.blob());
            }
            for (_, source) in lock.all_sources() {
                needs.source(source);
            }
            for set in lock.deb_sets() {
                let archives = lock.archives_named(set.archives).unwrap_or_default();
                let is_made = match set.made {
                    Some(Made::Image(image)) => self.has_image(image),
                    Some(Made::Program(emulator)) => self.has_blob(&emulator.blob()),
                    None => false,
                };
                if is_made {
                    needs.archives(&archives);
                } else {
                    needs.packages(set.debs, &archives);
                }
            }
            seen.push((path, needs));
        }
        Ok(seen)
    }

    /// The path of a lock file in `entry`; `None` where it is not the one that `entry` is named for.
    pub(super) fn read_gc_root(&self, entry: &Path) -> io::Result<Option<PathBuf>> {
        let bytes = self.inner.trust.read(entry, MAX_PATH)?;
        let path = PathBuf::from(OsStr::from_bytes(&bytes));
        Ok((entry.file_name() == Some(OsStr::new(&entry_name(&path)))).then_some(path))
    }

    /// The files that hold the paths of lock files, sorted.
    pub(super) fn gc_root_files(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut paths = Vec::new();
        for directory in [GC_ROOTS, OLD_GC_ROOTS].map(|name| self.path(name)) {
            let entries = match fs::read_dir(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(StoreError::io("read", &directory))?,
            };
            for entry in entries {
                paths.push(entry.map_err(StoreError::io("read", &directory))?.path());
            }
        }
        paths.sort();
        Ok(paths)
    }
}

fn entry_name(path: &Path) -> String {
    Digest::of(plain(path).as_os_str().as_bytes()).hex()
}

/// The same path without `.` and doubled slashes.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

#[cfg(test)]
mod tests {
    use crate::store::layout::DIRECTORIES;
    use crate::store::tests::{names, temp_store};

    use super::*;

    /// The paths of all lock files whose images are kept.
    fn kept(store: &Store) -> Vec<PathBuf> {
        store.gc_roots(&[], false).unwrap().into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn a_store_of_an_older_hermes_is_read_and_extended() {
        let (temp, store) = temp_store();
        let [first, second] = ["first.lock", "second.lock"].map(|name| temp.path().join(name));
        for path in [&first, &second] {
            fs::write(path, "version = 1\n").unwrap();
        }
        assert!(DIRECTORIES.contains(&GC_ROOTS));
        store.add_gc_root(&first).unwrap();
        assert_eq!(names(store.path(GC_ROOTS)), [entry_name(&first)]);
        assert!(store.is_gc_root(&first) && !store.is_gc_root(&second));
        // As an older hermes has it: the same files by another name.
        fs::rename(store.path(GC_ROOTS), store.path(OLD_GC_ROOTS)).unwrap();
        let store = Store::open(store.root()).unwrap();
        assert!(store.is_gc_root(&first));
        assert_eq!(kept(&store), std::slice::from_ref(&first));
        store.add_gc_root(&first).unwrap();
        store.add_gc_root(&second).unwrap();
        assert!(!store.path(GC_ROOTS).exists(), "the older hermes would not find them there");
        assert_eq!(names(store.path(OLD_GC_ROOTS)).len(), 2);
        // Both directories, as where an older hermes used a new store.
        fs::create_dir(store.path(GC_ROOTS)).unwrap();
        let file = format!("{OLD_GC_ROOTS}/{}", entry_name(&second));
        fs::rename(store.path(&file), store.path(GC_ROOTS).join(entry_name(&second))).unwrap();
        let mut both = kept(&store);
        both.sort();
        assert_eq!(both, [first.clone(), second]);
        // What is to be forgotten is removed wherever it is.
        store.gc_roots(std::slice::from_ref(&first), true).unwrap();
        assert!(!store.is_gc_root(&first));
        assert_eq!(names(store.path(OLD_GC_ROOTS)), [""; 0]);
    }
}
