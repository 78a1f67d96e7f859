//! `hermes verify --compose`: composes the roots of a lockfile again, and compares them with it.

use std::path::PathBuf;

use serde::Serialize;

use crate::commands::acquire::{Acquirer, WantedRoot};
use crate::commands::{Context, Error, OwnError, TargetSelector};
use crate::digest::Digest;
use crate::hint::{ErrorKind, Hint, error_chain};
use crate::layer::{Entry, Toc};
use crate::lock::{Image, Layer, Lock, Root, RootKey, root_reference};
use crate::platform::Platform;
use crate::store::Store;
use crate::visible::visible_path;

/// Most differing paths of a root that are reported.
const MOST: usize = 10;

/// A root that was to be composed again.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Recomposed {
    /// Its toolchain.
    pub toolchain: String,
    /// The target platform.
    pub platform: Platform,
    /// The result.
    pub state: State,
    /// The manifest in the lockfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked: Option<Digest>,
    /// The manifest of the composed image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Digest>,
    /// The first paths that differ, each with what differs. None if the store does not have the locked layers.
    pub differences: Vec<String>,
}

/// The result of composing a root again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// It is the locked image.
    Same,
    /// It is another image.
    Different,
    /// It was not composed: the lockfile has no image of it, or nothing runs its programs.
    Unknown,
}

/// Errors of `hermes verify --compose`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    /// The lockfile has no such root.
    #[error("the lockfile {lock} has no root of packages{}", name.as_ref().map(|name| format!(" of the toolchain '{name}'")).unwrap_or_default())]
    NoRoot {
        /// The lock file.
        lock: PathBuf,
        /// The toolchain, if one was named.
        name: Option<String>,
    },
}

impl OwnError for VerifyError {}

impl Hint for VerifyError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }

    fn hints(&self) -> Vec<String> {
        vec!["only toolchains of packages are composed; lock one first: hermes lock --toolchain NAME".to_owned()]
    }
}

/// Composes the locked roots again, of the toolchains `names` or all, from their packages and in a store of their own, and compares
/// them with the lock.
///
/// # Errors
/// No such root; packages that are gone or changed; a script that fails. A difference is no error: it is reported.
pub(crate) fn compose(context: &Context, names: &[String]) -> Result<Vec<Recomposed>, Error> {
    let file = context.lock_of(&context.toolchain(names.first().cloned()));
    let lock = file.read()?;
    let missing = names.iter().find(|name| !lock.roots.keys().any(|(toolchain, _)| toolchain == *name));
    if missing.is_some() || lock.roots.is_empty() {
        let (lock, name) = (file.path().to_owned(), missing.map(|name| name.escape_default().to_string()));
        return Err(VerifyError::NoRoot { lock, name }.into());
    }
    let is_wanted = |(toolchain, _): &RootKey| names.is_empty() || names.contains(toolchain);
    let roots = lock.roots.iter().filter(|(key, _)| is_wanted(key));
    let store = context.open_store()?;
    let mut lease = store.lease();
    let mut acquirer = Acquirer::new(context, &store, &mut lease);
    // Nothing that was composed before is in it.
    let place = store.scratch()?;
    let scratch = Store::open(&place.path().join("store"))?.with_limits(*store.limits());
    roots.map(|(key, root)| one(&mut acquirer, &scratch, &lock, key, root)).collect()
}

fn one(
    acquirer: &mut Acquirer<'_>,
    scratch: &Store,
    lock: &Lock,
    (toolchain, target): &RootKey,
    root: &Root,
) -> Result<Recomposed, Error> {
    let (context, store, platform) = (acquirer.context, acquirer.store, root.platform);
    let mut result = Recomposed {
        toolchain: toolchain.clone(),
        platform: *target,
        state: State::Unknown,
        locked: None,
        found: None,
        differences: vec![],
    };
    let Some(reference) = root_reference(toolchain, *target, platform) else { return Ok(result) };
    let Some(locked) = lock.images.get(&(reference.clone(), platform)) else { return Ok(result) };
    result.locked = Some(locked.manifest.digest);
    acquirer.hold_image(locked);
    let is_foreign = !Platform::host().runs(platform);
    let emulator = lock.emulators.get(&platform).filter(|emulator| is_foreign && store.has_blob(&emulator.blob()));
    if emulator.is_none() && is_foreign {
        return Ok(result);
    }
    let archives = lock.archives_of(root).unwrap_or_default();
    let selector =
        TargetSelector { platform: Some(*target), toolchain: Some(toolchain.clone()), ..TargetSelector::default() };
    let packages = context.choose(selector).ok().and_then(|target| target.packages);
    let wanted = WantedRoot {
        reference: &reference,
        toolchain: Some(toolchain),
        packages: packages.as_ref(),
        root,
        archives: &archives,
        locked: None,
        emulator,
    };
    let image = acquirer.composed_again(wanted, scratch)?;
    result.found = Some(image.manifest.digest);
    result.state = if image.manifest == locked.manifest { State::Same } else { State::Different };
    if result.state == State::Different {
        result.differences = differences((store, locked), (scratch, &image)).unwrap_or_else(|error| {
            context.reporter.warn(&error_chain(&error));
            vec![]
        });
    }
    Ok(result)
}

/// The first paths in the layers of two images that differ.
fn differences(first: (&Store, &Image), second: (&Store, &Image)) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for (locked, composed) in first.1.layers.iter().zip(&second.1.layers) {
        let toc = |store: &Store, layer: &Layer| store.has_layer(&layer.diff_id).then(|| store.toc(&layer.diff_id));
        let (Some(locked), Some(composed)) = (toc(first.0, locked), toc(second.0, composed)) else { continue };
        found.extend(between(&locked?, &composed?).take(MOST - found.len()));
    }
    Ok(found)
}

/// The paths of two layers that differ, each with what differs.
fn between<'a>(first: &'a Toc, second: &'a Toc) -> impl Iterator<Item = String> + 'a {
    let mut one = first.entries.iter().peekable();
    let mut other = second.entries.iter().peekable();
    std::iter::from_fn(move || {
        loop {
            let (path, what) = match (one.peek(), other.peek()) {
                (None, None) => return None,
                (Some(a), Some(b)) if a.path == b.path => {
                    let (a, b) = (one.next()?, other.next()?);
                    match part(a, b) {
                        None => continue,
                        Some(part) => (&a.path, part),
                    }
                }
                (Some(a), b) if b.is_none_or(|b| a.path < b.path) => (&one.next()?.path, "only in the locked root"),
                _ => (&other.next()?.path, "only in the composed root"),
            };
            return Some(format!("/{}: {what}", visible_path(path)));
        }
    })
}

/// What differs of an entry; `None` if it is the same.
fn part(a: &Entry, b: &Entry) -> Option<&'static str> {
    let parts = [
        (a.kind != b.kind, "kind of file"),
        (a.digest != b.digest || a.size != b.size, "content"),
        (a.link != b.link, "target"),
        (a.mode != b.mode, "mode"),
        ((a.uid, a.gid) != (b.uid, b.gid), "owner"),
        (a.mtime != b.mtime, "time"),
        (a != b, "attributes"),
    ];
    parts.into_iter().find(|(differs, _)| *differs).map(|(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Kind;

    #[test]
    fn paths_that_differ_are_named_in_their_order() {
        let entry = |path: &str| Entry { path: path.into(), kind: Kind::File, ..Entry::implied() };
        let first = Toc { entries: vec![entry("a"), entry("b"), entry("c"), entry("e"), entry("f")] };
        let changed = Entry { mode: 0o4755, ..entry("e") };
        let other = Entry { digest: Some(Digest::of(b"f")), ..entry("f") };
        let second = Toc { entries: vec![entry("a"), entry("c"), entry("d"), changed, other, entry("g")] };
        let expected = [
            "/b: only in the locked root",
            "/d: only in the composed root",
            "/e: mode",
            "/f: content",
            "/g: only in the composed root",
        ];
        assert_eq!(between(&first, &second).collect::<Vec<_>>(), expected);
        assert_eq!(between(&first, &first).count(), 0);
    }
}
