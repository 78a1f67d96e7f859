//! The digest of a read-only tree: every path of it, what it is, its time and its content.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
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

/// The canonical form of a tree, of which its digest is: for each path in the order of its bytes, the root first, what it is,
/// the path, the time, and what is in it, each ended by NUL.
#[derive(Default)]
pub(crate) struct Listing(Hasher);

impl Listing {
    /// The digest of all that was added.
    #[must_use]
    pub(crate) fn digest(self) -> Digest {
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

/// The digest of the tree on disk at `root`, every byte of it read. What is none of what hermes makes there gives a digest of
/// its own.
///
/// # Errors
/// The system's.
pub fn digest_of(root: &Path) -> io::Result<Digest> {
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
    let mut listing = Listing::default();
    for (path, place) in &found {
        let meta = fs::symlink_metadata(place)?;
        let (kind, mode) = (meta.file_type(), meta.mode() & 0o7777);
        if kind.is_dir() && mode == DIRECTORY {
            listing.directory(path, meta.mtime());
        } else if kind.is_file() && (mode == FILE || mode == PROGRAM) {
            let (digest, size) = hash(&mut File::open(place)?)?;
            listing.file(path, mode == PROGRAM, meta.mtime(), size, &digest);
        } else if kind.is_symlink() {
            listing.symlink(path, fs::read_link(place)?.as_os_str().as_bytes(), meta.mtime());
        } else {
            listing.add(&[b"other", path, meta.mode().to_string().as_bytes()]);
        }
    }
    Ok(listing.digest())
}

/// Digest and length of what is left of `from`.
///
/// # Errors
/// The system's.
pub(crate) fn hash(from: &mut impl Read) -> io::Result<(Digest, u64)> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => {
                let size = hasher.count();
                return Ok((hasher.finish(), size));
            }
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
