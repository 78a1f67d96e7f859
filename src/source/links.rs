//! Where symbolic links lead, found out among names alone, before any link is made.

use crate::source::UnpackError;
use crate::source::names::has_controls;

/// As many links as the kernel follows in one path (`path_resolution(7)`).
const MAX_LINKS: usize = 40;
/// Longest target, in bytes (Linux `PATH_MAX` with its NUL).
const MAX_TARGET: usize = 4095;

/// Refuses the link at `path` to `target` if it leads out of the tree, however many others are on its way. `link` tells where
/// a path of the tree leads, if it is a link. One that leads nowhere, or in a circle, harms nobody.
///
/// # Errors
/// An absolute target, one that leads out, one that no kernel takes.
pub(super) fn check<'a>(
    path: &[u8],
    target: &[u8],
    link: impl Fn(&[u8]) -> Option<&'a [u8]>,
) -> Result<(), UnpackError> {
    if target.is_empty() || target.len() > MAX_TARGET || has_controls(target) {
        return Err(UnpackError::entry(path, "its target is no path"));
    }
    let mut here: Vec<Vec<u8>> = path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
    here.pop();
    let mut names = reversed(path, target)?;
    let mut followed = 0;
    while let Some(name) = names.pop() {
        if name == b".." {
            if here.pop().is_none() {
                return Err(UnpackError::entry(path, "the link leads out of the tree"));
            }
            continue;
        }
        here.push(name);
        if let Some(next) = link(&here.join(&b'/')) {
            followed += 1;
            if followed > MAX_LINKS {
                return Ok(());
            }
            here.pop();
            names.extend(reversed(path, next)?);
        }
    }
    Ok(())
}

/// The names in a target, the last one first.
fn reversed(path: &[u8], target: &[u8]) -> Result<Vec<Vec<u8>>, UnpackError> {
    if target.first() == Some(&b'/') {
        return Err(UnpackError::entry(path, "the link leads out of the tree: its target is absolute"));
    }
    let names = target.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    Ok(names.rev().map(<[u8]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn links_that_lead_out() {
        let all: BTreeMap<&[u8], &[u8]> = [
            (&b"a/b/up"[..], &b"../.."[..]),
            (b"self", b"self"),
            (b"one", b"two"),
            (b"two", b"one"),
            (b"deep", b"a/b/c"),
        ]
        .into();
        for (path, target, ok) in [
            ("x", "a", true),
            ("x", "a/../b", true),
            ("a/x", "../b", true),
            ("a/b/x", "../../c", true),
            ("a/b/x", "up/c", true),
            ("x", "nowhere/x", true),
            ("x", "self", true),
            ("x", "one/y", true),
            ("x", "..", false),
            ("x", "../x", false),
            ("a/x", "../../x", false),
            ("a/x", "b/../../../x", false),
            // By names alone these stay inside.
            ("a/b/x", "up/../y", false),
            ("x", "a/b/up/..", false),
            // And this one would seem to leave.
            ("x", "deep/../../y", true),
            ("x", "/etc/passwd", false),
            ("x", "", false),
            ("x", "a\nb", false),
        ] {
            let outcome = check(path.as_bytes(), target.as_bytes(), |path| all.get(path).copied());
            assert_eq!(outcome.is_ok(), ok, "{path} -> {target}");
        }
    }
}
