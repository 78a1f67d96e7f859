//! Creating a tree of sources, and its digest.
//!
//! Entries are tracked by name, so that no link on disk is followed: directories and files are created first, and links last.
//! The same archive gives the same tree: there are two modes, and times are whole seconds from the archive.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use crate::digest::{Digest, Hasher};
use crate::fs::source_digest::{DIRECTORY, FILE, PROGRAM, SourceDigest};
use crate::layer::MemoryBudget;
use crate::source::{UnpackError, links};

/// Most entries of an archive.
pub(super) const MAX_ENTRIES: u64 = 1_000_000;
/// Most bytes of all files of an archive.
pub(super) const MAX_BYTES: u64 = 64 << 30;
/// Most bytes of all paths and link targets, which stay in memory until the archive is unpacked.
const MAX_TABLE: u64 = 256 << 20;
/// The latest time that every file system can store.
const LAST: i64 = i32::MAX as i64;

/// An entry of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// `None` if the archive has no entry for it.
    Directory {
        mtime: Option<i64>,
    },
    File {
        program: bool,
        mtime: i64,
        size: u64,
        digest: Digest,
    },
    Symlink {
        target: Vec<u8>,
        mtime: i64,
    },
}

/// A tree that is created in a directory.
pub(super) struct Tree {
    root: PathBuf,
    nodes: BTreeMap<Vec<u8>, Node>,
    /// The latest time of any entry.
    newest: i64,
    memory: MemoryBudget,
    bytes: u64,
}

impl Tree {
    /// Starts a tree in the existing, empty directory `root`.
    pub(super) fn new(root: &Path) -> Self {
        Self::limited(root, MAX_ENTRIES, MAX_TABLE)
    }

    /// As [`Self::new`], with other limits for entries and for bytes of paths and link targets.
    pub(super) fn limited(root: &Path, entries: u64, table: u64) -> Self {
        let memory = MemoryBudget::new(entries, table);
        Self { root: root.to_owned(), nodes: BTreeMap::new(), newest: 0, memory, bytes: 0 }
    }

    /// Records the time of an entry, and returns the time that it gets here.
    pub(super) fn note(&mut self, mtime: i64) -> i64 {
        let mtime = mtime.clamp(0, LAST);
        self.newest = self.newest.max(mtime);
        mtime
    }

    /// Creates a directory; the empty path is the root.
    pub(super) fn directory(&mut self, path: &[u8], mtime: i64) -> Result<(), UnpackError> {
        if path.is_empty() {
            return Ok(());
        }
        self.parents(path)?;
        match self.nodes.get_mut(path) {
            None => {
                self.make_directory(path, Some(mtime))?;
            }
            // Some tools write an entry for a directory before each of its files.
            Some(Node::Directory { mtime: known }) => *known = Some(mtime),
            Some(_) => return Err(twice(path)),
        }
        Ok(())
    }

    /// Creates a file with what `content` writes.
    pub(super) fn file<E: Into<UnpackError>>(
        &mut self,
        path: &[u8],
        program: bool,
        mtime: i64,
        content: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), UnpackError> {
        self.vacant(path)?;
        let on_disk = self.place(path);
        let file = File::options().write(true).create_new(true).mode(0o600).open(&on_disk);
        let file = file.map_err(UnpackError::io("create", path))?;
        let mut written = Written { file, hasher: Hasher::default(), left: MAX_BYTES - self.bytes };
        let outcome = content(&mut written).map_err(Into::into);
        if written.left == 0 {
            return Err(UnpackError::Limit { what: "bytes", limit: MAX_BYTES });
        }
        outcome?;
        let size = written.hasher.count();
        self.bytes += size;
        let digest = written.hasher.finish();
        self.insert(path, Node::File { program, mtime, size, digest })
    }

    /// Creates a hard link to the file `target`, which exists.
    pub(super) fn hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), UnpackError> {
        self.vacant(path)?;
        let Some(file @ Node::File { .. }) = self.nodes.get(target).cloned() else {
            return Err(UnpackError::entry(path, "its hard link target is not an earlier file"));
        };
        fs::hard_link(self.place(target), self.place(path)).map_err(UnpackError::io("link", path))?;
        self.insert(path, file)
    }

    /// Adds a symbolic link, which is created at the end.
    pub(super) fn symlink(&mut self, path: &[u8], target: Vec<u8>, mtime: i64) -> Result<(), UnpackError> {
        self.vacant(path)?;
        self.insert(path, Node::Symlink { target, mtime })
    }

    /// The entry at `path`.
    pub(super) fn node(&self, path: &[u8]) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// The content of the file at `path`, at most `limit` bytes.
    pub(super) fn read(&self, path: &[u8], limit: u64) -> Result<Vec<u8>, UnpackError> {
        crate::fs::atomic::read_limited(&self.place(path), limit).map_err(UnpackError::io("read", path))
    }

    /// Creates or replaces the file at `path`. Its time is that of the newest entry.
    pub(super) fn replace(&mut self, path: &[u8], program: bool, content: &[u8]) -> Result<(), UnpackError> {
        if self.nodes.contains_key(path) {
            self.remove(path)?;
        }
        let newest = self.newest;
        self.file(path, program, newest, |to| to.write_all(content).map_err(UnpackError::io("write", path)))
    }

    /// Removes the file at `path`.
    pub(super) fn remove(&mut self, path: &[u8]) -> Result<(), UnpackError> {
        // Other hard links keep the content.
        fs::remove_file(self.place(path)).map_err(UnpackError::io("remove", path))?;
        self.nodes.remove(path);
        Ok(())
    }

    /// Creates the links, then sets modes and times. Returns the digest, entries and bytes of the tree.
    pub(super) fn finish(self) -> Result<(Digest, u64, u64), UnpackError> {
        let link = |path: &[u8]| match self.nodes.get(path) {
            Some(Node::Symlink { target, .. }) => Some(target.as_slice()),
            _ => None,
        };
        let mut steps = 0;
        for (path, node) in &self.nodes {
            if let Node::Symlink { target, .. } = node {
                links::check(path, target, &mut steps, link)?;
            }
        }
        // In order of names a directory comes before its content; so in reverse order its time is set last.
        for (path, node) in self.nodes.iter().rev() {
            let (place, mtime) = (self.place(path), self.mtime(node));
            let mode = match node {
                Node::Symlink { target, .. } => {
                    symlink(std::ffi::OsStr::from_bytes(target), &place).map_err(UnpackError::io("link", path))?;
                    None
                }
                Node::Directory { .. } => continue,
                Node::File { program, .. } => Some(if *program { PROGRAM } else { FILE }),
            };
            settle(&place, mode, mtime).map_err(UnpackError::io("set the mode and time of", path))?;
        }
        for (path, node) in self.nodes.iter().rev() {
            if let Node::Directory { .. } = node {
                let set = settle(&self.place(path), Some(DIRECTORY), self.mtime(node));
                set.map_err(UnpackError::io("set the mode and time of", path))?;
            }
        }
        settle(&self.root, Some(DIRECTORY), self.newest).map_err(UnpackError::io("set the mode and time of", b"."))?;
        let mut source = SourceDigest::default();
        source.directory(b"", self.newest);
        for (path, node) in &self.nodes {
            match node {
                Node::Directory { .. } => source.directory(path, self.mtime(node)),
                Node::File { program, mtime, size, digest } => source.file(path, *program, *mtime, *size, digest),
                Node::Symlink { target, mtime } => source.symlink(path, target, *mtime),
            }
        }
        Ok((source.finish(), self.nodes.len() as u64, self.bytes))
    }

    fn mtime(&self, node: &Node) -> i64 {
        match node {
            Node::Directory { mtime } => mtime.unwrap_or(self.newest),
            Node::File { mtime, .. } | Node::Symlink { mtime, .. } => *mtime,
        }
    }

    fn place(&self, path: &[u8]) -> PathBuf {
        self.root.join(std::ffi::OsStr::from_bytes(path))
    }

    fn make_directory(&mut self, path: &[u8], mtime: Option<i64>) -> Result<(), UnpackError> {
        fs::create_dir(self.place(path)).map_err(UnpackError::io("create", path))?;
        self.insert(path, Node::Directory { mtime })
    }

    /// Adds the entry at `path`, and counts it.
    fn insert(&mut self, path: &[u8], node: Node) -> Result<(), UnpackError> {
        let target = if let Node::Symlink { target, .. } = &node { target.len() } else { 0 };
        self.memory.add(path.len() + target)?;
        self.nodes.insert(path.to_vec(), node);
        Ok(())
    }

    /// Creates the parent directories of `path`, which must not exist.
    fn vacant(&mut self, path: &[u8]) -> Result<(), UnpackError> {
        if path.is_empty() || self.nodes.contains_key(path) {
            return Err(twice(path));
        }
        self.parents(path)
    }

    fn parents(&mut self, path: &[u8]) -> Result<(), UnpackError> {
        for (end, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let parent = &path[..end];
            match self.nodes.get(parent) {
                Some(Node::Directory { .. }) => {}
                Some(_) => {
                    let why = format!("'{}' is not a directory", crate::visible::visible_path(parent));
                    return Err(UnpackError::entry(path, why));
                }
                None => self.make_directory(parent, None)?,
            }
        }
        Ok(())
    }
}

fn twice(path: &[u8]) -> UnpackError {
    UnpackError::entry(path, "the archive contains it twice")
}

/// A file that is hashed while it is written.
struct Written {
    file: File,
    hasher: Hasher,
    left: u64,
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.left = self.left.saturating_sub(length as u64);
        if self.left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.hasher.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn settle(path: &Path, mode: Option<u32>, mtime: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    mode.map_or(Ok(()), |mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
}
