//! The store on disk: blobs, unpacked layers, references.
//!
//! ```text
//! VERSION                          which of these pictures the store is
//! oci-layout index.json            with blobs/, a plain OCI image layout
//! blobs/sha256/<hex>               bytes as they came; 0444, programs 0555
//! layers/<diff_id hex>/fs toc done an unpacked layer; see `layer`
//! roots/<chain_id hex>/fs done     layers merged into one tree; see `roots`
//! sources/<key>/fs tree done        an unpacked source; see `sources`
//! refs/<hex of the name>.json      what a name means
//! claims/                          what running processes make for all; see `claim`
//! leases/                          what running processes need; see `lease`
//! seen/<sha256 of the path>        lock files whose images are kept; see `seen`
//! records/                         what runs did; see `record`
//! partial/<hex>                    blobs that came in part; see `partial`
//! overlay-refused                  overlays are refused here; see `verdict`
//! handlers-refused                 the same for a `binfmt_misc` of the sandbox's own
//! tmp/ trash/                      on the way in, on the way out
//! ```
//!
//! Everything is made in `tmp/` and appears by one rename, whole; what a reference needs is there
//! before the reference. A crash leaves only litter in `tmp/`, `trash/` or `leases/`, which later runs
//! clear, and in `partial/` what the next pull goes on from. Who reads takes a lease before, so that
//! nobody who removes things (`gc`, `prune`) takes away what is read. `docs/store.md` says more.

mod blob;
mod bundle;
mod claim;
mod error;
mod export;
mod gc;
mod import;
mod layers;
mod lease;
mod mark;
mod needs;
mod opening;
mod partial;
mod prune;
mod refs;
mod roots;
mod seen;
mod settle;
mod sources;
mod survey;
mod temp;
mod verdict;
mod verify;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

pub(crate) use blob::{BlobWriter, Incoming};
pub(crate) use bundle::Part;
pub(crate) use claim::{Claims, Job, Work};
pub use error::StoreError;
pub(crate) use gc::{Budget, Collected};
pub(crate) use layers::LayerStage;
pub(crate) use lease::Lease;
pub(crate) use mark::Holder;
pub(crate) use needs::Needs;
pub(crate) use prune::Pruned;
pub(crate) use survey::{Tally, Usage};
pub(crate) use temp::TempDir;
pub(crate) use verify::{Treatment, Verified};

use crate::digest::Digest;
use crate::fs::trust::Trust;
use crate::layer::Limits;
use opening::{Opened, Whose};

/// Version of the layout on disk.
const VERSION: u32 = 1;
/// The directories that others may read, once the owner lets them into the store itself.
const READABLE: [&str; 3] = ["blobs", "blobs/sha256", "refs"];
const DIRECTORIES: [&str; 13] = [
    "blobs",
    "blobs/sha256",
    "claims",
    "layers",
    "leases",
    "partial",
    "records",
    "refs",
    "roots",
    "seen",
    "sources",
    "tmp",
    "trash",
];
/// What else may stand in a store that is not yet made: what a crash or another hermes left, and what
/// a fresh disk has.
const FILES: [&str; 7] =
    [verdict::OVERLAY, verdict::HANDLERS, "oci-layout", "index.json", "VERSION", ".index.json.flock", "lost+found"];
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// A store. Cheap to clone; its methods may be called from any thread and any number of processes.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// What a layer may cost that is unpacked here.
    limits: Limits,
    /// How long a claim's owner may show no sign of life.
    patience: Duration,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// In whom what is in the store is trusted.
    trust: Trust,
    swept: Once,
    /// Layers of another boot that were looked at and found whole.
    survived: Mutex<BTreeSet<Digest>>,
}

impl Store {
    /// Opens the store in `root`, which is made, for its owner only, if it does not exist or is empty.
    /// Where it exists this costs reading one small file and looking at the store's directories.
    ///
    /// # Errors
    /// [`StoreError::Distrusted`]: somebody else's store, or one that others can write to. A store of another version; a
    /// directory with other things in it; the system's.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        match Opened::new(root, Whose::Callers)? {
            Some(Opened { trust, version: Some(version), .. }) => Self::of_version(root, trust, &version),
            _ => create(root),
        }
    }

    /// The same, where layers may cost so much.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// What a layer may cost that is unpacked here.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Opens the store in `root` if there is one; makes nothing.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_existing(root: &Path) -> Result<Option<Self>, StoreError> {
        Self::open_finished(root, Whose::Callers)
    }

    /// Opens a store that somebody else may have made and that is only read. Its owner is believed as to what a name
    /// means; everything with a digest has to be verified.
    ///
    /// # Errors
    /// As [`Self::open`], but any user may own it.
    pub fn open_site(root: &Path) -> Result<Option<Self>, StoreError> {
        Self::open_finished(root, Whose::Anybodys)
    }

    fn open_finished(root: &Path, whose: Whose) -> Result<Option<Self>, StoreError> {
        match Opened::new(root, whose)? {
            Some(Opened { trust, version: Some(version), .. }) => Self::of_version(root, trust, &version).map(Some),
            // An unfinished one, without VERSION, has nothing that could be relied on.
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
        Self { inner: Arc::new(inner), limits: Limits::default(), patience: claim::PATIENCE }
    }

    /// Where the store is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.inner.root.join(name)
    }
}

/// Makes what is missing of a store, `VERSION` last. Two at once do the same, and a crash in the
/// middle is made good by the next.
fn create(root: &Path) -> Result<Store, StoreError> {
    let make = |path: &Path| match DirBuilder::new().recursive(path == root).mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(StoreError::io("create", path)),
    };
    make(root)?;
    for entry in fs::read_dir(root).map_err(StoreError::io("read", root))? {
        let name = entry.map_err(StoreError::io("read", root))?.file_name();
        let ours = DIRECTORIES.iter().chain(&FILES).any(|ours| name == OsStr::new(ours));
        if !ours {
            let found = name.to_string_lossy().escape_default().to_string();
            return Err(StoreError::NotAStore { path: root.to_owned(), found });
        }
    }
    opening::make_private(root)?;
    // Before, others may have been able to put something in.
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
    store.publish("oci-layout", LAYOUT)?;
    store.write_index()?;
    store.publish("VERSION", format!("{VERSION}\n").as_bytes())?;
    Ok(store)
}

#[cfg(test)]
mod tests;
