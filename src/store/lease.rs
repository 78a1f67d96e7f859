//! Leases: what running processes need, so that nobody takes it away.
//!
//! A lease is a file in `leases/` that names digests, and on which its owner holds a `flock` for as
//! long as it lives. It is written under a shared lock of the *gate* (`leases/.flock`), which who removes
//! things holds exclusively: so whatever was there when a lease is written stays there.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW};
use rustix::io::FdFlags;
use tempfile::{Builder, NamedTempFile};

use crate::fs::orphans;
use crate::lock;
use crate::progress::Reporter;
use crate::store::staging::{is_stale, make_directory};
use crate::store::{Closure, Store, StoreError};

/// The lock of `leases/`.
const GATE: &str = ".flock";
/// Longest lease read, in bytes: some ten thousand digests.
const MAX_LEASE: u64 = 1 << 20;
/// How exactly the last use of a layer is known.
const USE_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// What this process needs stays in the store until this is dropped.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    /// Nothing was asked for yet, or the store cannot be written at all.
    Nothing,
    /// What the file says.
    Some(NamedTempFile),
    /// Everything: the gate is kept locked, and so nobody can remove anything.
    All(File),
}

impl Store {
    /// A lease on nothing yet. Costs nothing.
    #[must_use]
    pub fn lease(&self) -> Lease {
        Lease { store: self.clone(), kept: Kept::Nothing }
    }

    /// A lease on everything there is and will be, for work of which nobody knows beforehand what it
    /// needs. Who wants to remove something waits for its end.
    #[must_use]
    pub fn lease_all(&self) -> Lease {
        Lease { store: self.clone(), kept: self.share_gate().map_or(Kept::Nothing, Kept::All) }
    }

    /// Locks the gate as one of many; `None` where there is none and none can be made, as in a store on
    /// a read-only file system.
    fn share_gate(&self) -> Option<File> {
        let gate = self.open_gate().or_else(|_| self.inner.trust.open(&self.path("leases").join(GATE))).ok()?;
        // Where there are no locks nobody collects; `rm` tells by the file's name whether we live.
        let _ = gate.lock_shared();
        Some(gate)
    }

    /// Locks the gate for the only one who may remove things; `None` where the file system has no locks.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn close_gate(&self, reporter: &dyn Reporter) -> Result<Option<File>, StoreError> {
        let path = self.path("leases").join(GATE);
        let gate = self.open_gate().map_err(StoreError::io("create", &path))?;
        match gate.try_lock() {
            Ok(()) => Ok(Some(gate)),
            Err(TryLockError::WouldBlock) => {
                reporter.warn("waiting for another hermes that is using the store");
                gate.lock().map_err(StoreError::io("lock", &path))?;
                Ok(Some(gate))
            }
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }

    /// The same for who can do without: `None` also while anybody else has the gate.
    pub(super) fn try_close_gate(&self) -> Option<File> {
        let gate = self.open_gate().ok()?;
        gate.try_lock().ok().map(|()| gate)
    }

    fn open_gate(&self) -> io::Result<File> {
        let directory = self.path("leases");
        let open = || self.open_written(&directory.join(GATE));
        match open() {
            // A store of a hermes that had no leases.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_directory(&directory)?;
                open()
            }
            gate => gate,
        }
    }

    /// What the living need, each with the name of its lease. Those of the dead are removed if `sweep`,
    /// for which the gate must be closed.
    ///
    /// # Errors
    /// [`StoreError::Lease`]; the system's.
    pub(super) fn leases(&self, sweep: bool) -> Result<Vec<(String, Closure)>, StoreError> {
        let directory = self.path("leases");
        let mut leases = Vec::new();
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(leases),
            entries => entries.map_err(StoreError::io("read", &directory))?,
        };
        for entry in entries {
            let entry = entry.map_err(StoreError::io("read", &directory))?;
            let (name, path) = (entry.file_name(), entry.path());
            if name == OsStr::new(GATE) {
                continue;
            }
            let file = match self.inner.trust.open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file.map_err(StoreError::io("read", &path))?,
            };
            let dead = match file.try_lock_shared() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock) => false,
                Err(TryLockError::Error(_)) => is_stale(&entry),
            };
            if dead {
                if sweep {
                    let _ = fs::remove_file(&path);
                }
                continue;
            }
            let mut text = String::new();
            let read = file.take(MAX_LEASE).read_to_string(&mut text);
            let needs = read.ok().and_then(|_| Closure::from_lines(&text));
            let needs = needs.ok_or_else(|| StoreError::Lease { path: path.clone() })?;
            leases.push((name.to_string_lossy().into_owned(), needs));
        }
        Ok(leases)
    }

    /// Removes the leases of the dead, if nobody is taking one right now.
    pub(super) fn sweep_leases(&self) {
        if self.path("leases").exists()
            && let Some(_gate) = self.try_close_gate()
        {
            let _ = self.leases(true);
        }
    }

    /// Says of the layers and sources in `needs` that they are used today.
    fn touch(&self, needs: &Closure) {
        let layers = needs.layers.keys().map(|diff_id| self.layer(diff_id));
        for path in layers.chain(needs.sources.keys().map(|key| self.source(key))) {
            let Ok(stat) = rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
            if SystemTime::now().duration_since(used).is_ok_and(|age| age >= USE_INTERVAL) {
                let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
                let times = Timestamps { last_access: now, last_modification: now };
                let _ = rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW);
            }
        }
    }
}

impl Lease {
    /// Adds `needs`. Only what is seen in the store after that is sure to stay.
    ///
    /// Never fails: where the lease cannot be written, on a full disk, everything is kept instead; and
    /// where the store cannot be written at all, others cannot remove anything from it by this way either.
    pub fn add(&mut self, needs: &Closure) {
        self.store.touch(needs);
        let Some(gate) = self.gate() else { return };
        self.write(gate, needs);
    }

    /// Copies a program into the store, for this lease: [`Store::add_program`].
    ///
    /// # Errors
    /// The system's.
    pub fn add_program(&mut self, from: &File, path: &Path) -> Result<lock::Emulator, StoreError> {
        // What it will be called is not known before it is there: so nobody may remove it until then.
        let gate = self.gate();
        let emulator = self.store.add_program(from, path)?;
        if let Some(gate) = gate {
            let mut needs = Closure::default();
            needs.blob(&emulator.blob());
            self.write(gate, &needs);
        }
        Ok(emulator)
    }

    /// Makes it outlive this program, once another takes its place in this process (`execve(2)`): it
    /// then ends with the process. Its file is swept by a later one.
    ///
    /// # Errors
    /// The system's.
    pub fn survive_exec(&self) -> io::Result<()> {
        match &self.kept {
            Kept::Nothing => Ok(()),
            Kept::Some(file) => Ok(rustix::io::fcntl_setfd(file, FdFlags::empty())?),
            Kept::All(gate) => Ok(rustix::io::fcntl_setfd(gate, FdFlags::empty())?),
        }
    }

    /// The gate, shared; `None` where no more is needed or nothing can be done.
    fn gate(&self) -> Option<File> {
        if matches!(self.kept, Kept::All(_)) { None } else { self.store.share_gate() }
    }

    fn write(&mut self, gate: File, needs: &Closure) {
        let text = needs.to_lines();
        let written = match &mut self.kept {
            Kept::All(_) => return,
            Kept::Some(file) => file.write_all(text.as_bytes()),
            Kept::Nothing => self.store.new_lease(&text).map(|file| self.kept = Kept::Some(file)),
        };
        if written.is_err() {
            self.kept = Kept::All(gate);
        }
    }
}

impl Store {
    fn new_lease(&self, text: &str) -> io::Result<NamedTempFile> {
        let mut file = Builder::new().prefix(&orphans::prefix()).tempfile_in(self.path("leases"))?;
        let _ = file.as_file().lock();
        file.write_all(text.as_bytes())?;
        Ok(file)
    }
}
