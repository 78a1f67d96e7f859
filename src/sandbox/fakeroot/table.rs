//! Table of files that seem to have another owner.
//!
//! The table holds every file open. So no other file gets its inode number after it is removed, an overlay keeps its
//! number, and links and renames do not matter. Files that no name leads to are dropped each time the table has doubled.

use std::collections::HashMap;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::layout::Attributes;
use crate::sys::file::statx;

/// Attributes that a file seems to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Faked {
    /// User and group.
    pub(super) owner: (u32, u32),
    /// `S_IFCHR` or `S_IFBLK`, and the device's number.
    pub(super) device: Option<(u32, u32)>,
}

pub(super) struct Table {
    files: HashMap<(u64, u64), (OwnedFd, Faked)>,
    /// Size at which removed files are dropped.
    sweep_at: usize,
    /// Maximum size.
    most: usize,
}

/// Descriptors that are left for other purposes.
const SPARE: u64 = 100;
/// Size at which removed files are dropped for the first time.
const SMALL: usize = 256;

impl Table {
    /// An empty table, for as many files as this process may have open.
    pub(super) fn new() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        let open = setrlimit(Resource::Nofile, raised).map_or(limit.current, |()| limit.maximum);
        let most = usize::try_from(open.unwrap_or(u64::MAX).saturating_sub(SPARE)).unwrap_or(usize::MAX);
        Self { files: HashMap::new(), sweep_at: SMALL, most }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(super) fn get(&self, key: (u64, u64)) -> Option<Faked> {
        self.files.get(&key).map(|(_, faked)| *faked)
    }

    pub(super) fn remove(&mut self, key: (u64, u64)) {
        self.files.remove(&key);
    }

    /// Adds the open `file`; false if the table is full.
    pub(super) fn insert(&mut self, key: (u64, u64), file: OwnedFd, faked: Faked) -> bool {
        if let Some((_, known)) = self.files.get_mut(&key) {
            *known = faked;
            return true;
        }
        if self.files.len() >= self.sweep_at.min(self.most) {
            self.files.retain(|_, (file, _)| !is_gone(file));
            self.sweep_at = SMALL.max(2 * self.files.len());
        }
        let room = self.files.len() < self.most;
        if room {
            self.files.insert(key, (file, faked));
        }
        room
    }
}

/// Whether the last name of an open file was removed.
fn is_gone(file: &OwnedFd) -> bool {
    let Ok(bytes) = statx(file, libc::STATX_BASIC_STATS) else { return true };
    let attributes = Attributes(bytes);
    if attributes.is_directory() {
        // On most file systems the number of links to a directory means nothing.
        let path = rustix::fs::readlink(format!("/proc/self/fd/{}", file.as_raw_fd()), Vec::new());
        return path.is_ok_and(|path| path.as_bytes().ends_with(b" (deleted)"));
    }
    attributes.links() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &std::path::Path) -> (OwnedFd, (u64, u64)) {
        let file = OwnedFd::from(std::fs::File::open(path).unwrap());
        let key = Attributes(statx(&file, libc::STATX_BASIC_STATS).unwrap()).key();
        (file, key)
    }

    #[test]
    fn removed_files_are_let_go_and_only_they() {
        let dir = tempfile::tempdir().unwrap();
        let faked = Faked { owner: (1, 2), device: None };
        let mut table = Table::new();
        let mut kept = Vec::new();
        for number in 0..4 * SMALL {
            let path = dir.path().join(number.to_string());
            if number % 2 == 0 { std::fs::write(&path, "") } else { std::fs::create_dir(&path) }.unwrap();
            let (file, key) = open(&path);
            assert!(table.insert(key, file, faked));
            match number % 8 {
                0 => kept.push(key),
                1 => std::fs::remove_dir(&path).unwrap(),
                // It has another name.
                2 => {
                    std::fs::hard_link(&path, dir.path().join(format!("{number}.link"))).unwrap();
                    std::fs::remove_file(&path).unwrap();
                    kept.push(key);
                }
                n if n % 2 == 0 => std::fs::remove_file(&path).unwrap(),
                _ => kept.push(key),
            }
        }
        assert!(kept.iter().all(|key| table.get(*key) == Some(faked)));
        assert!(table.files.len() < 4 * SMALL, "nothing was let go");
        table.sweep_at = 0;
        let (last, key) = open(dir.path());
        assert!(table.insert(key, last, faked));
        assert_eq!(table.files.len(), kept.len() + 1);
    }

    #[test]
    fn there_is_an_end_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = Table { files: HashMap::new(), sweep_at: SMALL, most: 2 };
        let faked = Faked { owner: (1, 2), device: None };
        let mut add = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, "").unwrap();
            let (file, key) = open(&path);
            table.insert(key, file, faked)
        };
        assert!(add("a") && add("b") && !add("c"));
        std::fs::remove_file(dir.path().join("a")).unwrap();
        assert!(add("c") && !add("d"));
    }
}
