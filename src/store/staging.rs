//! The staging area: `tmp/`, from which finished objects are renamed into place, and `trash/`, into which objects are renamed
//! before they are deleted. The names of entries say which process made them (`fs::orphans`).

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::Mode;
use tempfile::{Builder, NamedTempFile};

use crate::digest::Digest;
use crate::fs::measure::{Counted, measure};
use crate::fs::{boot, orphans, remove};
use crate::store::totals::Totals;
use crate::store::{Store, StoreError};

/// Age at which an entry made on another host, whose processes are not visible, counts as orphaned.
const FOREIGN_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// A file with this name is in every layer, merged root and source that is whole; `durability` says what it holds.
pub(super) const DONE: &str = "done";

/// The object that a directory in `tmp/` is to become.
pub(super) enum Tree<'a> {
    /// The unpacked layer of this `diff_id`.
    Layer(&'a Digest),
    /// The merged root of this chain id.
    Root(&'a Digest),
    /// The unpacked source of this key.
    Source(&'a Digest),
}

/// A directory in `tmp/`, removed when dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// Objects that are being removed: each is renamed into one directory, and they are deleted together.
#[derive(Debug)]
pub(super) struct Trash {
    place: TempDir,
    taken: u64,
}

impl Trash {
    /// Moves `path` in. Returns whether there was anything.
    pub(super) fn take(&mut self, path: &Path) -> Result<bool, StoreError> {
        match fs::rename(path, self.place.path().join(self.taken.to_string())) {
            Ok(()) => {
                self.taken += 1;
                Ok(true)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(StoreError::Io { action: "remove", path: path.to_owned(), source }),
        }
    }

    /// Deletes everything.
    pub(super) fn empty(self) -> Result<(), StoreError> {
        remove::path(self.place.path()).map_err(StoreError::io("remove", self.place.path()))
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A later run sweeps what is left. After the publishing rename nothing is there.
        let _ = remove::path(&self.0);
    }
}

impl Store {
    pub(super) fn temp_file(&self) -> Result<NamedTempFile, StoreError> {
        let tmp = self.tmp();
        // The crate's own errors have lost their errno.
        let make = |path: &Path| File::options().read(true).write(true).create_new(true).mode(0o600).open(path);
        Builder::new().prefix(&orphans::prefix()).make_in(&tmp, make).map_err(StoreError::io("create a file in", &tmp))
    }

    /// A directory for what one run writes to its root, on the store's file system.
    pub fn scratch(&self) -> Result<TempDir, StoreError> {
        let scratch = self.temp_dir()?;
        take_group(scratch.path())?;
        Ok(scratch)
    }

    /// Leaves `scratch` to the user, in `tmp/` under a name that begins with `what`. It belongs to no process then, and is
    /// removed when its directory has not changed for a week.
    pub fn leave(&self, scratch: &TempDir, what: &str) -> Result<PathBuf, StoreError> {
        let tmp = self.tmp();
        let place = Builder::new().prefix(&format!("{what}-")).tempdir_in(&tmp);
        let place = place.map_err(StoreError::io("create a directory in", &tmp))?.keep();
        fs::rename(scratch.path(), &place).map_err(StoreError::io("create", &place))?;
        Ok(place)
    }

    pub(super) fn temp_dir(&self) -> Result<TempDir, StoreError> {
        let tmp = self.tmp();
        Ok(TempDir(make_private_directory(&tmp).map_err(StoreError::io("create a directory in", &tmp))?))
    }

    /// Replaces the file `name` of the store, in one step.
    pub(super) fn publish(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(name);
        let file = self.temp_file()?;
        file.as_file().write_all(bytes).map_err(StoreError::io("write", &path))?;
        // Names are not secret: whoever may enter the store may read them.
        let mode = fs::Permissions::from_mode(0o644);
        file.as_file().set_permissions(mode).map_err(StoreError::io("write", &path))?;
        file.as_file().sync_data().map_err(StoreError::io("write", &path))?;
        file.persist(&path).map_err(StoreError::io("create", &path))?;
        Ok(())
    }

    /// Publishes complete directories as the objects they are for. All their files are synced before the `done` files are
    /// written: after a power failure a file system may have the rename but not the content of files written before it. If one
    /// fails, those before it are published.
    pub(super) fn publish_trees<'a>(
        &self,
        trees: impl IntoIterator<Item = (&'a TempDir, Tree<'a>)>,
    ) -> Result<(), StoreError> {
        let root = File::open(self.root()).map_err(StoreError::io("read", self.root()))?;
        rustix::fs::syncfs(root).map_err(StoreError::io("write", self.root()))?;
        trees.into_iter().try_for_each(|(temp, tree)| self.publish_tree(temp.path(), &tree))
    }

    /// If another process has published the same object, this succeeds.
    fn publish_tree(&self, path: &Path, tree: &Tree<'_>) -> Result<(), StoreError> {
        let done = path.join(DONE);
        let mut file = create_new(&done).map_err(StoreError::io("create", &done))?;
        file.write_all(boot::current().as_bytes()).map_err(StoreError::io("write", &done))?;
        let (to, is_whole): (_, &dyn Fn() -> bool) = match tree {
            Tree::Layer(diff_id) => (self.layer(diff_id), &|| self.has_layer(diff_id)),
            Tree::Root(chain_id) => (self.root_of(chain_id), &|| self.has_root(chain_id)),
            Tree::Source(key) => (self.source(key), &|| self.has_source(key)),
        };
        match fs::rename(path, &to) {
            Err(_) if is_whole() => Ok(()),
            // The object there is incomplete, since `done` is written before the rename: the power failed, or it was
            // tampered with.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
                ) =>
            {
                self.discard(&to)?;
                fs::rename(path, &to).map_err(StoreError::io("create", &to))
            }
            other => other.map_err(StoreError::io("create", &to)),
        }
    }

    /// Removes a directory of the store. It is renamed first, so that no process sees a part of it. A missing one is a
    /// success.
    pub(super) fn discard(&self, path: &Path) -> Result<(), StoreError> {
        let mut trash = self.trash()?;
        trash.take(path)?;
        trash.empty()
    }

    /// Makes a directory of this process in `trash/`.
    pub(super) fn trash(&self) -> Result<Trash, StoreError> {
        let trash = self.path("trash");
        let place = make_private_directory(&trash).map_err(StoreError::io("write", &trash))?;
        Ok(Trash { place: TempDir(place), taken: 0 })
    }

    /// Deletes what interrupted removals left.
    pub(super) fn empty_trash(&self) {
        sweep(&self.path("trash"), false);
    }

    /// Removes orphaned entries, or with `dry_run` only counts them.
    pub(super) fn sweep_all(&self, dry_run: bool) -> Totals {
        Totals::sum(&[sweep(&self.path("tmp"), dry_run), sweep(&self.path("trash"), dry_run)])
    }

    fn tmp(&self) -> PathBuf {
        self.sweep_once();
        self.path("tmp")
    }

    /// Removes orphaned entries, the first time in this process.
    pub(super) fn sweep_once(&self) {
        self.inner.swept.call_once(|| {
            sweep(&self.path("tmp"), false);
            self.empty_trash();
            self.sweep_partial();
            self.sweep_leases();
            self.sweep_claims();
        });
    }
}

/// Makes a file beside the tree of an object, private to its owner whatever the umask.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// Makes a private directory of this process in `parent`.
fn make_private_directory(parent: &Path) -> io::Result<PathBuf> {
    let private = fs::Permissions::from_mode(0o700);
    Ok(Builder::new().prefix(&orphans::prefix()).permissions(private).tempdir_in(parent)?.keep())
}

/// Gives a new directory the caller's own group. A store in a set-group-id directory, as projects on
/// clusters have them, would give every file in it a group that a sandbox does not map: overlayfs then
/// fails with EOVERFLOW.
pub(super) fn take_group(directory: &Path) -> Result<(), StoreError> {
    let group = Some(rustix::process::getegid());
    rustix::fs::chown(directory, None, group)
        .and_then(|()| rustix::fs::chmod(directory, Mode::from_raw_mode(0o755)))
        .map_err(StoreError::io("change the group of", directory))
}

/// Removes orphaned entries, or with `dry_run` only counts them. What cannot be removed is left to the next sweep.
fn sweep(directory: &Path, dry_run: bool) -> Totals {
    let mut swept = Totals::default();
    let Ok(entries) = fs::read_dir(directory) else { return swept };
    for entry in entries.flatten().filter(is_stale) {
        swept.add(measure(&entry.path(), &mut Counted::new()));
        if !dry_run {
            let _ = remove::path(&entry.path());
        }
    }
    swept
}

/// Whether the process that made an entry has ended, by its name.
pub(super) fn is_stale(entry: &fs::DirEntry) -> bool {
    if let Some(left) = entry.file_name().to_str().and_then(orphans::is_orphaned) {
        return left;
    }
    let changed = entry.metadata().and_then(|meta| meta.modified());
    changed.is_ok_and(|changed| SystemTime::now().duration_since(changed).is_ok_and(|age| age > FOREIGN_AGE))
}

/// Makes a private directory of the store that stores of older versions lack.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
