//! Names of tar entries: their meaning, and which of them are refused.

use crate::layer::{LayerError, Limits};
use crate::visible::visible_path;

/// What the name of an entry says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// A path without leading or trailing `/`, `.` or empty components; empty for the root.
    Plain(Vec<u8>),
    /// Hides this path of the layers below (OCI image spec, layer, "Whiteouts").
    Whiteout(Vec<u8>),
    /// Hides all that the layers below have in this directory ("Opaque Whiteout").
    Opaque(Vec<u8>),
    /// Book-keeping of AUFS in images of old: no part of the layer, as in Docker.
    Aufs,
}

pub(super) const WHITEOUT: &[u8] = b".wh.";
pub(super) const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS: [&[u8]; 3] = [b".wh..wh.aufs", b".wh..wh.plnk", b".wh..wh.orph"];

/// Longest name of a file, in bytes (Linux `NAME_MAX`).
const MAX_NAME: usize = 255;

/// Cleans a path, as the entry or the hard link target of one: a leading `/` means nothing.
///
/// # Errors
/// NUL, `..`, a name or path too long, too many names.
pub(super) fn clean(raw: &[u8], limits: &Limits) -> Result<Vec<u8>, LayerError> {
    if raw.len() > limits.path as usize {
        return Err(LayerError::entry(raw, "its path is too long"));
    }
    let mut path = Vec::with_capacity(raw.len());
    let mut depth = 0;
    for component in raw.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err(LayerError::entry(raw, "'..' in its path")),
            _ if component.contains(&0) => return Err(LayerError::entry(raw, "a NUL in its path")),
            _ if component.len() > MAX_NAME => return Err(LayerError::entry(raw, "a name in its path is too long")),
            _ => {}
        }
        depth += 1;
        if depth > limits.depth {
            return Err(LayerError::Deep { path: visible_path(raw), limit: limits.depth });
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(component);
    }
    Ok(path)
}

/// Cleans the path of an entry and tells what it means.
///
/// # Errors
/// As [`clean`]; a whiteout of nothing, of `.`, `..` or of a whiteout, or with something below it.
pub(super) fn name(raw: &[u8], limits: &Limits) -> Result<Name, LayerError> {
    let path = clean(raw, limits)?;
    let (parent, last) = split(&path);
    if path.split(|byte| *byte == b'/').any(|component| AUFS.contains(&component)) {
        return Ok(Name::Aufs);
    }
    if parent.split(|byte| *byte == b'/').any(|component| component.starts_with(WHITEOUT)) {
        return Err(LayerError::entry(raw, "its path leads through a whiteout"));
    }
    let Some(hidden) = last.strip_prefix(WHITEOUT) else {
        return Ok(Name::Plain(path));
    };
    if last == OPAQUE {
        return Ok(Name::Opaque(parent.to_vec()));
    }
    if matches!(hidden, b"" | b"." | b"..") || hidden.starts_with(WHITEOUT) {
        return Err(LayerError::entry(raw, "a whiteout of no file"));
    }
    Ok(Name::Whiteout(join(parent, hidden)))
}

/// Parent and last component; both empty for the root.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.iter().rposition(|byte| *byte == b'/').map_or((&[], path), |slash| (&path[..slash], &path[slash + 1..]))
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let plain = |text: &str| Some(Name::Plain(text.into()));
        let whiteout = |text: &str| Some(Name::Whiteout(text.into()));
        let opaque = |text: &str| Some(Name::Opaque(text.into()));
        for (raw, expected) in [
            ("usr/bin/cc", plain("usr/bin/cc")),
            ("./usr//bin/./cc/", plain("usr/bin/cc")),
            ("/etc/passwd", plain("etc/passwd")),
            ("//etc", plain("etc")),
            (".", plain("")),
            ("./", plain("")),
            ("/", plain("")),
            ("a..b/...", plain("a..b/...")),
            ("..", None),
            ("../x", None),
            ("a/../../x", None),
            ("a/..", None),
            ("a\0b", None),
            (".wh.x", whiteout("x")),
            ("a/.wh.x", whiteout("a/x")),
            ("a/.wh.....", whiteout("a/....")),
            (".wh..wh..opq", opaque("")),
            ("a/b/.wh..wh..opq", opaque("a/b")),
            (".wh.", None),
            ("a/.wh.", None),
            (".wh..", None),
            (".wh...", None),
            (".wh.a/b", None),
            ("x/.wh.a/b", None),
            (".wh..wh.x", None),
            (".wh..wh..opq/x", None),
            (".wh.x/.wh..wh..opq", None),
            (".wh..wh.plnk/1.2", Some(Name::Aufs)),
            (".wh..wh.aufs", Some(Name::Aufs)),
        ] {
            assert_eq!(name(raw.as_bytes(), &Limits::default()).ok(), expected, "{raw:?}");
        }
        let limits = Limits::default();
        assert!(name("x".repeat(255).as_bytes(), &limits).is_ok());
        assert!(name("x".repeat(256).as_bytes(), &limits).is_err());
        assert!(name("x/".repeat(2048).as_bytes(), &limits).is_err());
        assert!(name("x/./".repeat(256).as_bytes(), &limits).is_ok());
        let deep = name("x/".repeat(257).as_bytes(), &limits);
        assert!(matches!(deep, Err(LayerError::Deep { limit: 256, .. })), "{deep:?}");
    }
}
