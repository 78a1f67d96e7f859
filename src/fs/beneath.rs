//! Opening of paths beneath a directory that acts as the root: no link leads out of it.
//!
//! openat2(2) does this (Linux 5.6). On older kernels hermes walks component by component: each is opened
//! `O_PATH | O_NOFOLLOW` in the one before, so that swapping a directory for a link during the walk has no effect.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FileType, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstat, fstatfs, openat, openat2, readlinkat};
use rustix::io::Errno;

/// As many links as the kernel follows in one path (`path_resolution(7)`).
const MAX_LINKS: usize = 40;
/// Longest path the kernel takes, its end included (`PATH_MAX`).
const MAX_PATH: usize = 4096;
/// The inode of the root of every procfs (`PROC_ROOT_INO`), whose links are plain text.
const PROC_ROOT: u64 = 1;

const HERE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Whether this kernel, or a filter around this process, was found to have no openat2.
static LACKING: AtomicBool = AtomicBool::new(false);

/// What happens to symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// They are followed, with `root` as their root.
    Follow,
    /// They are an error (ELOOP).
    Refuse,
}

/// `path` without `.` and `..`, by its words alone.
#[must_use]
pub(crate) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// Names what `path` leads to in `root` (`O_PATH`). Links of procfs that are no text (`/proc/PID/root`) are refused.
pub(crate) fn find(root: impl AsFd, path: &Path, links: Links) -> Result<OwnedFd, Errno> {
    open(root, path, OFlags::PATH, links)
}

/// Opens what `path` leads to in `root`, as `flags` say, which must create nothing.
///
/// # Errors
/// As [`find`], and those of opening.
pub(crate) fn open(root: impl AsFd, path: &Path, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
    if !LACKING.load(Ordering::Relaxed) {
        match by_kernel(root.as_fd(), path, flags, links) {
            // EPERM is what older container engines answer to calls they do not know; openat2 has no use for it.
            Err(Errno::NOSYS | Errno::PERM) => LACKING.store(true, Ordering::Relaxed),
            result => return result,
        }
    }
    by_hand(root.as_fd(), path, flags, links)
}

fn by_kernel(root: BorrowedFd<'_>, path: &Path, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
    let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    if links == Links::Refuse {
        resolve |= ResolveFlags::NO_SYMLINKS;
    }
    let path = if path.as_os_str().is_empty() { Path::new("/") } else { path };
    loop {
        // EAGAIN: a rename elsewhere raced with the walk (openat2(2)).
        match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            result => return result,
        }
    }
}

fn by_hand(root: BorrowedFd<'_>, path: &Path, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
    if path.as_os_str().len() >= MAX_PATH {
        return Err(Errno::NAMETOOLONG);
    }
    let found = walk(root, path, links)?;
    if flags.contains(OFlags::PATH) {
        return Ok(found);
    }
    // The link of a descriptor in procfs opens the file itself, not what its path leads to now.
    openat(root, format!("/proc/self/fd/{}", found.as_raw_fd()), flags | OFlags::CLOEXEC, Mode::empty())
}

fn walk(root: BorrowedFd<'_>, path: &Path, links: Links) -> Result<OwnedFd, Errno> {
    let top = openat(root, ".", HERE | OFlags::DIRECTORY, Mode::empty())?;
    // The way back for "..": what has been walked through, the root first.
    let mut way: Vec<OwnedFd> = vec![top];
    let mut names = reversed(path.as_os_str().as_bytes());
    let mut followed = 0;
    while let Some(name) = names.pop() {
        let Some(here) = way.last() else { return Err(Errno::NOENT) };
        match name.as_slice() {
            // Only a directory may be followed by a slash.
            b"" | b"." => is_directory(here)?,
            b".." => {
                is_directory(here)?;
                if way.len() > 1 {
                    way.pop();
                }
            }
            name => {
                let next = openat(here, name, HERE, Mode::empty())?;
                if FileType::from_raw_mode(fstat(&next)?.st_mode) != FileType::Symlink {
                    way.push(next);
                    continue;
                }
                followed += 1;
                if links == Links::Refuse || followed > MAX_LINKS || is_magic(here, &next)? {
                    return Err(Errno::LOOP);
                }
                let target = readlinkat(&next, c"", Vec::new())?.into_bytes();
                if target.first() == Some(&b'/') {
                    way.truncate(1);
                }
                names.extend(reversed(&target));
            }
        }
    }
    way.pop().ok_or(Errno::NOENT)
}

/// The components of a path, the last one first; an empty one stands for a slash at its end.
fn reversed(path: &[u8]) -> Vec<Vec<u8>> {
    let slash = path.ends_with(b"/").then(Vec::new);
    let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec);
    let mut names: Vec<_> = names.chain(slash).collect();
    names.reverse();
    names
}

fn is_directory(fd: &OwnedFd) -> Result<(), Errno> {
    if FileType::from_raw_mode(fstat(fd)?.st_mode).is_dir() { Ok(()) } else { Err(Errno::NOTDIR) }
}

/// Whether following the link would leave by a door of the kernel's: those of procfs, but in its root directory.
fn is_magic(parent: &OwnedFd, link: &OwnedFd) -> Result<bool, Errno> {
    Ok(fstatfs(link)?.f_type == PROC_SUPER_MAGIC && fstat(parent)?.st_ino != PROC_ROOT)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    type Open = fn(BorrowedFd<'_>, &Path, OFlags, Links) -> Result<OwnedFd, Errno>;

    /// Both ways, where this kernel has both.
    fn ways() -> Vec<(&'static str, Open)> {
        let mut ways: Vec<(&'static str, Open)> = vec![("by hand", by_hand)];
        let root = fs::File::open("/").unwrap();
        if by_kernel(root.as_fd(), Path::new(""), OFlags::PATH, Links::Follow).is_ok() {
            ways.push(("by the kernel", by_kernel));
        }
        ways
    }

    /// What a table says of a path: the content of the file or the name of the directory found, or the error.
    fn seen(open: Open, root: &fs::File, path: &str, links: Links) -> Result<String, Errno> {
        let found = fs::File::from(open(root.as_fd(), Path::new(path), OFlags::PATH, links)?);
        if found.metadata().unwrap().is_dir() {
            let marks = fs::read_dir(format!("/proc/self/fd/{}", found.as_raw_fd())).unwrap();
            let mut marks: Vec<_> = marks.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            marks.retain(|name| name.starts_with("mark-"));
            return Ok(marks.join(" "));
        }
        let mut text = String::new();
        fs::File::from(open(root.as_fd(), Path::new(path), OFlags::RDONLY, links)?).read_to_string(&mut text).unwrap();
        Ok(text)
    }

    fn tree() -> (tempfile::TempDir, fs::File) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        for directory in ["root/usr/bin", "root/a/b/c", "outside"] {
            fs::create_dir_all(dir.path().join(directory)).unwrap();
            fs::write(dir.path().join(directory).join(format!("mark-{}", directory.rsplit('/').next().unwrap())), "")
                .unwrap();
        }
        fs::write(root.join("mark-root"), "").unwrap();
        fs::write(dir.path().join("outside/file"), "outside").unwrap();
        fs::write(root.join("usr/bin/tool"), "tool").unwrap();
        fs::write(root.join("outside"), "inside").unwrap();
        let up = "../".repeat(30);
        for (name, target) in [
            ("bin", "usr/bin"),
            ("absolute", "/usr/bin/tool"),
            ("slash", "/usr/bin/"),
            ("file-slash", "/usr/bin/tool/"),
            ("dot", "."),
            ("self", "self"),
            ("one", "two"),
            ("two", "one"),
            ("dangling", "nowhere"),
            ("out", "../outside/file"),
            ("escape", &format!("{up}{}/outside/file", dir.path().display())),
            ("host", &format!("{}/outside/file", dir.path().display())),
            ("up", &up),
            ("a/b/up", "../../usr/bin"),
            ("a/b/round", "/a/../a/./b//c/"),
            ("through", "bin/tool"),
        ] {
            symlink(target, root.join(name)).unwrap();
        }
        for at in 0..50 {
            symlink(
                if at == 0 { "usr".to_owned() } else { format!("chain-{}", at - 1) },
                root.join(format!("chain-{at}")),
            )
            .unwrap();
        }
        let root = fs::File::open(root).unwrap();
        (dir, root)
    }

    #[test]
    fn both_ways_lead_to_the_same() {
        let (_dir, root) = tree();
        let long = "x".repeat(300);
        let too_long = "a/b/../../".repeat(500);
        for (path, want) in [
            ("", Ok("mark-root")),
            ("/", Ok("mark-root")),
            ("..", Ok("mark-root")),
            ("../../a", Ok("")),
            ("/../../../a/b", Ok("")),
            ("bin/tool", Ok("tool")),
            ("bin/../bin", Ok("mark-bin")),
            ("absolute", Ok("tool")),
            ("absolute/", Err(Errno::NOTDIR)),
            ("absolute/..", Err(Errno::NOTDIR)),
            ("usr/bin/tool/.", Err(Errno::NOTDIR)),
            ("usr/bin/tool/x", Err(Errno::NOTDIR)),
            ("slash", Ok("mark-bin")),
            ("file-slash", Err(Errno::NOTDIR)),
            ("dot/dot/./dot", Ok("mark-root")),
            ("self", Err(Errno::LOOP)),
            ("one", Err(Errno::LOOP)),
            ("dangling", Err(Errno::NOENT)),
            ("nowhere/x", Err(Errno::NOENT)),
            ("out", Err(Errno::NOTDIR)),
            ("escape", Err(Errno::NOENT)),
            ("host", Err(Errno::NOENT)),
            ("up", Ok("mark-root")),
            ("up/outside", Ok("inside")),
            ("a/b/up", Ok("mark-bin")),
            ("a/b/up/tool", Ok("tool")),
            ("a/b/round", Ok("mark-c")),
            ("a/b/round/..", Ok("")),
            ("through", Ok("tool")),
            ("chain-39/bin", Ok("mark-bin")),
            ("chain-40/bin", Err(Errno::LOOP)),
            (&long, Err(Errno::NAMETOOLONG)),
            (&too_long, Err(Errno::NAMETOOLONG)),
        ] {
            for (way, open) in ways() {
                assert_eq!(seen(open, &root, path, Links::Follow), want.map(str::to_owned), "{path:?} {way}");
            }
        }
    }

    #[test]
    fn where_links_are_refused() {
        let (_dir, root) = tree();
        for (path, want) in [
            ("usr/bin/tool", Ok("tool")),
            ("a/../usr/bin", Ok("mark-bin")),
            ("bin/tool", Err(Errno::LOOP)),
            ("absolute", Err(Errno::LOOP)),
            ("dangling", Err(Errno::LOOP)),
            ("a/b/up", Err(Errno::LOOP)),
        ] {
            for (way, open) in ways() {
                assert_eq!(seen(open, &root, path, Links::Refuse), want.map(str::to_owned), "{path:?} {way}");
            }
        }
    }

    #[test]
    fn the_doors_of_procfs_are_shut() {
        let root = fs::File::open("/").unwrap();
        let pid = std::process::id();
        for path in ["/proc/self/root/etc", "/proc/self/cwd", "/proc/thread-self/fd/0", &format!("/proc/{pid}/exe")] {
            for (way, open) in ways() {
                assert_eq!(
                    open(root.as_fd(), Path::new(path), OFlags::PATH, Links::Follow).map(drop),
                    Err(Errno::LOOP),
                    "{path} {way}"
                );
            }
        }
        // Its links that are text are links like others.
        for (way, open) in ways() {
            let mounts = open(root.as_fd(), Path::new("/proc/mounts"), OFlags::PATH, Links::Follow);
            let inode =
                fs::File::from(mounts.unwrap_or_else(|errno| panic!("{errno} {way}"))).metadata().unwrap().ino();
            assert_eq!(inode, fs::metadata(format!("/proc/{pid}/mounts")).unwrap().ino(), "{way}");
        }
    }
}
