//! Resolves a path of the command: how far it exists, and its counterpart on the host.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use crate::sandbox::plan::{Mount, Plan};
use crate::sandbox::policy::{Bind, Shared};

/// Maximum number of symbolic links in a path: the kernel's limit (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// File at a path whose parents exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Missing,
    Link(PathBuf),
    Other,
}

impl Node {
    /// Looks up a path in this process's root.
    pub(super) fn look(path: &Path) -> Self {
        match path.symlink_metadata() {
            Ok(found) if found.is_symlink() => std::fs::read_link(path).map_or(Self::Other, Self::Link),
            Ok(_) => Self::Other,
            Err(_) => Self::Missing,
        }
    }
}

/// Result of resolving a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResolvedPath {
    /// Absolute path, without links as far as it exists.
    pub(super) path: PathBuf,
    /// First component that does not exist.
    pub(super) missing: Option<PathBuf>,
    /// Path on the host, if it was reached through a mounted directory.
    pub(super) outside: Option<PathBuf>,
    /// Whether it is in a mounted directory: what is missing there is missing outside.
    pub(super) is_mounted: bool,
}

/// Files of the host that are visible inside.
pub(super) fn binds(plan: &Plan) -> Vec<Bind> {
    let bind = |mount: &Mount| match mount {
        Mount::Bind(bind) | Mount::Shared(Shared { bind, .. }) => Some(bind.clone()),
        _ => None,
    };
    plan.mounts.iter().filter_map(bind).collect()
}

/// Bind that `path` is in: the innermost one, and of several at one place the last.
pub(super) fn bind_of<'a>(path: &Path, binds: &'a [Bind]) -> Option<&'a Bind> {
    binds.iter().filter(|bind| path.starts_with(&bind.target)).max_by_key(|bind| bind.target.components().count())
}

fn parts(path: &Path) -> impl DoubleEndedIterator<Item = &OsStr> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        Component::ParentDir => Some(OsStr::new("..")),
        _ => None,
    })
}

/// Resolves the absolute `path` as the kernel does, by what `look` sees. `..` from a mounted directory is followed
/// outside too: `../x` of a user who starts hermes in a directory means the file beside it.
pub(super) fn resolve(path: &Path, binds: &[Bind], look: impl Fn(&Path) -> Node) -> ResolvedPath {
    let mut here = PathBuf::from("/");
    let mut outside: Option<PathBuf> = None;
    let mut missing = None;
    let mut links = 0;
    let mut todo: VecDeque<OsString> = parts(path).map(OsStr::to_owned).collect();
    while let Some(part) = todo.pop_front() {
        if part == ".." {
            here.pop();
            if let Some(path) = &mut outside {
                path.pop();
            }
            continue;
        }
        let next = here.join(&part);
        if missing.is_none() {
            match look(&next) {
                Node::Missing => missing = Some(next.clone()),
                Node::Link(to) if links < MAX_LINKS => {
                    links += 1;
                    if to.is_absolute() {
                        here = PathBuf::from("/");
                        outside = None;
                    }
                    for part in parts(&to).rev() {
                        todo.push_front(part.to_owned());
                    }
                    continue;
                }
                _ => {}
            }
        }
        here = next;
        if let Some(path) = &mut outside {
            path.push(&part);
        }
        if let Some(bind) = binds.iter().rfind(|bind| bind.target == here) {
            outside = Some(bind.source.clone());
        }
    }
    let is_mounted = bind_of(&here, binds).is_some();
    ResolvedPath { path: here, missing, outside, is_mounted }
}

/// Directories that every image has: a file that is missing there is missing in the image, and is not to be mounted from
/// the host.
const OF_THE_IMAGE: &[&str] = &["bin", "boot", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys"];
/// The same below `/usr/local`, where hosts also have whole products.
const OF_LOCAL: &[&str] = &["bin", "etc", "games", "include", "lib", "lib64", "libexec", "man", "sbin", "share", "src"];
/// Files that C libraries and shells look for everywhere and do without.
const ASKED_BY_HABIT: &[&str] = &["/run/nscd", "/run/systemd", "/var/run/nscd", "/var/run/systemd", "/dev/log"];

/// Whether a missing `path` is not worth a report, even if the host has it.
pub(super) fn is_the_images_own(path: &Path) -> bool {
    let names: Vec<&str> = parts(path).map(|name| name.to_str().unwrap_or_default()).take(3).collect();
    match names[..] {
        ["usr", "local", name, ..] => OF_LOCAL.contains(&name),
        [] | ["usr", ..] => true,
        ["var", name, ..] => name != "run" || ASKED_BY_HABIT.iter().any(|asked| path.starts_with(asked)),
        [top, ..] => OF_THE_IMAGE.contains(&top) || ASKED_BY_HABIT.iter().any(|asked| path.starts_with(asked)),
    }
}

/// Whether the command line contains `path`.
pub(super) fn is_named(path: &str, argv: &[OsString]) -> bool {
    path.len() > 1 && argv.iter().any(|word| word.to_string_lossy().contains(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(source: &str, target: &str) -> Bind {
        Bind { source: source.into(), target: target.into(), read_only: false }
    }

    /// A root with `/work` mounted from `/home/me/project`, `/opt`, and links.
    fn look(path: &Path) -> Node {
        match path.to_str().unwrap() {
            "/work/link" => Node::Link("/opt/tool/cc".into()),
            "/work/up" => Node::Link("../beside/x".into()),
            "/work/loop" => Node::Link("/work/loop".into()),
            "/var/run" => Node::Link("/run".into()),
            "/" | "/work" | "/work/sub" | "/work/file" | "/opt" | "/var" | "/run" => Node::Other,
            _ => Node::Missing,
        }
    }

    #[test]
    fn paths_are_followed() {
        let binds = [bind("/home/me/project", "/work")];
        let text = |path: &Option<PathBuf>| path.as_ref().map_or("-".to_owned(), |path| path.display().to_string());
        for (path, want) in [
            ("/work/file", "/work/file - /home/me/project/file true"),
            ("/work/sub/no/such", "/work/sub/no/such /work/sub/no /home/me/project/sub/no/such true"),
            ("/work/sub/../../beside/x", "/beside/x /beside /home/me/beside/x false"),
            ("/work/link", "/opt/tool/cc /opt/tool - false"),
            ("/work/up", "/beside/x /beside /home/me/beside/x false"),
            ("/var/run/docker.sock", "/run/docker.sock /run/docker.sock - false"),
            ("/opt/./a//b", "/opt/a/b /opt/a - false"),
            ("/work/loop", "/work/loop - /home/me/project/loop true"),
            ("/../..", "/ - - false"),
        ] {
            let found = resolve(Path::new(path), &binds, look);
            let got = format!(
                "{} {} {} {}",
                found.path.display(),
                text(&found.missing),
                text(&found.outside),
                found.is_mounted
            );
            assert_eq!(got, want, "{path}");
        }
    }

    #[test]
    fn what_is_the_images_own() {
        for path in ["/", "/usr/bin/cmake", "/usr/local/bin/x", "/lib64/x", "/etc/x", "/var/lib/x", "/run/systemd/x"] {
            assert!(is_the_images_own(Path::new(path)), "{path}");
        }
        for path in
            ["/usr/local/cuda/bin", "/opt/x", "/home/me/x", "/var/run/docker.sock", "/run/x", "/tmp/x", "/dev/kvm"]
        {
            assert!(!is_the_images_own(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn what_is_named() {
        let argv: Vec<OsString> = ["sh", "-c", "cat /data/x; ls"].map(Into::into).into();
        assert!(is_named("/data/x", &argv) && !is_named("/data/y", &argv) && !is_named("/", &argv));
    }
}
