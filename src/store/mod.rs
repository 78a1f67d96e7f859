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
mod error;
mod export;
mod gc;
mod import;
mod layers;
mod lease;
mod mark;
mod needs;
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

use rustix::fs::{Mode, OFlags};

pub use blob::{BlobWriter, Incoming};
pub use bundle::{Part, StagedBundle};
pub use error::StoreError;
pub use gc::{Budget, Collected};
pub use layers::LayerStage;
pub use lease::Lease;
pub use mark::Holder;
pub use needs::Needs;
pub use prune::Pruned;
pub use sources::SourceStage;
pub use survey::{ImageUsage, Tally, Usage};
pub use temp::TempDir;
pub use verify::{Damage, Treatment, Verified};

use crate::digest::Digest;
use crate::layer::Limits;

/// Version of the layout on disk.
const VERSION: u32 = 1;
/// The directories that others may read, once the owner lets them into the store itself.
const READABLE: [&str; 3] = ["blobs", "blobs/sha256", "refs"];
const DIRECTORIES: [&str; 12] = [
    "blobs",
    "blobs/sha256",
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
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    swept: Once,
    /// Layers of another boot that were looked at and found whole.
    survived: Mutex<BTreeSet<Digest>>,
}

impl Store {
    /// Opens the store in `root`, which is made, for its owner only, if it does not exist or is empty.
    /// Where it exists this costs reading one small file.
    ///
    /// # Errors
    /// A store of another version; a directory with other things in it; the system's.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let path = root.join("VERSION");
        let found = match read_version(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(root)?,
            Err(source) => return Err(StoreError::Io { action: "read", path, source }),
        };
        if found != format!("{VERSION}\n") {
            return Err(StoreError::Version { path, found: found.trim_end_matches('\n').escape_default().to_string() });
        }
        Ok(Self::at(root))
    }

    fn at(root: &Path) -> Self {
        let root = root.to_owned();
        let inner = Inner { root, swept: Once::new(), survived: Mutex::default() };
        Self { inner: Arc::new(inner), limits: Limits::default() }
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
        match read_version(&root.join("VERSION")) {
            // An unfinished one, without VERSION, has nothing that could be relied on.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => Self::open(root).map(Some),
        }
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

fn read_version(path: &Path) -> io::Result<String> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = [0; 32];
    let length = rustix::io::read(&file, &mut text)?;
    Ok(String::from_utf8_lossy(&text[..length]).into_owned())
}

/// Makes what is missing of a store, `VERSION` last. Two at once do the same, and a crash in the
/// middle is made good by the next.
fn create(root: &Path) -> Result<String, StoreError> {
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
    // What a setuid program of an image must not become is a program that others can reach (CVE-2021-41091).
    fs::set_permissions(root, fs::Permissions::from_mode(0o700)).map_err(StoreError::io("make private", root))?;
    for name in DIRECTORIES {
        make(&root.join(name))?;
    }
    for name in READABLE {
        let path = root.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(StoreError::io("create", &path))?;
    }
    let store = Store::at(root);
    store.publish("oci-layout", LAYOUT)?;
    store.write_index()?;
    let version = format!("{VERSION}\n");
    store.publish("VERSION", version.as_bytes())?;
    Ok(version)
}

#[cfg(test)]
mod tests;
