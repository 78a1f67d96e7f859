//! Atomic replacement of files by rename.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::fs::beneath::Links;
use crate::fs::opened::reach;
use crate::fs::{orphans, regular};

/// Prefix of the names of unfinished files.
const PREFIX: &str = ".hermes-";

/// Replaces `path` by `bytes`: a reader sees the old file or the new one, never a part. The
/// temporary file is made beside it and is gone if anything fails.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create(path)?;
    file.write_all(bytes)?;
    file.publish()
}

/// A file that will replace another one in its directory, wherever that directory is moved. Dropped, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Unfinished {
    file: File,
    directory: OwnedFd,
    /// Its temporary name, until it is published.
    temporary: Option<String>,
    name: OsString,
}

/// Begins a file that is to take the place of `path`, beside it. What those left who were killed before they could
/// remove it, and it may hold a password, is removed here.
pub(crate) fn create(path: &Path) -> io::Result<Unfinished> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_owned();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, parent, flags, Mode::empty())?;
    sweep(&reach(directory.as_fd()));
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        let temporary = format!("{PREFIX}{}{}", orphans::prefix(), MADE.fetch_add(1, Ordering::Relaxed));
        match openat(&directory, &*temporary, flags, Mode::from_raw_mode(0o666)) {
            Err(Errno::EXIST) => {}
            file => return Ok(Unfinished { file: file?.into(), directory, temporary: Some(temporary), name }),
        }
    }
}

/// Removes orphaned temporary files and nothing else: the directory is the user's.
fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let left = name.to_str().and_then(|name| orphans::is_orphaned(name.strip_prefix(PREFIX)?));
        if left == Some(true) && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Unfinished {
    /// The file, open for reading and writing.
    #[must_use]
    pub(crate) fn as_file(&self) -> &File {
        &self.file
    }

    /// Gives it its name.
    pub(crate) fn publish(mut self) -> io::Result<()> {
        self.file.sync_data()?;
        if let Some(temporary) = &self.temporary {
            renameat(&self.directory, &**temporary, &self.directory, &*self.name)?;
        }
        self.temporary = None;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = unlinkat(&self.directory, &**temporary, AtFlags::empty());
        }
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Reads a file of at most `limit` bytes, wherever a link at `path` leads.
///
/// # Errors
/// `InvalidData` for a longer file; `InvalidInput` for what is no regular file.
pub(crate) fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    regular::read(&regular::open(CWD, path, Links::Follow)?, limit)
}

/// The same for a file that others may put there: a link is an error.
pub(crate) fn read_plain(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    regular::read(&regular::open(CWD, path, Links::Refuse)?, limit)
}
