//! Merged `/usr` (Debian policy, §9.1.1): `/bin`, `/lib` and others are links to directories below `/usr`.
//!
//! Before Debian 13 packages have files below both; from then on `base-files` has the links.

use super::error::Fault;
use crate::layer::{Assembly, Attributes, Header, Kind, LayerError, Type};

/// The directories that are links.
const NAMES: [&[u8]; 6] = [b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libx32"];

/// What packages have of these directories.
#[derive(Debug, Default)]
pub(super) struct MergedUsr {
    /// Whether a package has something in it, or the directory.
    used: [bool; NAMES.len()],
    /// Whether a package has the link.
    linked: [bool; NAMES.len()],
}

impl MergedUsr {
    /// Where an entry at `path` belongs.
    pub(super) fn place(&mut self, path: &[u8], header: &Header) -> Result<Vec<u8>, Fault> {
        let Some(at) = position(path) else { return Ok(path.to_vec()) };
        if path != NAMES[at] || header.kind == Type::Directory {
            self.used[at] = true;
            return Ok(below_usr(path));
        }
        let target = header.link.strip_prefix(b"/").unwrap_or(&header.link);
        if header.kind != Type::Symlink || target != below_usr(path) {
            return Err(Fault::entry(path, "it is neither a directory nor a link to one in /usr"));
        }
        self.linked[at] = true;
        Ok(path.to_vec())
    }

    /// The names of the links that a root below must have.
    pub(super) fn needed(&self) -> impl Iterator<Item = &'static [u8]> {
        NAMES.iter().enumerate().filter(|(at, _)| self.used[*at] && !self.linked[*at]).map(|(_, name)| *name)
    }

    /// Makes the links that no package has.
    pub(super) fn link(&self, assembly: &mut Assembly, mtime: i64) -> Result<(), LayerError> {
        for (at, name) in NAMES.iter().enumerate() {
            if self.used[at] && !self.linked[at] {
                let of = Attributes { mode: 0o777, uid: 0, gid: 0, mtime };
                assembly.symlink(name, &below_usr(name), of)?;
            }
        }
        Ok(())
    }
}

/// Makes the links of all directories below `/usr` that the tree has, with the time `mtime`. A tree without `base-files` has no
/// package with them from Debian 13 on.
///
/// # Errors
/// The system's errors.
pub(crate) fn link_merged_usr(assembly: &mut Assembly, mtime: i64) -> Result<(), LayerError> {
    for name in NAMES {
        if assembly.kind(name).is_none() && assembly.kind(&below_usr(name)) == Some(Kind::Directory) {
            assembly.symlink(name, &below_usr(name), Attributes { mode: 0o777, uid: 0, gid: 0, mtime })?;
        }
    }
    Ok(())
}

/// The path of a file once the links are followed.
pub(super) fn resolved(path: &[u8]) -> Vec<u8> {
    if position(path).is_some() { below_usr(path) } else { path.to_vec() }
}

fn position(path: &[u8]) -> Option<usize> {
    let top = path.split(|byte| *byte == b'/').next()?;
    NAMES.iter().position(|name| *name == top)
}

fn below_usr(path: &[u8]) -> Vec<u8> {
    [b"usr/", path].concat()
}
