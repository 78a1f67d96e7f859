//! Snapshots of a tree: taken before a build, one tells later which files the build made or changed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, Stat};

use crate::fs::beneath::{self, Links};
use crate::fs::entries;

/// The files of a tree at a moment. No program can set a file's change time (ctime, inode(7)), so one that has the
/// inode and change time it had was not touched.
#[derive(Debug)]
pub struct Snapshot(HashMap<Vec<u8>, Mark>);

type Mark = (u64, (i64, u64));

/// Most readings of the clock of a file system: 10 s in all.
const LOOKS: usize = 5000;

impl Snapshot {
    /// Takes one of the directory `root`, and waits until the clock of its file system, which may go in steps of 10 ms,
    /// has moved on: a change made from now on shows.
    ///
    /// # Errors
    /// The system's. `TimedOut` where the clock stands.
    pub fn take(root: &Path) -> io::Result<Self> {
        let top = rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut marks = HashMap::new();
        let mut last = (0, 0);
        let mut waiting = vec![Vec::new()];
        while let Some(path) = waiting.pop() {
            for (name, stat) in entries::of(directory(&top, &path)?)? {
                let child = entries::join(&path, &name);
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    waiting.push(child);
                } else {
                    last = last.max(mark(&stat).1);
                    marks.insert(child, mark(&stat));
                }
            }
        }
        wait_past(root, last)?;
        Ok(Self(marks))
    }

    /// Whether `path` is still what it was.
    pub(super) fn has(&self, path: &[u8], stat: &Stat) -> bool {
        self.0.get(path) == Some(&mark(stat))
    }
}

fn mark(stat: &Stat) -> Mark {
    (stat.st_ino, (stat.st_ctime, stat.st_ctime_nsec))
}

/// Opens a directory of a tree.
pub(super) fn directory(top: &OwnedFd, path: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    Ok(beneath::open(top, Path::new(OsStr::from_bytes(path)), flags, Links::Refuse)?)
}

/// Waits until files that are made beside `root` are younger than `last`.
fn wait_past(root: &Path, last: (i64, u64)) -> io::Result<()> {
    let beside = root.parent().unwrap_or(root);
    for _ in 0..LOOKS {
        let file = tempfile::tempfile_in(beside)?;
        if mark(&rustix::fs::fstat(&file)?).1 > last {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the clock of the file system does not advance"))
}
