//! Advisory locks. They save work and lost updates; nothing is ever wrong without them, since a
//! network file system may not have them at all.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::Mode;

use crate::fs::regular;

/// Longest wait for others: whoever may open the file may keep the lock for ever.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// Holds a lock until dropped.
#[derive(Debug)]
pub(crate) struct Guard(#[expect(dead_code, reason = "held for its Drop, which releases the lock")] Option<File>);

/// Waits for the exclusive lock that stands beside `path` (`.NAME.flock`), for some time. Where the file system has
/// no locks, or somebody does not give it back, the guard is empty.
///
/// # Errors
/// The lock file cannot be created, or is none.
pub(crate) fn beside(path: &Path) -> io::Result<Guard> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".flock");
    // Opened for writing because an NFS client turns flock into a byte-range lock, which needs it.
    let file = regular::create(&path.with_file_name(name), Mode::from_raw_mode(0o666))?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Guard(Some(file))),
            Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            Err(_) => return Ok(Guard(None)),
        }
    }
}
