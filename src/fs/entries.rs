//! Entries of a directory.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Dir, Stat};
use rustix::io::Errno;

/// The entries of a directory with their status, links not followed, sorted by name. Entries that vanish while it is read are
/// left out.
pub(crate) fn of(directory: impl AsFd) -> io::Result<Vec<(Vec<u8>, Stat)>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => entries.push((name.to_bytes().to_owned(), stat)),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    Ok(entries)
}

/// The path of `name` in the directory `parent`, which is empty for the top.
#[must_use]
pub(crate) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_owned() } else { [parent, b"/", name].concat() }
}

/// The directory that a path is in; empty for the top.
#[must_use]
pub(crate) fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(b"", |at| &path[..at])
}
