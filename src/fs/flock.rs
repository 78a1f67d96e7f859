//! Advisory locks. They save work and lost updates; nothing is ever wrong without them, since a
//! network file system may not have them at all.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Holds a lock until dropped.
#[derive(Debug)]
pub struct Guard(#[expect(dead_code, reason = "held for its Drop, which releases the lock")] Option<File>);

/// Waits for the exclusive lock that stands beside `path` (`.NAME.flock`). Where the file system has
/// no locks the guard is empty.
///
/// # Errors
/// The lock file cannot be created.
pub fn beside(path: &Path) -> io::Result<Guard> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".flock");
    // Opened for writing because an NFS client turns flock into a byte-range lock, which needs it.
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path.with_file_name(name))?;
    Ok(Guard(file.lock().ok().map(|()| file)))
}
