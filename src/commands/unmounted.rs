//! What a failed command may have missed: the rest of the repository or workspace that the current directory belongs to.
//!
//! The command can have written the files that are read here. So a directory is named only if the command could not have
//! chosen it: one above the current directory that has a repository or workspace of the user's, or a repository that
//! names this worktree as its own.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Stat, fstat, lstat, stat, statat};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::commands::Context;
use crate::fs::beneath::{self, Links};
use crate::fs::opened::Opened;
use crate::fs::regular;
use crate::record::Run;
use crate::sandbox::Isolation;
use crate::toolchain::PROJECT_FILE;
use crate::visible::{is_hidden, quoted};

/// The directory or file by which git finds a repository.
const GIT: &str = ".git";
/// The file by which Cargo finds a package or workspace.
const MANIFEST: &str = "Cargo.toml";
/// Longest file of git's that is read, in bytes: it holds one path.
const MAX_POINTER: u64 = 8192;
/// Longest manifest that is read, in bytes.
const MAX_MANIFEST: u64 = 1 << 18;

/// A directory that was not mounted, and how to mount it. Displayed as a hint in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unmounted {
    /// What is missing, as the subject of a sentence.
    what: Vec<String>,
    /// Options that mount it.
    options: Vec<String>,
    /// The `hermes.toml` that can have it mounted instead.
    file: Option<PathBuf>,
}

impl fmt::Display for Unmounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.what.len() > 1 { "are" } else { "is" };
        let (what, options) = (self.what.join(" and "), self.options.join(" "));
        write!(f, "{what} {verb} not mounted; if the command needs it: {options}")?;
        match &self.file {
            Some(file) => write!(f, ", or [run] mount = \"project\" in {}", quoted(&file.to_string_lossy())),
            None => Ok(()),
        }
    }
}

/// The repository that a directory belongs to.
struct Repository {
    /// The directory that has to be mounted for git to find the repository.
    top: PathBuf,
    /// The common directory of the repository of a worktree.
    common: Option<Common>,
}

/// Where the repository of a worktree is.
struct Common {
    /// The worktree, whose `.git` is a file.
    worktree: PathBuf,
    /// The repository, without symbolic links in its path.
    path: PathBuf,
    /// The path that the worktree names it by, relative to the worktree or absolute.
    named: PathBuf,
}

/// A repository or workspace that was not mounted in the run of `record`, which was started in the current directory. A
/// directory that contains `home` is never named.
#[must_use]
pub(crate) fn find(context: &Context, record: &Run, home: Option<&Path>) -> Option<Unmounted> {
    let here = Opened::here().ok()?;
    let mounted: Vec<_> = record.binds.iter().filter_map(|bind| fs::canonicalize(&bind.source).ok()).collect();
    let is_mounted = |path: &Path| mounted.iter().any(|source| path.starts_with(source));
    let home = home.and_then(|home| fs::canonicalize(home).ok());
    let holds_home = |path: &Path| home.as_ref().is_some_and(|home| home.starts_with(path));
    let is_bare = record.request.isolation == Isolation::Landlock;
    let work = record.request.guest_overrides.work();
    let project = fs::canonicalize(&record.project.path).ok()?;
    if !(is_mounted(here.path()) && (is_bare || here.path().starts_with(&project))) {
        return None;
    }
    let repository = repository(&here).filter(|found| !holds_home(&found.top) || is_mounted(&found.top));
    let of_repository = repository.as_ref().map(|found| ("the repository", found.top.clone()));
    let of_workspace = workspace(&here).map(|top| ("the Cargo workspace", top));
    // The topmost holds the other.
    let top = of_repository.into_iter().chain(of_workspace).min_by_key(|(_, top)| top.as_os_str().len());
    let top = top.filter(|(_, top)| !is_mounted(top) && !holds_home(top));
    let common = repository.and_then(|found| found.common);
    let common = common.filter(|common| !is_mounted(&common.path) && !holds_home(&common.path));

    let mut unmounted = Unmounted { what: vec![], options: vec![], file: None };
    if let Some((what, top)) = &top {
        unmounted.what.push(format!("{what} {}", word(top)?));
        unmounted.options.push(if is_bare { format!("-v {}", word(top)?) } else { volume(top, work, "")? });
        if !is_bare {
            let inside = work.join(here.path().strip_prefix(top).ok()?);
            unmounted.options.push(format!("-w {}", word(&inside)?));
        }
        let has_file = |file: &Path| context.project.as_ref().is_none_or(|project| project.directory.path() == file);
        unmounted.file = (common.is_none() && has_file(top)).then(|| top.join(PROJECT_FILE));
    }
    if let Some(common) = &common {
        unmounted.what.push(format!("the repository of this worktree, {},", word(&common.path)?));
        let target = if is_bare {
            common.path.clone()
        } else {
            let root = top.as_ref().map_or(&project, |(_, top)| top);
            let worktree = work.join(common.worktree.strip_prefix(root).ok()?);
            beneath::plain(&worktree.join(&common.named))
        };
        // Who can write to a repository can have the user's own git run programs.
        unmounted.options.push(volume(&common.path, &target, ":ro")?);
    }
    (!unmounted.options.is_empty()).then_some(unmounted)
}

/// The repository that `here` belongs to, if it is this user's.
fn repository(here: &Opened) -> Option<Repository> {
    // The repository of a submodule is in that of a project above.
    let mut inner: Option<PathBuf> = None;
    for levels in 0..here.path().ancestors().count() {
        let directory = here.above(levels).ok()?;
        let found = match statat(&directory, GIT, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if is_own(&found) => found,
            Err(rustix::io::Errno::NOENT) => continue,
            _ => return None,
        };
        let top = directory.path().to_owned();
        let (common, path) = match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => match statat(&directory, ".git/HEAD", AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => (None, top.join(GIT)),
                // As git does.
                Err(_) => continue,
            },
            FileType::RegularFile => {
                let named = pointer(&directory, GIT)?;
                let Some(path) = common(&top, &named, &found) else {
                    // It is not opened: its path has to be in a repository that is found above.
                    inner.get_or_insert(beneath::plain(&top.join(&named)));
                    continue;
                };
                let named = beneath_worktrees(&named)?.to_owned();
                (Some(Common { worktree: top.clone(), path: path.clone(), named }), path)
            }
            _ => return None,
        };
        return inner.is_none_or(|inner| inner.starts_with(&path)).then_some(Repository { top, common });
    }
    None
}

/// The repository of the worktree at `top`, whose `.git` file has the stat `file` and says `named`: the directory of this
/// worktree in the repository, which has to name that file.
fn common(top: &Path, named: &Path, file: &Stat) -> Option<PathBuf> {
    beneath_worktrees(named)?;
    let own = fs::canonicalize(top.join(named)).ok()?;
    let path = beneath_worktrees(&own)?;
    let directory = Opened::directory(&own).ok()?;
    let back = lstat(own.join(pointer(&directory, "gitdir")?)).ok()?;
    let shared = fs::canonicalize(own.join(pointer(&directory, "commondir")?)).ok()?;
    let is_its = (back.st_dev, back.st_ino) == (file.st_dev, file.st_ino)
        && shared == path
        && stat(path).is_ok_and(|found| is_own(&found));
    is_its.then(|| path.to_owned())
}

/// The repository of which `own` is the directory of a worktree, by its name: `REPOSITORY/worktrees/NAME`.
fn beneath_worktrees(own: &Path) -> Option<&Path> {
    own.parent().filter(|parent| parent.ends_with("worktrees"))?.parent()
}

/// The workspace above `here` that its package belongs to, if all manifests on the way are this user's.
fn workspace(here: &Opened) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Manifest {
        workspace: Option<IgnoredAny>,
    }
    for levels in 0..here.path().ancestors().count() {
        let directory = here.above(levels).ok()?;
        let bytes = match own(&directory, MANIFEST, MAX_MANIFEST) {
            Ok(bytes) => bytes?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => return None,
        };
        let manifest: Manifest = toml::from_str(str::from_utf8(&bytes).ok()?).ok()?;
        if manifest.workspace.is_some() {
            return (levels > 0).then(|| directory.path().to_owned());
        }
    }
    None
}

/// The path that a file of git's holds.
fn pointer(directory: &Opened, name: &str) -> Option<PathBuf> {
    let text = own(directory, name, MAX_POINTER).ok()??;
    let text = text.trim_ascii_end();
    let path = if name == GIT { text.strip_prefix(b"gitdir: ")? } else { text };
    (!path.is_empty() && !path.contains(&0)).then(|| OsStr::from_bytes(path).into())
}

/// What a regular file holds; `None` where it is not this user's.
fn own(directory: &Opened, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = regular::open(directory, Path::new(name), Links::Refuse)?;
    if is_own(&fstat(&file)?) { regular::read(&file, limit).map(Some) } else { Ok(None) }
}

fn is_own(found: &Stat) -> bool {
    found.st_uid == rustix::process::geteuid().as_raw()
}

/// A path as a word of a command line, if it can be one of an option `-v` as it is.
fn word(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    let is_plain = !text.contains(':') && !text.chars().any(is_hidden);
    is_plain.then(|| quoted(text))
}

/// The option that mounts `source` at `target`.
fn volume(source: &Path, target: &Path, mode: &str) -> Option<String> {
    word(source).and(word(target))?;
    let both = target.file_name().and(Some(format!("{}:{}{mode}", source.to_str()?, target.to_str()?)))?;
    Some(format!("-v {}", quoted(&both)))
}
