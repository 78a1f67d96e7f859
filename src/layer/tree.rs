//! The tree on disk, changed through directory descriptors only.
//!
//! A directory is opened component by component, each `O_NOFOLLOW` and relative to the one before, as `openat2` does with
//! `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`, on every kernel. Since the entries of a tar are neighbours, the descriptors of the
//! last path save nearly every walk. Nothing is changed by path, so swapping a directory for a symlink has no effect
//! (CVE-2025-47290).

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use crate::fs::{copy, remove};
use crate::layer::path::split;

/// Descriptors that stay open at each end of the way to the last directory: of its topmost directories, and of its
/// deepest ones. The next entry of a tar is nearly always a neighbour of the last one.
const KEPT: usize = 16;
const OPEN_DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Xattrs of a tar that change what overlayfs does, and so are never applied, begin so.
const OVERLAY: &[u8] = b"user.overlay.";
/// The xattr of an opaque directory; its value is `y`.
pub(super) const OPAQUE: &str = "user.overlay.opaque";

pub(super) struct Tree {
    root: Arc<OwnedFd>,
    /// The directories on the way to the last one opened, topmost first.
    way: Vec<Step>,
    /// How many directories were opened.
    #[cfg(test)]
    pub(super) opened: u64,
}

/// A directory on the way to the last one opened.
struct Step {
    name: Vec<u8>,
    /// `None` where it was closed, so that the depth of a tree costs no descriptors.
    directory: Option<Arc<OwnedFd>>,
}

impl Tree {
    /// The tree whose root is the directory `root`.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let root = rustix::fs::open(root, OPEN_DIR, Mode::empty())?;
        Ok(Self {
            root: Arc::new(root),
            way: Vec::new(),
            #[cfg(test)]
            opened: 0,
        })
    }

    /// Opens a directory of the tree.
    pub(super) fn directory(&mut self, path: &[u8]) -> io::Result<&Arc<OwnedFd>> {
        let components: Vec<_> = path.split(|byte| *byte == b'/').filter(|component| !component.is_empty()).collect();
        let same = self.way.iter().zip(&components).take_while(|(step, component)| step.name == **component).count();
        // What was closed on the way has to be opened again, from the last one above it that is open.
        let open = self.way[..same].iter().rposition(|step| step.directory.is_some()).map_or(0, |last| last + 1);
        self.way.truncate(open);
        for component in &components[open..] {
            let directory = Arc::new(rustix::fs::openat(self.last(), *component, OPEN_DIR, Mode::empty())?);
            #[cfg(test)]
            {
                self.opened += 1;
            }
            self.way.push(Step { name: component.to_vec(), directory: Some(directory) });
            if let Some(passed) = self.way.len().checked_sub(KEPT + 1).filter(|passed| *passed >= KEPT) {
                self.way[passed].directory = None;
            }
        }
        Ok(self.last())
    }

    fn last(&self) -> &Arc<OwnedFd> {
        self.way.last().and_then(|step| step.directory.as_ref()).unwrap_or(&self.root)
    }

    /// Makes a directory that only we may enter until [`Self::finish_directory`].
    pub(super) fn make_directory(&mut self, path: &[u8]) -> io::Result<()> {
        let (parent, name) = split(path);
        Ok(rustix::fs::mkdirat(self.directory(parent)?, name, Mode::RWXU)?)
    }

    /// Makes an empty file, open for writing.
    pub(super) fn make_file(&mut self, path: &[u8]) -> io::Result<File> {
        let (parent, name) = split(path);
        create(self.directory(parent)?, name)
    }

    /// Makes a symlink. Its target is only text.
    pub(super) fn make_symlink(&mut self, path: &[u8], target: &[u8], mtime: (i64, u32)) -> io::Result<()> {
        let (parent, name) = split(path);
        let parent = self.directory(parent)?;
        rustix::fs::symlinkat(target, parent, name)?;
        Ok(rustix::fs::utimensat(parent, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Gives the file `target`, which must not be a directory, another name. `false` where that cannot be.
    pub(super) fn make_hardlink(&mut self, path: &[u8], target: &[u8]) -> io::Result<bool> {
        let (from, old) = split(target);
        let (to, new) = split(path);
        let from = Arc::clone(self.directory(from)?);
        #[cfg(test)]
        if WITHOUT_LINKS.get() {
            return Ok(false);
        }
        // Without AT_SYMLINK_FOLLOW the name itself is linked, symlink or not.
        match rustix::fs::linkat(from, old, self.directory(to)?, new, AtFlags::empty()) {
            Err(error) if takes_no_link(error) => Ok(false),
            linked => Ok(linked.map(|()| true)?),
        }
    }

    /// Makes a file like `target`, for want of a hard link.
    pub(super) fn make_copy(&mut self, path: &[u8], target: &[u8]) -> io::Result<File> {
        let (parent, name) = split(target);
        let from = open_file(self.directory(parent)?.as_fd(), name)?;
        let copy = self.make_file(path)?;
        copy::content(from, &copy)?;
        Ok(copy)
    }

    /// Makes a whiteout as overlayfs knows it: a character device 0/0. `false` where only root may,
    /// as before Linux 5.8, or the file system cannot.
    pub(super) fn make_whiteout(&mut self, path: &[u8]) -> io::Result<bool> {
        let (parent, name) = split(path);
        let device = rustix::fs::makedev(0, 0);
        match rustix::fs::mknodat(self.directory(parent)?, name, FileType::CharacterDevice, Mode::empty(), device) {
            Ok(()) => Ok(true),
            Err(Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes anything, directories with all that is in them.
    pub(super) fn remove(&mut self, path: &[u8]) -> io::Result<()> {
        let (parent, name) = split(path);
        remove::tree(self.directory(parent)?.as_fd(), name)
    }

    /// Gives a directory, after all in it is written, its final mode, marks and time. `false` where
    /// the opaque mark could not be set.
    pub(super) fn finish_directory(
        &mut self,
        path: &[u8],
        mode: u16,
        mtime: (i64, u32),
        xattrs: &BTreeMap<Vec<u8>, Vec<u8>>,
        opaque: bool,
    ) -> io::Result<bool> {
        let directory = self.directory(path)?.as_fd();
        apply(directory, xattrs);
        let marked = !opaque
            || match rustix::fs::fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty()) {
                Ok(()) => true,
                Err(Errno::NOTSUP | Errno::PERM) => false,
                Err(error) => return Err(error.into()),
            };
        rustix::fs::fchmod(directory, directory_mode(mode))?;
        rustix::fs::futimens(directory, &times(mtime))?;
        Ok(marked)
    }
}

#[cfg(test)]
thread_local! {
    /// Whether hard links that this thread makes fail as on a file system without them.
    pub(super) static WITHOUT_LINKS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Makes an empty file in `directory`, open for writing, that only we may open until [`finish_file`].
pub(super) fn create(directory: &OwnedFd, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?.into())
}

/// Opens the file `name` of a directory, and nothing else.
pub(super) fn open_file(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(directory, name, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Whether a hard link was refused for a reason that does not keep a copy from being made: too many links, links
/// forbidden to this user or unknown to the file system, another file system.
pub(super) fn takes_no_link(error: Errno) -> bool {
    matches!(error, Errno::MLINK | Errno::PERM | Errno::XDEV | Errno::NOTSUP | Errno::NOSYS)
}

/// The mode on disk of a directory that has `mode` in the tar. The sticky bit of /tmp is kept; who owns a
/// group-inherited directory is the TOC's business.
pub(super) fn directory_mode(mode: u16) -> Mode {
    Mode::from_raw_mode(u32::from(mode & 0o1777) | 0o700)
}

/// The mode on disk of a file that has `mode` in the tar.
pub(super) fn file_mode(mode: u16) -> Mode {
    Mode::from_raw_mode(u32::from(mode & 0o777) | 0o600)
}

/// Gives a file its mode, xattrs and time.
pub(super) fn finish_file(
    file: &File,
    mode: u16,
    mtime: (i64, u32),
    xattrs: &BTreeMap<Vec<u8>, Vec<u8>>,
) -> io::Result<()> {
    apply(file.as_fd(), xattrs);
    rustix::fs::fchmod(file, file_mode(mode))?;
    Ok(rustix::fs::futimens(file, &times(mtime))?)
}

/// Sets the xattrs that are the user's own, as far as the file system takes them; the TOC has all.
fn apply(fd: BorrowedFd<'_>, xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) {
    for (name, value) in xattrs {
        if name.starts_with(b"user.") && !name.starts_with(OVERLAY) {
            let _ = rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty());
        }
    }
}

/// The times that set a modification time, in seconds since 1970 and nanoseconds.
pub(super) fn times((seconds, nanos): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}
