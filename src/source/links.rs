//! Resolving symbolic links by names alone, before any link is created.

use crate::source::UnpackError;
use crate::source::entry_path::{MAX_DEPTH, has_controls};

/// Most links that the kernel follows in one path (`path_resolution(7)`).
const MAX_LINKS: usize = 40;
/// Longest target, in bytes (Linux `PATH_MAX` with its NUL).
const MAX_TARGET: usize = 4095;

/// Most lookups for all links of a tree together. Ordinary links need a few each.
pub(super) const MAX_STEPS: u64 = 10_000_000;

/// Refuses the link at `path` to `target` if it leads out of the tree, directly or through other links. `link` returns the
/// target of a path of the tree, if that is a link. Dangling links and loops are harmless. `steps` counts the lookups so far.
///
/// # Errors
/// A target that is absolute, leads out of the tree or is invalid; more than [`MAX_STEPS`] lookups.
pub(super) fn check<'a>(
    path: &[u8],
    target: &'a [u8],
    steps: &mut u64,
    link: impl Fn(&[u8]) -> Option<&'a [u8]>,
) -> Result<(), UnpackError> {
    if target.is_empty() || target.len() > MAX_TARGET || has_controls(target) {
        return Err(UnpackError::entry(path, "its target is not a path"));
    }
    // The path so far, and the number of its components.
    let mut here = path.iter().rposition(|byte| *byte == b'/').map_or(vec![], |slash| path[..slash].to_vec());
    let mut depth = if here.is_empty() { 0 } else { here.split(|byte| *byte == b'/').count() };
    let mut names: Vec<&[u8]> = reversed(path, target)?.collect();
    let mut followed = 0;
    while let Some(name) = names.pop() {
        *steps += 1;
        if *steps > MAX_STEPS {
            return Err(UnpackError::Limit { what: "steps on the way to the targets of links", limit: MAX_STEPS });
        }
        let parent = here.len();
        if name == b".." {
            let Some(above) = depth.checked_sub(1) else {
                return Err(UnpackError::entry(path, "the link leads out of the tree"));
            };
            depth = above;
            here.truncate(here.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
            continue;
        }
        if depth > 0 {
            here.push(b'/');
        }
        here.extend_from_slice(name);
        depth += 1;
        // There is no entry below.
        if let Some(next) = if depth <= MAX_DEPTH { link(&here) } else { None } {
            followed += 1;
            if followed > MAX_LINKS {
                return Ok(());
            }
            here.truncate(parent);
            depth -= 1;
            names.extend(reversed(path, next)?);
        }
    }
    Ok(())
}

/// The components of a target, last first.
fn reversed<'a>(path: &[u8], target: &'a [u8]) -> Result<impl Iterator<Item = &'a [u8]>, UnpackError> {
    if target.first() == Some(&b'/') {
        return Err(UnpackError::entry(path, "the link leads out of the tree: its target is absolute"));
    }
    Ok(target.rsplit(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")))
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
            // Without following links these stay inside.
            ("a/b/x", "up/../y", false),
            ("x", "a/b/up/..", false),
            // Without following links this one would lead out.
            ("x", "deep/../../y", true),
            ("x", "/etc/passwd", false),
            ("x", "", false),
            ("x", "a\nb", false),
        ] {
            let outcome = check(path.as_bytes(), target.as_bytes(), &mut 0, |path| all.get(path).copied());
            assert_eq!(outcome.is_ok(), ok, "{path} -> {target}");
        }
    }
    #[test]
    fn the_steps_of_all_links_are_counted() {
        // A chain of links: each check follows forty.
        let wandering = b"x/../".repeat(800);
        let target = |at: u32| [&wandering[..], format!("l{at}").as_bytes()].concat();
        let all: BTreeMap<Vec<u8>, Vec<u8>> =
            (0..1000).map(|at| (format!("l{at}").into_bytes(), target(at + 1))).collect();
        let mut steps = MAX_STEPS - 100_000;
        let outcome = all
            .iter()
            .try_for_each(|(path, target)| check(path, target, &mut steps, |path| all.get(path).map(Vec::as_slice)));
        assert!(matches!(outcome, Err(UnpackError::Limit { limit: MAX_STEPS, .. })), "{outcome:?}");
        assert_eq!(steps, MAX_STEPS + 1);
    }
}
