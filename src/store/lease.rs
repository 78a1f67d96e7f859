//! Leases: the objects that running processes need, and that nobody may remove.
//!
//! A lease is a file in `leases/` that names objects, and on which its owner holds a `flock` for as long as it lives. It is
//! written under a shared lock of the *gate* (`leases/.flock`). Whoever removes objects holds the gate exclusively, so that
//! what is in the store when a lease is written stays there.

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
use crate::store::objects::ObjectKind;
use crate::store::staging::{is_stale, make_directory};
use crate::store::{Closure, Store, StoreError};

/// The lock of `leases/`.
const GATE: &str = ".flock";
/// Longest lease read, in bytes: some ten thousand digests.
const MAX_LEASE: u64 = 1 << 20;
/// Precision of the time of last use of a layer.
const USE_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// A lease of this process. It ends when dropped.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    /// Nothing is leased yet, or the store cannot be written.
    Nothing,
    /// The objects in the file.
    Some(NamedTempFile),
    /// Everything: the gate stays locked, so that no process can remove anything.
    All(File),
}

impl Store {
    /// An empty lease. Makes no file.
    #[must_use]
    pub fn lease(&self) -> Lease {
        Lease { store: self.clone(), kept: Kept::Nothing }
    }

    /// A lease on all present and future objects, for work that does not know beforehand what it needs. Processes that remove
    /// objects wait for its end.
    #[must_use]
    pub fn lease_all(&self) -> Lease {
        Lease { store: self.clone(), kept: self.share_gate().map_or(Kept::Nothing, Kept::All) }
    }

    /// Takes a shared lock of the gate; `None` where there is no gate and none can be made, as on a read-only file system.
    fn share_gate(&self) -> Option<File> {
        let gate = self.open_gate().or_else(|_| self.inner.trust.open(&self.path("leases").join(GATE))).ok()?;
        // Where there are no locks, `gc` refuses to run, and `rm` goes by the name of the lease.
        let _ = gate.lock_shared();
        Some(gate)
    }

    /// Takes the exclusive lock of the gate, under which objects may be removed; `None` where the file system has no locks.
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

    /// The same without waiting: `None` also while another process holds the gate.
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

    /// What running processes need, each with the name of its lease. `sweep`, for which the gate must be closed, removes the
    /// leases of dead processes.
    ///
    /// # Errors
    /// [`StoreError::Lease`].
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

    /// Removes the leases of dead processes, unless a process is taking one right now.
    pub(super) fn sweep_leases(&self) {
        if self.path("leases").exists()
            && let Some(_gate) = self.try_close_gate()
        {
            let _ = self.leases(true);
        }
    }

    /// Sets the time of last use of the layers and sources in `needs`.
    fn touch(&self, needs: &Closure) {
        let unpacked = needs.objects().filter(|(kind, _)| matches!(kind, ObjectKind::Layer | ObjectKind::Source));
        for path in unpacked.map(|id| self.object_path(id)) {
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
    /// Adds `needs`. Only objects that are found in the store after that are sure to stay.
    ///
    /// Never fails: where the lease cannot be written, as on a full disk, the gate is kept locked instead; and where the store
    /// cannot be written at all, no process can remove anything either.
    pub fn add(&mut self, needs: &Closure) {
        self.store.touch(needs);
        let Some(gate) = self.gate() else { return };
        self.write(gate, needs);
    }

    /// Copies a program into the store, for this lease: [`Store::add_program`].
    pub fn add_program(&mut self, from: &File, path: &Path) -> Result<lock::Emulator, StoreError> {
        // Its digest is not known before it is there, so the gate stays locked until then.
        let gate = self.gate();
        let emulator = self.store.add_program(from, path)?;
        if let Some(gate) = gate {
            let mut needs = Closure::default();
            needs.blob(&emulator.blob());
            self.write(gate, &needs);
        }
        Ok(emulator)
    }

    /// Keeps the lease across `execve(2)`: it then ends with the process, and a later one sweeps its file.
    pub fn survive_exec(&self) -> io::Result<()> {
        match &self.kept {
            Kept::Nothing => Ok(()),
            Kept::Some(file) => Ok(rustix::io::fcntl_setfd(file, FdFlags::empty())?),
            Kept::All(gate) => Ok(rustix::io::fcntl_setfd(gate, FdFlags::empty())?),
        }
    }

    /// The gate, shared; `None` where it is held already or cannot be.
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
