//! Comparison of an unpacked tree with its table of contents.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::digest::Digest;
use crate::layer::path::split;
use crate::layer::toc::{Entry, Kind, Toc};
use crate::layer::tree::{OPAQUE, Tree, directory_mode, file_mode};
use crate::visible::visible_path;

/// How much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Type and size of what should be there, up to the first fault: what a power failure spoils.
    Sizes,
    /// Everything: contents, modes, links, marks, and that nothing else is there.
    Contents,
}

/// A difference from the table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Path in the tree; empty for its root.
    pub path: Vec<u8>,
    /// What is wrong with it.
    pub what: String,
}

/// Compares the tree at `root` with `toc`; `overlay_ready` as in [`super::Unpacked`]. Tells `advance`
/// of every byte that is read.
pub(crate) fn check(root: &Path, toc: &Toc, overlay_ready: bool, depth: Depth, advance: &dyn Fn(u64)) -> Vec<Fault> {
    let tree = match Tree::open(root) {
        Ok(tree) => tree,
        Err(error) => return vec![Fault { path: vec![], what: error.to_string() }],
    };
    let entries = toc.entries.iter().map(|entry| (entry.path.as_slice(), entry)).collect();
    let leaders = toc.entries.iter().filter(|entry| entry.kind == Kind::Hardlink).map(|entry| entry.link.as_slice());
    let mut check = Check {
        tree,
        entries,
        children: if depth == Depth::Contents { children(toc) } else { HashMap::new() },
        leaders: leaders.collect(),
        inodes: HashMap::new(),
        overlay_ready,
        depth,
        advance,
    };
    let mut faults = Vec::new();
    for entry in &toc.entries {
        if let Err(what) = check.entry(entry, &mut faults) {
            faults.push(Fault { path: entry.path.clone(), what });
        }
        if depth == Depth::Sizes && !faults.is_empty() {
            break;
        }
    }
    faults
}

/// The names that should be on disk in each directory.
fn children(toc: &Toc) -> HashMap<&[u8], HashSet<&[u8]>> {
    let mut children: HashMap<&[u8], HashSet<&[u8]>> = HashMap::new();
    for entry in toc.entries.iter().filter(|entry| !entry.path.is_empty() && is_on_disk(entry.kind)) {
        let (parent, name) = split(&entry.path);
        children.entry(parent).or_default().insert(name);
    }
    children
}

/// Whether the unpacker makes something for an entry of this kind.
fn is_on_disk(kind: Kind) -> bool {
    !matches!(kind, Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::LowerLink)
}

struct Check<'a> {
    tree: Tree,
    entries: HashMap<&'a [u8], &'a Entry>,
    children: HashMap<&'a [u8], HashSet<&'a [u8]>>,
    /// Paths that have further names.
    leaders: HashSet<&'a [u8]>,
    /// Files with several names, by inode: the path that comes first.
    inodes: HashMap<u64, &'a [u8]>,
    overlay_ready: bool,
    depth: Depth,
    advance: &'a dyn Fn(u64),
}

impl<'a> Check<'a> {
    /// Says what is wrong with the entry itself; what is wrong in a directory goes to `faults`.
    fn entry(&mut self, entry: &'a Entry, faults: &mut Vec<Fault>) -> Result<(), String> {
        let kind = match entry.kind {
            Kind::Hardlink => self.entries.get(entry.link.as_slice()).map_or(Kind::File, |leader| leader.kind),
            kind => kind,
        };
        if !is_on_disk(kind) {
            return Ok(());
        }
        let (parent, name) = split(&entry.path);
        let directory = match self.tree.directory(parent) {
            Ok(directory) => directory,
            // What is wrong with the directory has been said.
            Err(_) if !faults.is_empty() => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let stat = if name.is_empty() {
            rustix::fs::fstat(directory)
        } else {
            rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        };
        let stat = match stat {
            Err(Errno::NOENT) if kind == Kind::Whiteout && !self.overlay_ready => return Ok(()),
            Err(Errno::NOENT) => return Err("is missing".into()),
            stat => stat.map_err(|error| io::Error::from(error).to_string())?,
        };
        self.kind_and_size(entry, kind, &stat)?;
        if self.depth == Depth::Sizes {
            return Ok(());
        }
        match kind {
            Kind::Directory => self.directory(entry, &stat, faults),
            Kind::Symlink => self.symlink(entry, &stat),
            Kind::File => self.file(entry, &stat),
            _ => Ok(()),
        }
    }

    fn kind_and_size(&self, entry: &Entry, kind: Kind, stat: &Stat) -> Result<(), String> {
        let (expected, name) = match kind {
            Kind::Directory => (FileType::Directory, "a directory"),
            Kind::Symlink => (FileType::Symlink, "a symbolic link"),
            Kind::Whiteout => (FileType::CharacterDevice, "a whiteout"),
            _ => (FileType::RegularFile, "a file"),
        };
        let is_other =
            FileType::from_raw_mode(stat.st_mode) != expected || (kind == Kind::Whiteout && stat.st_rdev != 0);
        if is_other {
            return Err(format!("is not {name}"));
        }
        let size = match kind {
            Kind::File => entry.size,
            // A hard link's `link` is its first name, so the target is looked up there.
            Kind::Symlink => self.target(entry).len() as u64,
            _ => return Ok(()),
        };
        let actual = u64::try_from(stat.st_size).unwrap_or(0);
        if actual == size { Ok(()) } else { Err(format!("has {actual} bytes, not {size}")) }
    }

    /// The target of a symlink, which may be another name of one.
    fn target(&self, entry: &'a Entry) -> &'a [u8] {
        let leader = if entry.kind == Kind::Hardlink { self.entries.get(entry.link.as_slice()) } else { None };
        leader.map_or(&entry.link, |leader| &leader.link)
    }

    fn directory(&mut self, entry: &Entry, stat: &Stat, faults: &mut Vec<Fault>) -> Result<(), String> {
        mode(stat, directory_mode(entry.mode))?;
        let directory = self.tree.directory(&entry.path).map_err(|error| error.to_string())?;
        let mut value = [0; 8];
        let opaque = rustix::fs::fgetxattr(directory, OPAQUE, &mut value).is_ok_and(|length| &value[..length] == b"y");
        let listed = Dir::read_from(directory).map_err(|error| io::Error::from(error).to_string())?;
        let expected = self.children.get(entry.path.as_slice());
        for found in listed {
            let found = found.map_err(|error| io::Error::from(error).to_string())?;
            let name = found.file_name().to_bytes();
            if !matches!(name, b"." | b"..") && !expected.is_some_and(|names| names.contains(name)) {
                let slash: &[u8] = if entry.path.is_empty() { b"" } else { b"/" };
                let path = [&entry.path, slash, name].concat();
                faults.push(Fault { path, what: "does not belong to the layer".into() });
            }
        }
        match (opaque, entry.opaque) {
            (true, false) => Err("hides what is below it, and should not".into()),
            (false, true) if self.overlay_ready => Err("does not hide what is below it, and should".into()),
            _ => Ok(()),
        }
    }

    fn symlink(&mut self, entry: &'a Entry, stat: &Stat) -> Result<(), String> {
        self.names(entry, stat)?;
        let (parent, name) = split(&entry.path);
        let directory = self.tree.directory(parent).map_err(|error| error.to_string())?;
        let target = rustix::fs::readlinkat(directory, name, Vec::new());
        let target = target.map_err(|error| io::Error::from(error).to_string())?;
        if target.as_bytes() == self.target(entry) { Ok(()) } else { Err("leads elsewhere".into()) }
    }

    fn file(&mut self, entry: &'a Entry, stat: &Stat) -> Result<(), String> {
        mode(stat, file_mode(entry.mode))?;
        self.names(entry, stat)?;
        let leader = if entry.kind == Kind::Hardlink { self.entries.get(entry.link.as_slice()) } else { None };
        if leader.is_some() && !is_copy(stat) {
            // It is the very file that was read under its first name.
            return Ok(());
        }
        let (parent, name) = split(&entry.path);
        let directory = self.tree.directory(parent).map_err(|error| error.to_string())?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, name, flags, Mode::empty());
        let file = file.map_err(|error| io::Error::from(error).to_string())?;
        let (actual, _) = Digest::of_reader(&mut File::from(file), self.advance).map_err(|error| error.to_string())?;
        match leader.map_or(entry.digest, |leader| leader.digest) {
            Some(expected) if expected != actual => Err(format!("its content is {actual}, not {expected}")),
            _ => Ok(()),
        }
    }

    /// Whether it is one file with the names it should share it with, and with no others of the layer.
    fn names(&mut self, entry: &'a Entry, stat: &Stat) -> Result<(), String> {
        let first = self.inodes.get(&stat.st_ino).copied();
        if entry.kind == Kind::Hardlink {
            let leader = entry.link.as_slice();
            return if first == Some(leader) || is_copy(stat) {
                Ok(())
            } else {
                Err(format!("is not one file with {}", visible_path(leader)))
            };
        }
        if let Some(other) = first {
            return Err(format!("is one file with {}, and should not be", visible_path(other)));
        }
        if stat.st_nlink > 1 || self.leaders.contains(entry.path.as_slice()) {
            self.inodes.insert(stat.st_ino, &entry.path);
        }
        Ok(())
    }
}

/// Whether what should be a hard link is a file of its own, as it is where the file system has no hard links.
fn is_copy(stat: &Stat) -> bool {
    stat.st_nlink == 1
}

fn mode(stat: &Stat, expected: Mode) -> Result<(), String> {
    let actual = Mode::from_raw_mode(stat.st_mode);
    if actual == expected { Ok(()) } else { Err(format!("has mode {:o}, not {:o}", actual.bits(), expected.bits())) }
}
