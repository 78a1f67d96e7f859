//! The source digest of an unpacked source (`docs/tree-digests.md`): paths, types, times and contents.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::digest::{Digest, Hasher};

/// Modes in such a tree: of directories, ...
pub(crate) const DIRECTORY: u32 = 0o555;
/// ... of files, ...
pub(crate) const FILE: u32 = 0o444;
/// ... and of those that are programs.
pub(crate) const PROGRAM: u32 = 0o555;

/// Hashes the canonical form of a source: for each path, sorted by its bytes, the root first, its type, the path, its time and
/// its content, each ended by NUL.
#[derive(Default)]
pub(crate) struct SourceDigest(Hasher);

impl SourceDigest {
    /// The digest of everything that was added.
    #[must_use]
    pub(crate) fn finish(self) -> Digest {
        self.0.finish()
    }

    fn add(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.0.update(part);
            self.0.update(b"\0");
        }
    }

    /// Adds a directory.
    pub(crate) fn directory(&mut self, path: &[u8], mtime: i64) {
        self.add(&[b"directory", path, mtime.to_string().as_bytes()]);
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, path: &[u8], program: bool, mtime: i64, size: u64, digest: &Digest) {
        let kind: &[u8] = if program { b"program" } else { b"file" };
        let (mtime, size) = (mtime.to_string(), size.to_string());
        self.add(&[kind, path, mtime.as_bytes(), size.as_bytes(), digest.hex().as_bytes()]);
    }

    /// Adds a link.
    pub(crate) fn symlink(&mut self, path: &[u8], target: &[u8], mtime: i64) {
        self.add(&[b"symlink", path, mtime.to_string().as_bytes(), target]);
    }
}

/// The digest of the tree on disk at `root`, every byte of it read. Files that hermes does not make there, such as
/// devices, change the digest.
pub fn of_tree(root: &Path) -> io::Result<Digest> {
    let mut found = BTreeMap::new();
    found.insert(Vec::new(), root.to_owned());
    let mut open = vec![(Vec::new(), root.to_owned())];
    while let Some((path, place)) = open.pop() {
        for entry in fs::read_dir(&place)? {
            let entry = entry?;
            let name = entry.file_name();
            let mut path: Vec<u8> = path.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            found.insert(path.clone(), entry.path());
            if entry.file_type()?.is_dir() {
                open.push((path, entry.path()));
            }
        }
    }
    let mut source = SourceDigest::default();
    for (path, place) in &found {
        let meta = fs::symlink_metadata(place)?;
        let (kind, mode) = (meta.file_type(), meta.mode() & 0o7777);
        if kind.is_dir() && mode == DIRECTORY {
            source.directory(path, meta.mtime());
        } else if kind.is_file() && (mode == FILE || mode == PROGRAM) {
            let (digest, size) = Digest::of_reader(&mut File::open(place)?, &|_| ())?;
            source.file(path, mode == PROGRAM, meta.mtime(), size, &digest);
        } else if kind.is_symlink() {
            source.symlink(path, fs::read_link(place)?.as_os_str().as_bytes(), meta.mtime());
        } else {
            source.add(&[b"other", path, meta.mode().to_string().as_bytes()]);
        }
    }
    Ok(source.finish())
}
