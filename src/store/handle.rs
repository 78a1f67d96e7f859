//! The handle to a store: opening one, and making one.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};

use crate::digest::Digest;
use crate::fs::regular::{self, Type};
use crate::fs::trust::Trust;
use crate::layer::Limits;
use crate::store::StoreError;
use crate::store::layout::{DIRECTORIES, FILES, FOREIGN, OCI_LAYOUT, READABLE, RECORDS, VERSION};
use crate::store::opening::{self, Opened, Whose};

/// How long the owner of a claim may be silent before others go on without it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store. Cheap to clone; its methods may be called from any thread and any number of processes.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) inner: Arc<Inner>,
    /// Limits for layers that are unpacked.
    pub(super) limits: Limits,
    /// How long the owner of a claim may be silent.
    pub(super) patience: Duration,
}

#[derive(Debug)]
pub(super) struct Inner {
    root: PathBuf,
    /// Whose files are trusted.
    pub(super) trust: Trust,
    pub(super) swept: Once,
    /// Layers of another boot that were checked and found whole.
    pub(super) survived: Mutex<BTreeSet<Digest>>,
}

impl Store {
    /// Opens the store in `root`, which is made, for its owner only, if it does not exist or is empty.
    /// Where it exists this costs reading one small file and looking at the store's directories.
    ///
    /// # Errors
    /// [`StoreError::Distrusted`] for a store of another user, or one that others can write to; a store of another version; a
    /// directory with other files.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        match Opened::new(root, Whose::Callers)? {
            Some(Opened { trust, version: Some(version), .. }) => Self::of_version(root, trust, &version),
            _ => create(root),
        }
    }

    /// The store with other limits for layers that are unpacked.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Directory of the records of runs.
    #[must_use]
    pub fn records(&self) -> PathBuf {
        self.inner.root.join(RECORDS)
    }

    /// Limits for layers that are unpacked.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Opens the store in `root` if there is one; makes nothing.
    pub fn open_existing(root: &Path) -> Result<Option<Self>, StoreError> {
        Self::open_finished(root, Whose::Callers)
    }

    /// Opens a store that another user may have made and that is only read. Its owner decides what a name means; everything
    /// with a digest has to be verified.
    ///
    /// # Errors
    /// As [`Self::open`], but any user may own it.
    pub fn open_site(root: &Path) -> Result<Option<Self>, StoreError> {
        Self::open_finished(root, Whose::Anybodys)
    }

    fn open_finished(root: &Path, whose: Whose) -> Result<Option<Self>, StoreError> {
        match Opened::new(root, whose)? {
            Some(Opened { trust, version: Some(version), .. }) => Self::of_version(root, trust, &version).map(Some),
            // A store without VERSION is unfinished.
            _ => Ok(None),
        }
    }

    fn of_version(root: &Path, trust: Trust, found: &str) -> Result<Self, StoreError> {
        if found == format!("{VERSION}\n") {
            return Ok(Self::at(root, trust));
        }
        let path = root.join("VERSION");
        Err(StoreError::Version { path, found: found.trim_end_matches('\n').escape_default().to_string() })
    }

    fn at(root: &Path, trust: Trust) -> Self {
        let root = root.to_owned();
        let inner = Inner { root, trust, swept: Once::new(), survived: Mutex::default() };
        Self { inner: Arc::new(inner), limits: Limits::default(), patience: PATIENCE }
    }

    /// Opens a file of the store that is written in place or locked, and makes it if need be. Read and written, because an
    /// NFS client turns flock into a byte-range lock, which needs both.
    pub(super) fn open_written(&self, path: &Path) -> io::Result<File> {
        let file = regular::open_with(CWD, path, OFlags::RDWR | OFlags::CREATE, Mode::RUSR | Mode::WUSR)?;
        self.inner.trust.check_written(&file)?;
        Ok(file)
    }

    /// Looks at the directories above the store. Whoever can rename in one of them can put another store in place of this
    /// one; it is refused when it is next opened, since it belongs to them, but the images are gone.
    ///
    /// # Errors
    /// [`StoreError::Surroundings`] for the nearest directory in which other users can rename the store.
    pub fn check_surroundings(&self) -> Result<(), StoreError> {
        let root = self.root().canonicalize().map_err(StoreError::io("find", self.root()))?;
        for directory in root.ancestors().skip(1) {
            let stat = rustix::fs::stat(directory).map_err(StoreError::io("read", directory))?;
            let trust = Trust::in_caller();
            // In a sticky directory only the owner of a file can rename it.
            let is_sticky = Mode::from_raw_mode(stat.st_mode).contains(Mode::SVTX);
            let judged = if is_sticky { trust.check_owner(&stat) } else { trust.check(&stat, Type::Directory) };
            judged.map_err(|source| StoreError::Surroundings { path: directory.to_owned(), source })?;
        }
        Ok(())
    }

    /// Where the store is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.inner.root.join(name)
    }
}

/// Makes what a store lacks, `VERSION` last. Two processes at once do the same, and the next one completes what a crash left.
fn create(root: &Path) -> Result<Store, StoreError> {
    let make = |path: &Path| match DirBuilder::new().recursive(path == root).mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(StoreError::io("create", path)),
    };
    make(root)?;
    for entry in fs::read_dir(root).map_err(StoreError::io("read", root))? {
        let name = entry.map_err(StoreError::io("read", root))?.file_name();
        let ours = DIRECTORIES.iter().chain(&FILES).chain(&[FOREIGN]).any(|ours| name == OsStr::new(ours));
        if !ours {
            let found = name.to_string_lossy().escape_default().to_string();
            return Err(StoreError::NotAStore { path: root.to_owned(), found });
        }
    }
    opening::make_private(root)?;
    // Others may have been able to write to the directory before.
    let opened = Opened::new(root, Whose::Callers)?;
    let opened = opened.ok_or_else(|| StoreError::io("open", root)(io::Error::from(io::ErrorKind::NotFound)))?;
    if let Some(source) = opened.is_open {
        return Err(StoreError::Distrusted { path: root.to_owned(), source });
    }
    opened.check_directories(root)?;
    let trust = opened.trust;
    for name in DIRECTORIES {
        make(&root.join(name))?;
    }
    for name in READABLE {
        let path = root.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(StoreError::io("create", &path))?;
    }
    let store = Store::at(root, trust);
    store.publish("oci-layout", OCI_LAYOUT)?;
    store.write_index()?;
    store.publish("VERSION", format!("{VERSION}\n").as_bytes())?;
    Ok(store)
}
