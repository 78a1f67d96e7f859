//! Table of files that seem to have another owner.
//!
//! The table holds every file open whose owner the command changes. So no other file gets its inode number after it is
//! removed, an overlay keeps its number, and links and renames do not matter. Files that no name leads to are dropped each
//! time the table has doubled.
//!
//! Files that have an owner before the command starts are known by their number and the time at which they were made
//! instead, so that a root may have any number of them. A later file with the same number was made later.

use std::collections::HashMap;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::layout::Attributes;
use crate::fs::beneath::{self, Links};
use crate::sandbox::outcome::FakedFile;
use crate::sandbox::policy::PathOwner;
use crate::sys::file::statx;
use crate::sys::{Context as _, SysError};

/// Attributes that a file seems to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Faked {
    /// User and group.
    pub(super) owner: (u32, u32),
    /// `S_IFCHR` or `S_IFBLK`, and the device's number.
    pub(super) device: Option<(u32, u32)>,
}

/// What tells a file of the table from a later one with the same number.
#[derive(Debug)]
enum Held {
    /// A descriptor: there is no later one.
    Open(OwnedFd),
    /// The time at which it was made, in seconds since 1970 and nanoseconds after them.
    Born((i64, u32)),
}

/// Files by device and inode.
type Files = HashMap<(u64, u64), (Held, Faked)>;

pub(super) struct Table {
    files: Files,
    /// Number of files that the table holds open.
    open: usize,
    /// Number of open files at which removed ones are dropped.
    sweep_at: usize,
    /// Maximum number of open files.
    most: usize,
}

/// Descriptors that are left for other purposes.
const SPARE: u64 = 100;
/// Number of open files at which removed ones are dropped for the first time.
const SMALL: usize = 256;

/// Owners of files of the root that are not the real ones, before the command starts.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct FirstOwners(Files);

impl FirstOwners {
    /// Looks up `owners` in the current root.
    ///
    /// # Errors
    ///
    /// A path does not exist, leads through a link, or its file is unknown to the kernel.
    pub(in crate::sandbox) fn find(owners: &[PathOwner]) -> Result<Self, SysError> {
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call("open", "/")?;
        Self::beneath(&root, owners)
    }

    fn beneath(root: &OwnedFd, owners: &[PathOwner]) -> Result<Self, SysError> {
        let mut files = Files::new();
        for PathOwner { path, owner } in owners {
            let file = find(root, path).call("open", path)?;
            let attributes = Attributes(statx(&file, MASK).call("statx", path)?);
            let held = attributes.born().map_or(Held::Open(file), Held::Born);
            files.insert(attributes.key(), (held, Faked { owner: *owner, device: None }));
        }
        Ok(Self(files))
    }
}

/// Fields of statx(2) that the table needs.
pub(super) const MASK: u32 = libc::STATX_BASIC_STATS | libc::STATX_BTIME;

/// Opens `path` in `root` without following a link.
fn find(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let Some(name) = path.file_name() else { return beneath::find(root, Path::new("/"), Links::Refuse) };
    let parent = path.parent().unwrap_or(Path::new(""));
    let parent = beneath::find(root, &Path::new("/").join(parent), Links::Refuse)?;
    openat(&parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

impl Table {
    /// A table of these files, for as many more as this process may have open.
    pub(super) fn new(first: FirstOwners) -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        let open = setrlimit(Resource::Nofile, raised).map_or(limit.current, |()| limit.maximum);
        let most = usize::try_from(open.unwrap_or(u64::MAX).saturating_sub(SPARE)).unwrap_or(usize::MAX);
        let FirstOwners(files) = first;
        let open = files.values().filter(|(held, _)| matches!(held, Held::Open(_))).count();
        Self { files, open, sweep_at: SMALL.max(2 * open), most }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// What the file with these `attributes` seems to have. They were requested with [`MASK`].
    pub(super) fn get(&self, attributes: &Attributes) -> Option<Faked> {
        let (held, faked) = self.files.get(&attributes.key())?;
        match held {
            Held::Born(time) if attributes.born() != Some(*time) => None,
            _ => Some(*faked),
        }
    }

    pub(super) fn remove(&mut self, key: (u64, u64)) {
        if let Some((Held::Open(_), _)) = self.files.remove(&key) {
            self.open -= 1;
        }
    }

    /// Adds the open `file`; false if the table is full.
    pub(super) fn insert(&mut self, key: (u64, u64), file: OwnedFd, faked: Faked) -> bool {
        if let Some((Held::Open(_), known)) = self.files.get_mut(&key) {
            *known = faked;
            return true;
        }
        if self.open >= self.sweep_at.min(self.most) {
            self.files.retain(|_, (held, _)| !matches!(held, Held::Open(file) if is_gone(file)));
            self.open = self.files.values().filter(|(held, _)| matches!(held, Held::Open(_))).count();
            self.sweep_at = SMALL.max(2 * self.open);
        }
        let room = self.open < self.most;
        if room {
            self.files.insert(key, (Held::Open(file), faked));
            self.open += 1;
        }
        room
    }

    /// All files of the table that have a name, and some that had an owner before the command and are gone. Once the table is
    /// dropped, a new file may get the inode number of a removed one: compare the time at which the file was made, too.
    pub(super) fn files(&self) -> impl Iterator<Item = FakedFile> {
        self.files.iter().filter_map(|(&(device, inode), (held, faked))| {
            let born = match held {
                Held::Open(file) if is_gone(file) => return None,
                Held::Open(file) => Attributes(statx(file, MASK).ok()?).born(),
                Held::Born(time) => Some(*time),
            };
            Some(FakedFile { device, inode, born, owner: faked.owner, special: faked.device })
        })
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

    fn attributes(file: &OwnedFd) -> Attributes {
        Attributes(statx(file, MASK).unwrap())
    }

    fn open(path: &Path) -> (OwnedFd, Attributes) {
        let file = OwnedFd::from(std::fs::File::open(path).unwrap());
        let attributes = attributes(&file);
        (file, attributes)
    }

    /// An entry of the first owners, as if the file system told when a file was made, or did not.
    fn first(path: &Path, held: impl FnOnce(OwnedFd, &Attributes) -> Held) -> FirstOwners {
        let (file, attributes) = open(path);
        let faked = Faked { owner: (5, 6), device: None };
        FirstOwners(Files::from([(attributes.key(), (held(file, &attributes), faked))]))
    }

    #[test]
    fn removed_files_are_let_go_and_only_they() {
        let dir = tempfile::tempdir().unwrap();
        let faked = Faked { owner: (1, 2), device: None };
        let mut table = Table::new(FirstOwners::default());
        let mut kept = Vec::new();
        for number in 0..4 * SMALL {
            let path = dir.path().join(number.to_string());
            if number % 2 == 0 { std::fs::write(&path, "") } else { std::fs::create_dir(&path) }.unwrap();
            let (file, found) = open(&path);
            assert!(table.insert(found.key(), file, faked));
            match number % 8 {
                0 => kept.push(found),
                1 => std::fs::remove_dir(&path).unwrap(),
                // It has another name.
                2 => {
                    std::fs::hard_link(&path, dir.path().join(format!("{number}.link"))).unwrap();
                    std::fs::remove_file(&path).unwrap();
                    kept.push(found);
                }
                n if n % 2 == 0 => std::fs::remove_file(&path).unwrap(),
                _ => kept.push(found),
            }
        }
        assert!(kept.iter().all(|found| table.get(found) == Some(faked)));
        assert!(table.files.len() < 4 * SMALL, "nothing was let go");
        table.sweep_at = 0;
        let (last, found) = open(dir.path());
        assert!(table.insert(found.key(), last, faked));
        assert_eq!(table.files.len(), kept.len() + 1);
    }

    #[test]
    fn a_removed_file_leaves_no_owner_to_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = Table::new(FirstOwners::default());
        for name in ["kept", "removed"] {
            let path = dir.path().join(name);
            std::fs::write(&path, "").unwrap();
            let (file, found) = open(&path);
            assert!(table.insert(found.key(), file, Faked { owner: (1, 2), device: None }));
        }
        std::fs::remove_file(dir.path().join("removed")).unwrap();
        let (_, kept) = open(&dir.path().join("kept"));
        let files: Vec<_> = table.files().map(|file| ((file.device, file.inode), file.born)).collect();
        assert_eq!(files, [(kept.key(), kept.born())]);
    }

    #[test]
    fn there_is_an_end_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = Table { files: Files::new(), open: 0, sweep_at: SMALL, most: 2 };
        let faked = Faked { owner: (1, 2), device: None };
        let mut add = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, "").unwrap();
            let (file, found) = open(&path);
            table.insert(found.key(), file, faked)
        };
        assert!(add("a") && add("b") && !add("c"));
        std::fs::remove_file(dir.path().join("a")).unwrap();
        assert!(add("c") && !add("d"));
    }

    #[test]
    fn first_owners_are_found_by_path_and_take_no_link() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/f"), "").unwrap();
        std::os::unix::fs::symlink("d", dir.path().join("l")).unwrap();
        let root = OwnedFd::from(std::fs::File::open(dir.path()).unwrap());
        let owned = |path: &str, id| PathOwner { path: path.into(), owner: (id, id) };
        let owners = [owned("", 1), owned("d", 2), owned("d/f", 3), owned("l", 4)];
        let table = Table::new(FirstOwners::beneath(&root, &owners).unwrap());
        for PathOwner { path, owner } in &owners {
            let file = find(&root, path).unwrap();
            assert_eq!(table.get(&attributes(&file)).map(|faked| faked.owner), Some(*owner), "{}", path.display());
        }
        for path in ["l/f", "missing"] {
            assert!(FirstOwners::beneath(&root, &[owned(path, 1)]).is_err(), "{path}");
        }
    }

    #[test]
    fn a_later_file_with_the_number_of_a_first_one_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "").unwrap();
        let later = first(&path, |_, _| Held::Born((1, 2)));
        assert_eq!(Table::new(later).get(&open(&path).1), None);
        let same = first(&path, |file, found| found.born().map_or(Held::Open(file), Held::Born));
        assert_eq!(Table::new(same).get(&open(&path).1).map(|faked| faked.owner), Some((5, 6)));
    }

    #[test]
    fn a_change_replaces_the_first_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "").unwrap();
        let holds: [fn(OwnedFd, &Attributes) -> Held; 2] =
            [|file, found| found.born().map_or(Held::Open(file), Held::Born), |file, _| Held::Open(file)];
        for held in holds {
            let mut table = Table::new(first(&path, held));
            let (file, found) = open(&path);
            let faked = Faked { owner: (7, 8), device: None };
            assert!(table.insert(found.key(), file, faked));
            assert_eq!((table.get(&found), table.open), (Some(faked), 1));
            let (device, inode) = found.key();
            let all: Vec<_> = table.files().collect();
            assert_eq!(all, [FakedFile { device, inode, born: found.born(), owner: (7, 8), special: None }]);
            table.remove(found.key());
            assert_eq!((table.get(&found), table.open), (None, 0));
        }
    }
}
