//! The tree of a root on disk: changes of single files in it, and the list of all that is in it.
//!
//! The scripts of packages have changed the tree. Nothing runs in it any more, but a directory may be a link to anywhere,
//! so files are changed without following links.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, StatxFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::fs::beneath::{self, Links};
use crate::fs::{entries, remove};
use crate::layer::{Entry, Kind, LayerError, Limits, MemoryBudget};

/// Longest file that is read whole, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// The tree of a root, which no other process changes.
#[derive(Debug)]
pub(crate) struct Tree {
    path: PathBuf,
    root: OwnedFd,
}

/// What the file system says of a file, by which the fake root's table knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileKey {
    /// Device of the file system, in the form of stat(2).
    pub(crate) device: u64,
    /// Number of the inode.
    pub(crate) inode: u64,
}

/// A file of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// What belongs into the tar: without owner and digest, with the time that the file has on disk.
    pub(crate) entry: Entry,
    /// Identity on disk.
    pub(crate) key: FileKey,
    /// When it was made, in seconds since 1970 and nanoseconds after them, as far as the file system knows.
    pub(crate) born: Option<(i64, u32)>,
    /// When anything about it was last changed, by the clock of the file system: in seconds since 1970, and nanoseconds after
    /// them.
    pub(crate) changed: (i64, u32),
}

impl Tree {
    /// The tree at `path`.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let root = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { path: path.to_owned(), root })
    }

    /// Where the tree is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn parent<'a>(&self, path: &'a str) -> Result<(OwnedFd, &'a str), Errno> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        Ok((beneath::open(&self.root, &Path::new("/").join(parent), flags, Links::Refuse)?, name))
    }

    /// Whether there is anything at `path`.
    pub(crate) fn has(&self, path: &str) -> io::Result<bool> {
        match self.parent(path).and_then(|(parent, name)| rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW))
        {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Content of a file; `None` if there is none.
    ///
    /// # Errors
    ///
    /// It is not a regular file, is larger than 16 MiB, or cannot be read.
    pub(crate) fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let (parent, name) = match self.parent(path) {
            Err(Errno::NOENT) => return Ok(None),
            parent => parent?,
        };
        let file = match rustix::fs::openat(&parent, name, READ, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            file => File::from(file?),
        };
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(Some(bytes)) }
    }

    /// Writes a file. An existing one keeps its identity, and so its owner, and gets `mode` if there is one; a new one needs
    /// it.
    ///
    /// # Errors
    ///
    /// The directory does not exist, something else is there, or the file cannot be written.
    pub(crate) fn write(&self, path: &str, bytes: &[u8], mode: Option<u32>) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&parent, name, flags, Mode::RUSR | Mode::WUSR)?);
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        file.set_len(0)?;
        file.write_all(bytes)?;
        if let Some(mode) = mode {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        }
        Ok(())
    }

    /// Makes a directory, unless it exists.
    ///
    /// # Errors
    ///
    /// The directory above does not exist, or something else is there.
    pub(crate) fn make_directory(&self, path: &str, mode: u32) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        match rustix::fs::mkdirat(&parent, name, Mode::RWXU) {
            Ok(()) => Ok(rustix::fs::chmodat(&parent, name, Mode::from_raw_mode(mode), AtFlags::empty())?),
            Err(Errno::EXIST) => {
                let found = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
                let is_directory = FileType::from_raw_mode(found.st_mode).is_dir();
                if is_directory { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes what is at `path`, with everything in it, if there is anything.
    ///
    /// # Errors
    ///
    /// Those of removing.
    pub(crate) fn remove(&self, path: &str) -> io::Result<()> {
        if !self.has(path)? {
            return Ok(());
        }
        let (parent, name) = self.parent(path)?;
        remove::tree(parent.as_fd(), name.as_bytes())
    }

    /// Removes everything in the directory `path`, if it exists.
    ///
    /// # Errors
    ///
    /// Those of removing.
    pub(crate) fn empty(&self, path: &str) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = match beneath::open(&self.root, &Path::new("/").join(path), flags, Links::Refuse) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            directory => directory?,
        };
        for (name, _) in entries::of(&directory)? {
            remove::tree(directory.as_fd(), &name)?;
        }
        Ok(())
    }

    /// Changes the permissions of the file or directory at `path`, which is no link.
    ///
    /// # Errors
    ///
    /// Those of chmod(2).
    pub(crate) fn set_mode(&self, path: &[u8], mode: u16) -> io::Result<()> {
        Ok(rustix::fs::chmod(self.place(path), Mode::from_raw_mode(mode.into()))?)
    }

    /// Changes the time of the last modification of the file at `path`, which may be a link.
    ///
    /// # Errors
    ///
    /// Those of utimensat(2).
    pub(crate) fn set_time(&self, path: &[u8], (seconds, nanoseconds): (i64, u32)) -> io::Result<()> {
        let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        Ok(rustix::fs::utimensat(CWD, self.place(path), &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Opens a file that [`Self::list`] found. One that its owner may not read becomes readable for that.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub(crate) fn open_file(&self, path: &[u8]) -> io::Result<File> {
        let place = self.place(path);
        match rustix::fs::open(&place, READ, Mode::empty()) {
            Err(Errno::ACCESS) => {
                rustix::fs::chmod(&place, Mode::RUSR)?;
                Ok(rustix::fs::open(&place, READ, Mode::empty())?.into())
            }
            file => Ok(file?.into()),
        }
    }

    /// Opens a directory. One that its owner may not list becomes listable for that.
    fn open_directory(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let place = self.place(path);
        match rustix::fs::open(&place, LIST, Mode::empty()) {
            Err(Errno::ACCESS) => {
                rustix::fs::chmod(&place, Mode::RWXU)?;
                Ok(rustix::fs::open(&place, LIST, Mode::empty())?)
            }
            directory => Ok(directory?),
        }
    }

    fn place(&self, path: &[u8]) -> PathBuf {
        self.path.join(std::ffi::OsStr::from_bytes(path))
    }

    /// Moves the files and links of `entries`, which are in the order of a tar, into the empty directory `into`, and makes their
    /// directories there.
    ///
    /// # Errors
    ///
    /// Those of rename(2) and mkdir(2).
    pub(crate) fn move_out(&self, entries: &[Entry], into: &Path) -> io::Result<()> {
        for entry in entries.iter().filter(|entry| !entry.path.is_empty()) {
            let to = into.join(std::ffi::OsStr::from_bytes(&entry.path));
            match entry.kind {
                Kind::Whiteout => {}
                Kind::Directory => {
                    rustix::fs::mkdir(&to, Mode::RWXU)?;
                    if entry.mode & 0o700 != 0o700 {
                        // Nothing could be moved out of it.
                        self.set_mode(&entry.path, 0o700)?;
                    }
                }
                _ => rustix::fs::rename(self.place(&entry.path), &to)?,
            }
        }
        Ok(())
    }

    /// Everything in the tree, in the order of a tar. Sockets, which no tar has, are removed. Of the names of one file the
    /// first is the file, and the others are hard links to it.
    ///
    /// # Errors
    ///
    /// The files are more or larger than `limits` allow, or have holes beyond the ratio of the limits, or one cannot be read.
    pub(crate) fn list(&self, limits: &Limits) -> io::Result<Vec<Found>> {
        let mut list = Vec::new();
        let (mut bytes, mut on_disk) = (0_u64, 0_u64);
        // A script may make paths of any length, and any number of them.
        let mut memory = MemoryBudget::new(limits.entries, limits.table);
        let over = |error: LayerError| io::Error::new(io::ErrorKind::QuotaExceeded, error);
        let mut firsts: HashMap<FileKey, Vec<u8>> = HashMap::new();
        // Paths that are left, the next one last.
        let mut left = vec![Vec::new()];
        while let Some(path) = left.pop() {
            let Some((mut found, links, room)) = self.look(path)? else { continue };
            let path = &found.entry.path;
            if found.entry.kind == Kind::Directory {
                let names = self.names(path, |length| memory.add(length).map_err(over))?;
                left.extend(names.iter().rev().map(|name| entries::join(path, name)));
            } else if links > 1 {
                memory.more(path.len()).map_err(over)?;
                match firsts.get(&found.key) {
                    Some(first) => {
                        found.entry.kind = Kind::Hardlink;
                        found.entry.link.clone_from(first);
                        found.entry.size = 0;
                    }
                    None => drop(firsts.insert(found.key, path.clone())),
                }
            }
            memory.more(found.entry.link.len()).map_err(over)?;
            bytes = bytes.saturating_add(found.entry.size);
            on_disk = on_disk.saturating_add(room);
            if bytes > limits.bytes {
                return Err(over(LayerError::Limit { what: "bytes in files", limit: limits.bytes }));
            }
            limits.check_ratio(on_disk, bytes).map_err(over)?;
            list.push(found);
        }
        Ok(list)
    }

    /// The names in a directory, sorted. `count` gets the length of each path before the next name is read.
    fn names(&self, path: &[u8], mut count: impl FnMut(usize) -> io::Result<()>) -> io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(self.open_directory(path)?)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                count(path.len() + 1 + name.len())?;
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The file at `path`, its number of names, and the bytes that it takes on disk; `None` of a socket, which is removed.
    fn look(&self, path: Vec<u8>) -> io::Result<Option<(Found, u32, u64)>> {
        let place = self.place(&path);
        let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        let stat = rustix::fs::statx(CWD, &place, AtFlags::SYMLINK_NOFOLLOW, mask)?;
        let mode = u32::from(stat.stx_mode);
        let mut link = Vec::new();
        let kind = match FileType::from_raw_mode(mode) {
            FileType::Directory => Kind::Directory,
            FileType::RegularFile => Kind::File,
            FileType::Symlink => {
                link = rustix::fs::readlink(&place, Vec::new())?.into_bytes();
                Kind::Symlink
            }
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::CharDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            _ => {
                rustix::fs::unlink(&place)?;
                return Ok(None);
            }
        };
        let entry = Entry {
            path,
            kind,
            mode: stat.stx_mode & 0o7777,
            size: if kind == Kind::File { stat.stx_size } else { 0 },
            mtime: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            link,
            device: (stat.stx_rdev_major, stat.stx_rdev_minor),
            implied: false,
            ..Entry::implied()
        };
        let key = FileKey { device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor), inode: stat.stx_ino };
        let knows_birth = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
        let born = knows_birth.then_some((stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec));
        let room = stat.stx_blocks.saturating_mul(512);
        Ok(Some((
            Found { entry, key, born, changed: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec) },
            stat.stx_nlink,
            room,
        )))
    }
}

const LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn tree() -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        (dir, tree)
    }

    #[test]
    fn a_list_has_the_order_of_a_tar_and_the_first_name_is_the_file() {
        let (dir, tree) = tree();
        for path in ["a", "a-b", "a/c"] {
            fs::create_dir(dir.path().join(path)).unwrap();
        }
        fs::write(dir.path().join("a/f"), "content").unwrap();
        fs::hard_link(dir.path().join("a/f"), dir.path().join("a-b/f")).unwrap();
        symlink("a/f", dir.path().join("l")).unwrap();
        drop(UnixListener::bind(dir.path().join("s")).unwrap());
        fs::set_permissions(dir.path().join("a/f"), fs::Permissions::from_mode(0o4751)).unwrap();
        let list = tree.list(&Limits::default()).unwrap();
        let seen: Vec<_> = list
            .iter()
            .map(|found| {
                let Entry { path, kind, size, link, .. } = &found.entry;
                (str::from_utf8(path).unwrap(), *kind, *size, str::from_utf8(link).unwrap())
            })
            .collect();
        let expected = [
            ("", Kind::Directory, 0, ""),
            ("a", Kind::Directory, 0, ""),
            ("a/c", Kind::Directory, 0, ""),
            ("a/f", Kind::File, 7, ""),
            ("a-b", Kind::Directory, 0, ""),
            ("a-b/f", Kind::Hardlink, 0, "a/f"),
            ("l", Kind::Symlink, 0, "a/f"),
        ];
        assert_eq!(seen, expected);
        assert!(!dir.path().join("s").exists());
        assert_eq!((list[3].entry.mode, list[3].key), (0o4751, list[5].key));
        for (entries, bytes) in [(5, 7), (7, 6)] {
            assert!(tree.list(&Limits { entries, bytes, ..Limits::default() }).is_err());
        }
    }

    #[test]
    fn what_scripts_leave_takes_little_memory_and_time() {
        let (dir, tree) = tree();
        let with = |limits: Limits| tree.list(&limits).unwrap_err().to_string();
        let deep = "d".repeat(200);
        let mut path = dir.path().to_owned();
        for _ in 0..10 {
            path.push(&deep);
        }
        fs::create_dir_all(&path).unwrap();
        for name in 0..50 {
            fs::write(path.join(name.to_string()), "").unwrap();
        }
        let limits = Limits { table: 20_000, ..Limits::default() };
        assert!(with(limits).contains("bytes of paths"));
        fs::remove_dir_all(dir.path().join(&deep)).unwrap();
        // Names count before their files are read.
        for name in 0..50 {
            fs::write(dir.path().join(name.to_string()), "").unwrap();
        }
        assert!(with(Limits { entries: 20, ..Limits::default() }).contains("20 entries"));
        for name in 0..20 {
            symlink("t".repeat(1000), dir.path().join(format!("l{name}"))).unwrap();
        }
        assert!(with(limits).contains("bytes of paths"));
        // A file without end takes no room on disk, but would be compressed.
        fs::File::create(dir.path().join("holes")).unwrap().set_len(1 << 30).unwrap();
        assert!(with(Limits { free: 1 << 20, ..Limits::default() }).contains("times its size"));
        tree.list(&Limits::default()).unwrap();
    }

    #[test]
    fn what_is_moved_out_keeps_its_names() {
        let (dir, tree) = tree();
        let into = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/f"), "content").unwrap();
        fs::write(dir.path().join("a/stays"), "").unwrap();
        fs::hard_link(dir.path().join("a/b/f"), dir.path().join("l")).unwrap();
        let mut entries: Vec<_> = tree.list(&Limits::default()).unwrap().into_iter().map(|found| found.entry).collect();
        entries.retain(|entry| entry.path != b"a/stays");
        entries.push(Entry { path: b"gone".into(), kind: Kind::Whiteout, ..Entry::implied() });
        tree.move_out(&entries, into.path()).unwrap();
        let moved = Tree::open(into.path()).unwrap().list(&Limits::default()).unwrap();
        let paths: Vec<_> = moved.iter().map(|found| str::from_utf8(&found.entry.path).unwrap()).collect();
        assert_eq!(paths, ["", "a", "a/b", "a/b/f", "l"]);
        assert_eq!(moved[4].entry.kind, Kind::Hardlink);
        assert!(dir.path().join("a/stays").exists() && !dir.path().join("l").exists());
    }

    #[test]
    fn what_its_owner_may_not_read_is_read_and_listed() {
        let (dir, tree) = tree();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/f"), "content").unwrap();
        for path in ["d/f", "d"] {
            fs::set_permissions(dir.path().join(path), fs::Permissions::from_mode(0o000)).unwrap();
        }
        let list = tree.list(&Limits::default()).unwrap();
        let modes: Vec<_> = list.iter().skip(1).map(|found| found.entry.mode).collect();
        assert_eq!(modes, [0, 0]);
        assert_eq!(io::read_to_string(tree.open_file(b"d/f").unwrap()).unwrap(), "content");
    }

    #[test]
    fn changes_follow_no_link_and_a_file_keeps_its_identity() {
        let (dir, tree) = tree();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("f"), "mine").unwrap();
        symlink(outside.path(), dir.path().join("d")).unwrap();
        symlink(outside.path().join("f"), dir.path().join("l")).unwrap();
        for path in ["d/f", "l"] {
            assert!(tree.write(path, b"theirs", Some(0o644)).is_err(), "{path}");
            assert!(tree.read(path).is_err(), "{path}");
        }
        assert!(tree.empty("d").is_err() && tree.remove("d/f").is_err() && tree.make_directory("l", 0o755).is_err());
        tree.remove("l").unwrap();
        tree.remove("missing/too").unwrap();
        assert_eq!(fs::read_to_string(outside.path().join("f")).unwrap(), "mine");
        assert!(!tree.has("l").unwrap());

        tree.write("f", b"long content", Some(0o640)).unwrap();
        let key = tree.list(&Limits::default()).unwrap().pop().unwrap().key;
        tree.write("f", b"short", None).unwrap();
        let found = tree.list(&Limits::default()).unwrap().pop().unwrap();
        assert_eq!((found.key, found.entry.mode, found.entry.size), (key, 0o640, 5));
        assert_eq!(tree.read("f").unwrap().as_deref(), Some(&b"short"[..]));
        assert_eq!(tree.read("none").unwrap(), None);
    }
}
