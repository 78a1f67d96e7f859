//! Advisory locks. They save work and avoid lost updates; correctness does not depend on them, since a network file system may
//! have no locks.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags};

use crate::fs::regular;

/// Longest wait: whoever may open the file could hold the lock for ever.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// Holds a lock until dropped.
#[derive(Debug)]
pub(crate) struct Guard(#[expect(dead_code, reason = "held for its Drop, which releases the lock")] Option<File>);

/// Waits for the exclusive lock that stands beside `path` (`.NAME.flock`), for some time. Where the file system has
/// no locks, or another process does not release it, the guard is empty.
///
/// # Errors
/// The lock file cannot be created, or is not a regular file.
pub(crate) fn beside(path: &Path) -> io::Result<Guard> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".flock");
    // Opened for writing because an NFS client turns flock into a byte-range lock, which needs it.
    let file = regular::open_with(
        CWD,
        &path.with_file_name(name),
        OFlags::WRONLY | OFlags::CREATE,
        Mode::from_raw_mode(0o666),
    )?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Guard(Some(file))),
            Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            Err(_) => return Ok(Guard(None)),
        }
    }
}
