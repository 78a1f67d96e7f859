//! Partial blobs: `partial/<hex>` holds the beginning of a blob whose download broke off. Nothing there is verified; whoever
//! resumes hashes it from its start.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, Mode, OFlags};

use crate::digest::Digest;
use crate::fs::beneath::Links;
use crate::fs::measure::{Counted, measure};
use crate::fs::regular;
use crate::fs::trust::Distrust;
use crate::store::staging::make_directory;
use crate::store::totals::Totals;
use crate::store::{Store, StoreError};

/// Age at which a partial blob is given up.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often a file may vanish between being opened and being locked.
const RACES: usize = 10;

/// A file in `partial/` that no other process may touch while this one has it.
pub(super) struct Partial {
    file: File,
    path: PathBuf,
}

impl Partial {
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Publishes the file, which was verified, as the blob `to`.
    pub(super) fn publish(self, to: &Path) -> Result<(), StoreError> {
        fs::rename(&self.path, to).map_err(StoreError::io("create", to))
    }

    /// Fills `buffer` from `offset`; there must be something.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self.file.read_at(buffer, offset)? {
            0 if !buffer.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            length => Ok(length),
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // An empty one would only be litter. Published, it has bytes.
        if self.file.metadata().is_ok_and(|meta| meta.len() == 0) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Store {
    /// Whether something is kept of a blob.
    #[must_use]
    pub fn has_partial(&self, digest: &Digest) -> bool {
        self.partial_size(digest) > 0
    }

    /// How many bytes are kept of a blob, unverified.
    #[must_use]
    pub fn partial_size(&self, digest: &Digest) -> u64 {
        fs::symlink_metadata(self.partial(digest)).map_or(0, |meta| meta.len())
    }

    /// Forgets what is kept of a blob, since it is not what it should be. One that another process
    /// writes stays.
    pub fn drop_partial(&self, digest: &Digest) {
        let path = self.partial(digest);
        let writable = regular::open_with(CWD, &path, OFlags::RDWR, Mode::empty());
        if let Ok(file) = writable.or_else(|_| regular::open(CWD, &path, Links::Refuse))
            && is_free(&file)
            && is_at(&file, &path)
        {
            let _ = fs::remove_file(&path);
        }
    }

    /// Removes those that are too old, and those of blobs that are there; those in use stay.
    pub(super) fn sweep_partial(&self) {
        for (digest, path) in self.partials() {
            let changed = fs::symlink_metadata(&path).and_then(|meta| meta.modified());
            let old =
                changed.is_ok_and(|changed| SystemTime::now().duration_since(changed).is_ok_and(|age| age > MAX_AGE));
            if old || fs::symlink_metadata(self.blob_path(&digest)).is_ok() {
                self.drop_partial(&digest);
            }
        }
    }

    /// Removes all that no process writes to; with `dry_run` only counts them.
    pub(super) fn collect_partial(&self, dry_run: bool) -> Totals {
        let mut collected = Totals::default();
        for (digest, path) in self.partials() {
            let room = measure(&path, &mut Counted::new());
            if !dry_run {
                self.drop_partial(&digest);
            }
            let goes = if dry_run {
                regular::open(CWD, &path, Links::Refuse).is_ok_and(|file| is_free(&file))
            } else {
                fs::symlink_metadata(&path).is_err()
            };
            if goes {
                collected.add(room);
            }
        }
        collected
    }

    /// The files in `partial/`, by their blobs.
    fn partials(&self) -> impl Iterator<Item = (Digest, PathBuf)> {
        let entries = fs::read_dir(self.path("partial")).into_iter().flatten().flatten();
        entries.filter_map(|entry| Some((Digest::from_hex(entry.file_name().to_str()?).ok()?, entry.path())))
    }

    fn partial(&self, digest: &Digest) -> PathBuf {
        self.path("partial").join(digest.hex())
    }

    /// The file for a blob, made if need be and locked. `None` where another has it, or where there
    /// are no locks: who cannot be sure to be alone does not write there.
    pub(super) fn lock_partial(&self, digest: &Digest) -> Result<Option<Partial>, StoreError> {
        let path = self.partial(digest);
        // Stores made before there were partial blobs lack the directory.
        let directory = self.path("partial");
        make_directory(&directory).map_err(StoreError::io("create", &directory))?;
        for _ in 0..RACES {
            let file = match self.open_written(&path) {
                Err(error) if Distrust::of(&error).is_some() => return Err(StoreError::io("write", &path)(error)),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && unseal(&path) => continue,
                file => file.map_err(StoreError::io("create", &path))?,
            };
            if file.try_lock().is_err() {
                return Ok(None);
            }
            // Who had it before may have published or removed it after it was opened here: then this
            // is a blob that must not be written to, or nothing at all.
            if is_at(&file, &path) {
                return Ok(Some(Partial { file, path }));
            }
        }
        Ok(None)
    }
}

/// Whether no process writes to `file`, as far as locks show. If so, `file` holds the lock.
fn is_free(file: &File) -> bool {
    !matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// Makes a file writable that was made read-only to become the blob, by a writer who was killed before it did.
/// `false` where that is not why `path` cannot be written.
fn unseal(path: &Path) -> bool {
    match regular::open(CWD, path, Links::Refuse) {
        Ok(file) => {
            if is_free(&file) && is_at(&file, path) {
                let _ = file.set_permissions(Permissions::from_mode(0o600));
            }
            true
        }
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Whether `path` still leads to `file`.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    file.metadata().is_ok_and(|ours| fs::symlink_metadata(path).is_ok_and(|there| same(&ours, &there)))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::oci::Descriptor;
    use crate::store::tests::{assert_clean, names, temp_store};

    #[test]
    fn what_one_left_the_next_goes_on_with() {
        let (_temp, store) = temp_store();
        let blob = Descriptor::new("x", Digest::of(b"first, then second"), 18);
        let mut writer = store.resume_blob(&blob).unwrap();
        writer.write_all(b"first, ").unwrap();
        // Another has to be without.
        let mut other = store.resume_blob(&blob).unwrap();
        assert_eq!((writer.kept(), other.kept()), (0, 0));
        other.write_all(b"first, then second").unwrap();
        store.drop_partial(&blob.digest);
        drop(writer);

        let mut writer = store.resume_blob(&blob).unwrap();
        assert_eq!(writer.kept(), 7, "what is being written cannot be dropped by others");
        let mut kept = [0; 5];
        assert_eq!((writer.replay(&mut kept).unwrap(), &kept), (5, b"first"));
        assert_eq!((writer.replay(&mut kept).unwrap(), &kept[..2]), (2, &b", "[..]));
        assert_eq!(writer.replay(&mut kept).unwrap(), 0);
        writer.write_all(b"then second").unwrap();
        writer.commit().unwrap();
        assert_eq!(store.read_blob(&blob, 100).unwrap(), b"first, then second");
        // Both may publish it.
        other.commit().unwrap();
        assert_eq!(store.read_blob(&blob, 100).unwrap(), b"first, then second");
        assert_eq!(names(store.path("partial")), [""; 0]);
        assert_clean(&store);
    }

    #[test]
    fn nothing_is_kept_of_nothing() {
        let (_temp, store) = temp_store();
        for bytes in [&b""[..], b"some"] {
            let blob = Descriptor::new("x", Digest::of(bytes), bytes.len() as u64);
            drop(store.resume_blob(&blob).unwrap());
            assert_eq!(names(store.path("partial")), [""; 0]);
        }
        // A store of a hermes that had no such directory.
        fs::remove_dir(store.path("partial")).unwrap();
        let blob = Descriptor::new("x", Digest::of(b"some"), 4);
        let mut writer = store.resume_blob(&blob).unwrap();
        writer.write_all(b"some").unwrap();
        writer.commit().unwrap();
        assert!(store.has_blob(&blob));
    }

    #[test]
    fn what_was_about_to_be_a_blob_is_gone_on_with() {
        let (_temp, store) = temp_store();
        let blob = Descriptor::new("x", Digest::of(b"whole"), 5);
        let path = store.partial(&blob.digest);
        fs::write(&path, "whole").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
        // Somebody is at it, or was.
        let lock = File::open(&path).unwrap();
        lock.lock().unwrap();
        assert_eq!(store.resume_blob(&blob).unwrap().kept(), 0);
        drop(lock);
        assert_eq!(store.resume_blob(&blob).unwrap().kept(), 5);
        fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
        store.drop_partial(&blob.digest);
        assert_eq!(names(store.path("partial")), [""; 0]);
    }

    #[test]
    fn what_nobody_comes_back_for_goes() {
        let (temp, store) = temp_store();
        let there = store.add_blob(b"there", "x").unwrap().digest;
        let [old, new, used] = [b"a", b"b", b"c"].map(|bytes| Digest::of(bytes));
        for digest in [there, old, new, used] {
            fs::write(store.partial(&digest), "part").unwrap();
        }
        for digest in [old, used] {
            let file = File::options().write(true).open(store.partial(&digest)).unwrap();
            file.set_modified(SystemTime::now() - MAX_AGE - Duration::from_secs(1)).unwrap();
        }
        let lock = File::open(store.partial(&used)).unwrap();
        lock.lock().unwrap();
        let again = Store::open(&temp.path().join("store")).unwrap();
        drop(again.temp_file().unwrap());
        let mut left = [new.hex(), used.hex()];
        left.sort();
        assert_eq!(names(store.path("partial")), left);
    }
}
