//! Disk usage of a tree.

use std::collections::HashSet;
use std::ops::AddAssign;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes of the blocks that are in use.
    pub bytes: u64,
    /// Files, directories and links.
    pub inodes: u64,
}

impl AddAssign for Room {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.inodes += other.inodes;
    }
}

/// Files with several names that were counted: device and inode.
pub(crate) type Counted = HashSet<(u64, u64)>;

/// The disk usage of `path` and everything below it. A file with several names counts once, and not at all if it is in
/// `counted`. What vanishes or cannot be read counts as nothing.
#[must_use]
pub(crate) fn measure(path: &Path, counted: &mut Counted) -> Room {
    let mut room = Room::default();
    let Ok(top) = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) else { return room };
    add(&top, &mut room, counted);
    if FileType::from_raw_mode(top.st_mode) != FileType::Directory {
        return room;
    }
    let Ok(base) = open(CWD, path.as_os_str().as_encoded_bytes()) else { return room };
    // By paths from the top, so that the depth of a tree costs no descriptors.
    let mut waiting = vec![b".".to_vec()];
    while let Some(directory) = waiting.pop() {
        let Ok(opened) = open(base.as_fd(), &directory) else { continue };
        let Ok(entries) = Dir::read_from(&opened) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(stat) = rustix::fs::statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            add(&stat, &mut room, counted);
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                waiting.push([&directory, b"/".as_slice(), name.to_bytes()].concat());
            }
        }
    }
    room
}

fn open(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<rustix::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn add(stat: &Stat, room: &mut Room, counted: &mut Counted) {
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if is_directory || stat.st_nlink < 2 || counted.insert((stat.st_dev, stat.st_ino)) {
        // In units of 512 bytes whatever the file system's own are (stat(2)).
        *room += Room { bytes: u64::try_from(stat.st_blocks).unwrap_or(0) * 512, inodes: 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn each_file_counts_once() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path().join("a/b")).unwrap();
        fs::write(temp.path().join("a/b/file"), vec![7; 100_000]).unwrap();
        fs::File::open(temp.path().join("a/b/file")).unwrap().sync_all().unwrap();
        fs::hard_link(temp.path().join("a/b/file"), temp.path().join("a/again")).unwrap();
        std::os::unix::fs::symlink("/", temp.path().join("a/out")).unwrap();
        let mut counted = Counted::new();
        let room = measure(&temp.path().join("a"), &mut counted);
        assert_eq!(room.inodes, 4, "two directories, a file, a link");
        assert!((100_000..200_000).contains(&room.bytes), "{room:?}");
        assert_eq!(measure(&temp.path().join("a/again"), &mut counted), Room::default(), "counted before");
        assert_eq!(measure(&temp.path().join("none"), &mut counted), Room::default());
    }
}
