//! Unpacking of a layer: the entries of a tar, one after the other, to disk and to the table of contents.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, Scope};

use crate::digest::{Digest, Hasher};
use crate::layer::archive::for_each;
use crate::layer::decode::is_layer;
use crate::layer::header::{Header, Type};
use crate::layer::input::{Hashing, Input, Source};
use crate::layer::limits::weight;
use crate::layer::path::{self, Name, split};
use crate::layer::readahead::Ahead;
use crate::layer::toc::{Entry, Kind, Toc};
use crate::layer::tree::{self, Tree};
use crate::layer::writers::{Job, SMALL, Writers};
use crate::layer::{LayerError, Limits, MemoryBudget};
use crate::sys::file::begin_writing;
use crate::visible::shortened;
use crate::visible::visible_path;

/// Length of files, in bytes, from which on they are begun to be put on disk at once.
const WRITE_BACK: u64 = 1 << 20;
/// Longest target of a symlink, in bytes (Linux `PATH_MAX` with its NUL).
const MAX_TARGET: usize = 4095;

/// An unpacked layer.
#[derive(Debug)]
pub struct Unpacked {
    /// SHA-256 of the tar after decompression.
    pub diff_id: Digest,
    /// Entries of the tar.
    pub entries: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Whether the tree carries every whiteout and opaque mark. Where the kernel (before 5.8) or the
    /// file system refused one, the tree must not be an overlay's lower layer: merge by the TOC.
    pub overlay_ready: bool,
    /// What the tar said of every entry.
    pub toc: Toc,
}

/// Unpacks a layer into the existing, empty directory `into`, with threads of its own.
///
/// # Errors
/// Anything hostile, damaged or over `limits`; the system's errors. `into` is then in any state.
pub fn unpack(
    mut blob: impl Read + Send,
    media_type: &str,
    into: &Path,
    limits: &Limits,
) -> Result<Unpacked, LayerError> {
    unpack_blob(&mut blob, media_type, into, limits)
}

/// One thread reads and decompresses, this one hashes and reads the tar, others write small files. All have ended when it
/// returns.
fn unpack_blob(
    blob: &mut (dyn Read + Send),
    media_type: &str,
    into: &Path,
    limits: &Limits,
) -> Result<Unpacked, LayerError> {
    if !is_layer(media_type) {
        return Err(LayerError::MediaType(shortened(media_type, 200)));
    }
    thread::scope(|scope| {
        let mut unpacker = Unpacker::start(scope, into, limits)?;
        let ahead = Ahead::start(scope, blob, limits).map_err(LayerError::no_thread)?;
        let mut input = Input::new(Hashing::new(ahead));
        let entries = for_each(&mut input, limits, |header, input| unpacker.entry(header, input))?;
        let diff_id = input.finish()?.digest();
        let tree = unpacker.finish()?;
        Ok(Unpacked { diff_id, entries, bytes: tree.bytes, overlay_ready: tree.overlay_ready, toc: tree.toc })
    })
}

/// A finished tree.
pub(super) struct Finished {
    pub(super) bytes: u64,
    pub(super) overlay_ready: bool,
    pub(super) toc: Toc,
}

/// What stands at a path now. Hard links have the same `inode`, and copies of the same `entry`.
pub(super) struct Node {
    pub(super) entry: Entry,
    inode: u64,
}

fn into_entry(header: Header, kind: Kind) -> Entry {
    Entry {
        path: vec![],
        kind,
        mode: header.mode,
        uid: header.uid,
        gid: header.gid,
        size: 0,
        mtime: header.mtime,
        link: if kind == Kind::Symlink { header.link } else { vec![] },
        device: if matches!(kind, Kind::CharDevice | Kind::BlockDevice) { header.device } else { (0, 0) },
        xattrs: header.xattrs.into_iter().collect(),
        digest: None,
        implied: false,
        opaque: false,
    }
}

/// The first path of an inode, in the order of the TOC, has the file; the others are its hard links,
/// whatever the tar had first and whether or not that one was replaced since.
fn into_toc(nodes: BTreeMap<Vec<u8>, Node>, memory: &mut MemoryBudget) -> Result<Toc, LayerError> {
    let mut names: HashMap<u64, u32> = HashMap::new();
    for node in nodes.values() {
        *names.entry(node.inode).or_default() += 1;
    }
    names.retain(|_, count| *count > 1);
    let mut first: HashMap<u64, Vec<u8>> = HashMap::new();
    let mut entries = Vec::with_capacity(nodes.len());
    for (path, Node { mut entry, inode }) in nodes {
        if names.contains_key(&inode) {
            if let Some(leader) = first.get(&inode) {
                // Each name of a file with a long first one gets a copy of that.
                memory.more(leader.len())?;
                (entry.kind, entry.link) = (Kind::Hardlink, leader.clone());
            } else {
                first.insert(inode, path.clone());
            }
        }
        entries.push(Entry { path, ..entry });
    }
    Ok(Toc { entries })
}

/// Hashes the zeros of a hole, up to `offset` in the file.
fn hash_zeros(hasher: &mut Hasher, offset: u64) {
    const ZEROS: [u8; 4096] = [0; 4096];
    while hasher.count() < offset {
        let hole = usize::try_from(offset - hasher.count()).unwrap_or(usize::MAX).min(ZEROS.len());
        hasher.update(&ZEROS[..hole]);
    }
}

/// A tree that grows by the entries of a tar.
pub(super) struct Unpacker {
    pub(super) tree: Tree,
    pub(super) writers: Writers,
    /// By path, which the entries themselves get at the end.
    pub(super) nodes: BTreeMap<Vec<u8>, Node>,
    pub(super) limits: Limits,
    bytes: u64,
    /// Bytes of files that the tar does not contain: holes, and copies that replace hard links.
    extra: u64,
    inodes: u64,
    memory: MemoryBudget,
    overlay_ready: bool,
}

impl Unpacker {
    /// Starts the threads that write into the existing, empty directory `into`.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        into: &Path,
        limits: &Limits,
    ) -> Result<Self, LayerError> {
        Ok(Self {
            tree: Tree::open(into).map_err(LayerError::io("open", b"."))?,
            writers: Writers::start(scope).map_err(LayerError::no_thread)?,
            nodes: BTreeMap::from([(vec![], Node { entry: Entry::implied(), inode: 0 })]),
            limits: *limits,
            bytes: 0,
            extra: 0,
            inodes: 0,
            memory: MemoryBudget::new(limits.entries, limits.table),
            overlay_ready: true,
        })
    }

    /// Writes what is left to write: last of all, modes and times of directories.
    pub(super) fn finish(mut self) -> Result<Finished, LayerError> {
        self.writers.settle()?;
        self.finish_directories()?;
        let toc = into_toc(self.nodes, &mut self.memory)?;
        Ok(Finished { bytes: self.bytes, overlay_ready: self.overlay_ready, toc })
    }

    pub(super) fn entry<S: Source>(&mut self, header: Header, input: &mut Input<S>) -> Result<(), LayerError> {
        let stored = header.stored;
        match path::name(&header.path, &self.limits)? {
            Name::Plain(path) if header.kind == Type::File => return self.file(&path, header, input),
            Name::Plain(path) => self.special(&path, header, input.consumed())?,
            // AUFS made hard links of its whiteouts.
            Name::Whiteout(_) | Name::Opaque(_) if !matches!(header.kind, Type::File | Type::Hardlink) => {
                return Err(LayerError::entry(&header.path, "a whiteout that is not a file"));
            }
            Name::Whiteout(path) => self.whiteout(&path)?,
            Name::Opaque(path) => {
                self.make_directories(&path, &header.path)?;
                if let Some(node) = self.nodes.get_mut(&path) {
                    node.entry.opaque = true;
                }
            }
            Name::Aufs => {}
        }
        input.copy(stored, |_| Ok(()))
    }

    /// `consumed` is what was read of the blob.
    fn special(&mut self, path: &[u8], header: Header, consumed: u64) -> Result<(), LayerError> {
        match header.kind {
            Type::Directory => self.directory(path, header),
            Type::Symlink => self.symlink(path, header),
            Type::Hardlink => self.hardlink(path, header, consumed),
            Type::CharDevice | Type::BlockDevice | Type::Fifo | Type::File => {
                let kind = match header.kind {
                    Type::CharDevice => Kind::CharDevice,
                    Type::BlockDevice => Kind::BlockDevice,
                    _ => Kind::Fifo,
                };
                self.clear(path)?;
                self.add(path, into_entry(header, kind))
            }
        }
    }

    fn file<S: Source>(&mut self, path: &[u8], header: Header, input: &mut Input<S>) -> Result<(), LayerError> {
        let stored = header.stored;
        let sparse = header.sparse.clone();
        let size = sparse.as_ref().map_or(stored, |(length, _)| *length);
        // Holes take no space, but are hashed.
        self.count(size, size - stored, input.consumed())?;
        self.clear(path)?;
        let mut entry = into_entry(header, Kind::File);
        let mut hasher = Hasher::default();
        if sparse.is_none() && stored <= SMALL {
            let mut content = Vec::with_capacity(usize::try_from(stored).unwrap_or(0));
            input.copy(stored, |piece| {
                hasher.update(piece);
                content.extend_from_slice(piece);
                Ok(())
            })?;
            let directory = self.tree.directory(split(path).0).map_err(LayerError::io("open", path))?;
            let (directory, xattrs) = (Arc::clone(directory), entry.xattrs.clone());
            let (mode, mtime) = (entry.mode, entry.mtime);
            self.writers.write(Job { directory, path: path.to_vec(), content, mode, mtime, xattrs })?;
        } else {
            let mut file = self.tree.make_file(path).map_err(LayerError::io("create", path))?;
            let write = |file: &mut File, hasher: &mut Hasher, piece: &[u8]| {
                hasher.update(piece);
                file.write_all(piece).map_err(LayerError::io("write", path))
            };
            match sparse {
                None => input.copy(stored, |piece| write(&mut file, &mut hasher, piece))?,
                Some((length, map)) => {
                    file.set_len(length).map_err(LayerError::io("write", path))?;
                    for piece in map {
                        hash_zeros(&mut hasher, piece.offset);
                        file.seek(SeekFrom::Start(piece.offset)).map_err(LayerError::io("write", path))?;
                        input.copy(piece.length, |piece| write(&mut file, &mut hasher, piece))?;
                    }
                    hash_zeros(&mut hasher, length);
                }
            }
            tree::finish_file(&file, entry.mode, entry.mtime, &entry.xattrs).map_err(LayerError::io("write", path))?;
            if size >= WRITE_BACK {
                begin_writing(&file, 0, 0);
            }
        }
        (entry.size, entry.digest) = (size, Some(hasher.finish()));
        self.add(path, entry)
    }

    /// Counts a file of `size` bytes, of which the tar does not hold `extra`.
    fn count(&mut self, size: u64, extra: u64, consumed: u64) -> Result<(), LayerError> {
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.limits.bytes {
            return Err(LayerError::Limit { what: "bytes in files", limit: self.limits.bytes });
        }
        self.extra = self.extra.saturating_add(extra);
        self.limits.check_ratio(consumed, self.extra)
    }

    fn directory(&mut self, path: &[u8], header: Header) -> Result<(), LayerError> {
        let opaque = match self.nodes.get(path) {
            Some(node) if node.entry.kind == Kind::Directory => node.entry.opaque,
            // Unpacked one after the other, the earlier entry would have removed what lay below.
            Some(_) => {
                self.remove(path)?;
                self.make_directory(path, true)?;
                true
            }
            None => {
                self.make_directories(split(path).0, path)?;
                self.make_directory(path, false)?;
                false
            }
        };
        let entry = Entry { opaque, ..into_entry(header, Kind::Directory) };
        self.memory.more(weight(b"", &entry))?;
        if let Some(node) = self.nodes.get_mut(path) {
            node.entry = entry;
        }
        Ok(())
    }

    fn symlink(&mut self, path: &[u8], header: Header) -> Result<(), LayerError> {
        if header.link.is_empty() || header.link.len() > MAX_TARGET || header.link.contains(&0) {
            return Err(LayerError::entry(path, "a symlink with an empty, too long or broken target"));
        }
        self.clear(path)?;
        self.tree.make_symlink(path, &header.link, header.mtime).map_err(LayerError::io("create", path))?;
        self.add(path, into_entry(header, Kind::Symlink))
    }

    /// The target is an earlier entry of this same layer: a union file system copies a lower file up before it links
    /// it, so most tools that make layers put both names in. Where the layer has nothing there, a layer below must.
    fn hardlink(&mut self, path: &[u8], header: Header, consumed: u64) -> Result<(), LayerError> {
        let target = path::clean(&header.link, &self.limits)?;
        if target == path && self.nodes.contains_key(path) {
            return Ok(());
        }
        self.clear(path)?;
        let missing = || LayerError::HardLink { path: visible_path(path), target: visible_path(&target) };
        let Some(node) = self.nodes.get(&target) else {
            if self.hides(&target) || target.starts_with(path) && matches!(target.get(path.len()), None | Some(b'/')) {
                return Err(missing());
            }
            let entry = Entry { link: target, ..into_entry(header, Kind::LowerLink) };
            return self.add(path, entry);
        };
        let (entry, inode) = (node.entry.clone(), node.inode);
        match entry.kind {
            Kind::Directory | Kind::Whiteout => return Err(missing()),
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::LowerLink => {}
            Kind::File | Kind::Symlink | Kind::Hardlink => {
                self.writers.settle()?;
                if !self.tree.make_hardlink(path, &target).map_err(LayerError::io("link", path))? {
                    // Some file systems have few links to a file, or none: an entry of no size would fill the disk.
                    self.count(entry.size, entry.size, consumed)?;
                    self.copy(path, &target, &entry).map_err(LayerError::io("copy", path))?;
                }
            }
        }
        self.insert(path, Node { entry, inode })
    }

    /// Whether this layer, so far, hides what layers below have at `path`, where it has nothing itself.
    fn hides(&self, path: &[u8]) -> bool {
        let mut parent = path;
        while !parent.is_empty() {
            parent = split(parent).0;
            if self.nodes.get(parent).is_some_and(|node| node.entry.kind != Kind::Directory || node.entry.opaque) {
                return true;
            }
        }
        false
    }

    /// What stands for a hard link on a file system that has none; the TOC says that it is one.
    fn copy(&mut self, path: &[u8], target: &[u8], entry: &Entry) -> std::io::Result<()> {
        if entry.kind == Kind::Symlink {
            return self.tree.make_symlink(path, &entry.link, entry.mtime);
        }
        tree::finish_file(&self.tree.make_copy(path, target)?, entry.mode, entry.mtime, &entry.xattrs)
    }

    fn whiteout(&mut self, path: &[u8]) -> Result<(), LayerError> {
        match self.nodes.get_mut(path) {
            // The whiteout hides what lies below, never what this layer itself brings; a directory
            // of this layer must not show what the lower one of its name has.
            Some(node) if node.entry.kind == Kind::Directory => node.entry.opaque = true,
            Some(_) => {}
            None => {
                self.make_directories(split(path).0, path)?;
                self.overlay_ready &= self.tree.make_whiteout(path).map_err(LayerError::io("create", path))?;
                self.add(path, Entry { kind: Kind::Whiteout, mode: 0, implied: false, ..Entry::implied() })?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &[u8], entry: Entry) -> Result<(), LayerError> {
        self.inodes += 1;
        self.insert(path, Node { entry, inode: self.inodes })
    }

    fn insert(&mut self, path: &[u8], node: Node) -> Result<(), LayerError> {
        self.memory.add(weight(path, &node.entry))?;
        self.nodes.insert(path.to_vec(), node);
        Ok(())
    }

    /// Makes room for something that is no directory, and the directories it stands in.
    fn clear(&mut self, path: &[u8]) -> Result<(), LayerError> {
        if path.is_empty() {
            return Err(LayerError::entry(b".", "the root must be a directory"));
        }
        if self.nodes.contains_key(path) { self.remove(path) } else { self.make_directories(split(path).0, path) }
    }

    /// Removes what stands at `path`, from disk and from the table.
    fn remove(&mut self, path: &[u8]) -> Result<(), LayerError> {
        self.writers.settle()?;
        self.tree.remove(path).map_err(LayerError::io("replace", path))?;
        if self.nodes.remove(path).is_some_and(|node| node.entry.kind == Kind::Directory) {
            let first = [path, b"/"].concat();
            let below = self.nodes.range::<[u8], _>((Bound::Included(first.as_slice()), Bound::Unbounded));
            let gone: Vec<_> = below.map(|(path, _)| path).take_while(|p| p.starts_with(&first)).cloned().collect();
            for path in gone {
                self.nodes.remove(&path);
            }
        }
        Ok(())
    }

    /// Makes sure that `path`, on the way to the entry `wanted`, is a directory, and so those above.
    fn make_directories(&mut self, path: &[u8], wanted: &[u8]) -> Result<(), LayerError> {
        if self.nodes.get(path).is_some_and(|node| node.entry.kind == Kind::Directory) {
            return Ok(());
        }
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in slashes.chain([path.len()]) {
            let path = &path[..end];
            match self.nodes.get(path).map(|node| node.entry.kind) {
                Some(Kind::Directory) => {}
                None => self.make_directory(path, false)?,
                Some(Kind::Whiteout) => {
                    self.remove(path)?;
                    self.make_directory(path, true)?;
                }
                Some(_) => return Err(LayerError::Parent { path: visible_path(wanted), parent: visible_path(path) }),
            }
        }
        Ok(())
    }

    fn make_directory(&mut self, path: &[u8], opaque: bool) -> Result<(), LayerError> {
        self.tree.make_directory(path).map_err(LayerError::io("create", path))?;
        self.add(path, Entry { opaque, ..Entry::implied() })
    }

    /// Modes and times last: writing into a directory changes its time, and its mode may forbid it.
    fn finish_directories(&mut self) -> Result<(), LayerError> {
        for (path, Node { entry, .. }) in &self.nodes {
            if entry.kind == Kind::Directory {
                self.overlay_ready &= self
                    .tree
                    .finish_directory(path, entry.mode, entry.mtime, &entry.xattrs, entry.opaque)
                    .map_err(LayerError::io("finish", path))?;
            }
        }
        Ok(())
    }
}
