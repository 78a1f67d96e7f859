//! Unpacking an archive of sources.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;

use crate::digest::Digest;
use crate::layer::{self, Content, Header, Limits, Type};
use crate::source::tree::{MAX_BYTES, MAX_ENTRIES, Tree};
use crate::source::zip::{self, What};
use crate::source::{UnpackError, entry_path, patch};

const ZIPS: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];
/// Magic numbers of unsupported formats, and the error for each.
const FOREIGN: [(&[u8], &str); 5] = [
    (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive; hermes unpacks tar (plain, gzip, xz, zstd, bzip2) and zip"),
    (b"Rar!", "it is a rar archive; hermes unpacks tar (plain, gzip, xz, zstd, bzip2) and zip"),
    (b"LZIP", "it is compressed with lzip; hermes reads gzip, xz, zstd and bzip2"),
    (b"\x1f\x9d", "it is compressed with compress; hermes reads gzip, xz, zstd and bzip2"),
    (b"<!", "it is a web page, not an archive"),
];

/// Limits for an archive of sources, derived from those of a layer.
fn of_sources(of_layers: &Limits) -> Limits {
    Limits { entries: MAX_ENTRIES, bytes: 2 * MAX_BYTES, ..*of_layers }
}

/// An unpacked archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpacked {
    /// Digest of the tree: paths, types, modes, times, contents, targets of links.
    pub digest: Digest,
    /// Number of files, directories and links.
    pub entries: u64,
    /// Total size of the files.
    pub bytes: u64,
}

fn is_zip(archive: &mut File) -> Result<bool, UnpackError> {
    let mut head = Vec::new();
    archive.rewind().map_err(UnpackError::io("read", b"the archive"))?;
    (&mut *archive).take(6).read_to_end(&mut head).map_err(UnpackError::io("read", b"the archive"))?;
    archive.rewind().map_err(UnpackError::io("read", b"the archive"))?;
    if let Some((_, why)) = FOREIGN.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(UnpackError::Format(why));
    }
    if head.is_empty() {
        return Err(UnpackError::Format("it is empty"));
    }
    Ok(ZIPS.iter().any(|magic| head.starts_with(magic)))
}

/// The default number of leading path components to strip: one if the whole archive is in one directory, else none.
///
/// # Errors
/// As [`unpack`].
pub fn strip_of(archive: &mut File, limits: &Limits) -> Result<u32, UnpackError> {
    let mut tops: BTreeSet<Vec<u8>> = BTreeSet::new();
    let mut loose = false;
    let mut see = |path: &[u8], directory: bool| -> Result<(), UnpackError> {
        match entry_path::components(path)?.as_slice() {
            [_] if !directory => loose = true,
            [top, ..] if tops.len() < 2 => drop(tops.insert(top.to_vec())),
            _ => {}
        }
        Ok(())
    };
    if is_zip(archive)? {
        for entry in zip::Zip::open(archive, limits)?.entries {
            see(&entry.path, entry.what == What::Directory)?;
        }
    } else {
        let visit = &mut |header: &Header, _: Content<'_>| see(&header.path, header.kind == Type::Directory);
        layer::for_each_entry(archive, &of_sources(limits), visit)?;
    }
    Ok(u32::from(tops.len() == 1 && !loose))
}

/// Unpacks an archive into the existing, empty directory `into`, strips `strip` leading components of its paths, and applies
/// `patches`.
///
/// # Errors
/// An archive that is hostile, damaged or too large; a patch that does not apply. The content of `into` is then undefined.
pub fn unpack(
    archive: &mut File,
    strip: u32,
    patches: &[impl AsRef<[u8]>],
    into: &Path,
    limits: &Limits,
) -> Result<Unpacked, UnpackError> {
    let mut tree = Tree::new(into);
    if is_zip(archive)? {
        unzip(archive, strip, &mut tree, limits)?;
    } else {
        let visit = &mut |header: &Header, content: Content<'_>| entry(header, content, strip, &mut tree);
        layer::for_each_entry(archive, &of_sources(limits), visit)?;
    }
    for patch in patches {
        patch::apply(patch.as_ref(), &mut tree)?;
    }
    let (digest, entries, bytes) = tree.finish()?;
    if entries == 0 {
        return Err(UnpackError::Empty(strip));
    }
    Ok(Unpacked { digest, entries, bytes })
}

fn entry(header: &Header, content: Content<'_>, strip: u32, tree: &mut Tree) -> Result<(), UnpackError> {
    let path = entry_path::stripped(&header.path, strip)?;
    let mtime = tree.note(header.mtime.0);
    match header.kind {
        Type::Directory => tree.directory(&path, mtime),
        Type::CharDevice | Type::BlockDevice | Type::Fifo => {
            Err(UnpackError::entry(&header.path, "it is a device or a FIFO"))
        }
        _ if path.is_empty() => Ok(()),
        Type::File if header.sparse.is_some() => Err(UnpackError::entry(&header.path, "it is a sparse file")),
        Type::File => tree.file(&path, header.mode & 0o111 != 0, mtime, content),
        Type::Symlink => tree.symlink(&path, header.link.clone(), mtime),
        Type::Hardlink => tree.hard_link(&path, &entry_path::stripped(&header.link, strip)?),
    }
}

fn unzip(archive: &mut File, strip: u32, tree: &mut Tree, limits: &Limits) -> Result<(), UnpackError> {
    let zip = zip::Zip::open(archive, limits)?;
    for entry in &zip.entries {
        let path = entry_path::stripped(&entry.path, strip)?;
        let mtime = tree.note(entry.mtime);
        match entry.what {
            What::Directory => tree.directory(&path, mtime)?,
            _ if path.is_empty() => {}
            What::File { program } => tree.file(&path, program, mtime, |to| zip.content(archive, entry, to))?,
            What::Symlink => tree.symlink(&path, zip.target(archive, entry)?, mtime)?,
        }
    }
    Ok(())
}
