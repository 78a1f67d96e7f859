//! Paths in archives of sources.

use crate::source::UnpackError;

/// Longest name of a file, in bytes (Linux `NAME_MAX`).
const MAX_NAME: usize = 255;
/// Longest path, in bytes (Linux `PATH_MAX` with its NUL).
const MAX_PATH: usize = 4095;
/// Most components of a path.
pub(super) const MAX_DEPTH: usize = 256;

/// Splits a path in an archive into components, without `.` and repeated slashes.
///
/// # Errors
/// An absolute path, `..`, control characters, a component or path that is too long, too many components.
pub(super) fn components(raw: &[u8]) -> Result<Vec<&[u8]>, UnpackError> {
    let refuse = |why: &str| Err(UnpackError::entry(raw, why));
    if raw.first() == Some(&b'/') {
        return refuse("its path is absolute");
    }
    if raw.len() > MAX_PATH {
        return refuse("its path is too long");
    }
    if has_controls(raw) {
        return refuse("a control character in its path");
    }
    let mut components = Vec::new();
    for component in raw.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return refuse("'..' in its path"),
            _ if component.len() > MAX_NAME => return refuse("a component of its path is too long"),
            _ if components.len() == MAX_DEPTH => return refuse("its path has more than 256 components"),
            _ => components.push(component),
        }
    }
    Ok(components)
}

/// Strips the first `strip` components of a path. The result may be empty.
pub(super) fn stripped(raw: &[u8], strip: u32) -> Result<Vec<u8>, UnpackError> {
    let components = components(raw)?;
    Ok(components.get(strip as usize..).unwrap_or_default().join(&b'/'))
}

/// Whether `text` has control characters, which would affect a terminal or a reader of lines.
pub(super) fn has_controls(text: &[u8]) -> bool {
    text.iter().any(u8::is_ascii_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (raw, strip, want) in [
            ("a/b/c", 0, Some("a/b/c")),
            ("./a//b/./c/", 1, Some("b/c")),
            ("a/b", 2, Some("")),
            ("a", 5, Some("")),
            (".", 0, Some("")),
            (".wh.a/.wh..wh..opq", 0, Some(".wh.a/.wh..wh..opq")),
            ("a..b/...", 0, Some("a..b/...")),
            ("/a", 0, None),
            ("//a", 1, None),
            ("..", 1, None),
            ("../x", 1, None),
            ("a/../b", 0, None),
            ("a/..", 0, None),
            ("a\0b", 0, None),
            ("a\nb", 0, None),
            ("a\x1b[2Jb", 0, None),
            ("a\x7fb", 0, None),
        ] {
            assert_eq!(stripped(raw.as_bytes(), strip).ok(), want.map(|want| want.as_bytes().to_vec()), "{raw:?}");
        }
        assert!(stripped("x".repeat(255).as_bytes(), 0).is_ok());
        assert!(stripped("x".repeat(256).as_bytes(), 0).is_err());
        assert!(stripped("x/".repeat(2048).as_bytes(), 0).is_err());
        assert!(stripped("x/".repeat(256).as_bytes(), 0).is_ok());
        assert!(stripped("x/".repeat(257).as_bytes(), 0).is_err());
    }
}
