//! Root without an overlay: the merged tree, read-only, seen through a skeleton in memory.
//!
//! All runs share the merged tree, so nothing may be made in it, not even a directory to mount something on. The root is
//! therefore a directory of a tmpfs, in which each directory at the top of the tree is bound and each link is copied. To
//! make something deeper inside, a directory is *opened*: a directory of the tmpfs is mounted over it, everything in it
//! is bound or copied in the same way, and it becomes writable.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::mount_point::make_file;
use crate::fs::beneath::{self, Links};
use crate::rootfs::Rootfs;
use crate::sys::file::path_of;
use crate::sys::mount::{Restriction, bind, mount, restrict};
use crate::sys::remount::{Origin, origin};
use crate::sys::{Context as _, SysError};

/// Places that programs write to. Files of the image there are copied as far as [`ROOM`] allows, so that they can be
/// changed. The rest is bound read-only.
const WRITABLE: [&str; 7] = ["/tmp", "/var/tmp", "/run", "/var/log", "/var/cache", "/root", "/home"];
/// Directory in which files of the run lie beside the image's. Its own files are copied, its directories bound.
const SHALLOW: &str = "/etc";
/// Maximum that is copied of one place: bytes and entries.
const ROOM: Room = Room { bytes: 16 << 20, entries: 2000 };

/// Maximum depth of copied directories, each of which has a descriptor open.
const DEPTH: usize = 64;

/// What may still be copied.
#[derive(Debug, Clone, Copy)]
struct Room {
    bytes: u64,
    entries: u32,
}

impl Room {
    const NONE: Self = Self { bytes: 0, entries: 0 };

    /// Takes room for a file; false if there is not enough.
    fn take(&mut self, bytes: u64) -> bool {
        if self.entries == 0 || self.bytes < bytes {
            return false;
        }
        self.entries -= 1;
        self.bytes -= bytes;
        true
    }
}

/// State that is needed to open directories.
pub(super) struct Skeleton {
    /// Directory with spare directories to mount over those of the tree.
    spare: OwnedFd,
    made: u32,
    /// Common attributes of the mounts of the merged tree.
    image: Origin,
}

/// Mounts the root over `scratch/root`.
pub(super) fn compose(rootfs: &Rootfs, scratch: &Path) -> Result<(OwnedFd, Skeleton), SysError> {
    let tree = rootfs.lower.first().map(|lower| rootfs.base.join(lower)).unwrap_or_default();
    let open = |path: &Path| {
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).call("open", path)
    };
    let [image, spare, root] = ["image", "spare", "root"].map(|name| scratch.join(name));
    for directory in [&image, &spare, &root] {
        rustix::fs::mkdir(directory, Mode::from_raw_mode(0o755)).call("mkdir", directory)?;
    }
    // A single mount with all flags, which the mounts made from it inherit.
    bind(open(&tree)?.as_fd(), open(&image)?.as_fd(), &tree)?;
    let image = open(&image)?;
    restrict(image.as_fd(), Restriction { read_only: true, no_devices: true }, &tree)?;
    mount("tmpfs", &root, MountFlags::NOSUID | MountFlags::NODEV, "mode=0755")?;
    let root = open(&root)?;
    fill(image.as_fd(), root.as_fd(), &mut Room::NONE.clone(), false).call("bind", &tree)?;
    let skeleton = Skeleton { spare: open(&spare)?, made: 0, image: origin(image.as_fd())? };
    Ok((root, skeleton))
}

impl Skeleton {
    /// Opens the places that programs write to, and `home`.
    pub(super) fn open_places(&mut self, root: &OwnedFd, home: Option<&Path>) -> Result<(), SysError> {
        self.open_place(root, Path::new(SHALLOW), false)?;
        for place in WRITABLE.iter().map(Path::new).chain(home) {
            self.open_place(root, place, true)?;
        }
        Ok(())
    }

    fn open_place(&mut self, root: &OwnedFd, place: &Path, deep: bool) -> Result<(), SysError> {
        match beneath::find(root, place, Links::Follow) {
            Ok(there) if is_directory(&there) && self.is_of_the_image(&there)? => {
                self.mount_over(&there, place, ROOM, deep)
            }
            // The image has none, or one that cannot be written to: it stays so.
            _ => Ok(()),
        }
    }

    /// Opens the directory `there` for writing, and returns the directory that now lies over it.
    ///
    /// # Errors
    ///
    /// EROFS if it is not the image's.
    pub(super) fn open(&mut self, root: &OwnedFd, there: &OwnedFd, path: &Path) -> Result<OwnedFd, SysError> {
        if !self.is_of_the_image(there)? {
            return Err(Errno::ROFS).call("open", path);
        }
        self.mount_over(there, path, Room::NONE, false)?;
        beneath::find(root, path, Links::Follow).call("open", path)
    }

    fn is_of_the_image(&self, there: &OwnedFd) -> Result<bool, SysError> {
        let found = origin(there.as_fd())?;
        Ok(found.device == self.image.device && found.root.starts_with(&self.image.root))
    }

    fn mount_over(&mut self, there: &OwnedFd, path: &Path, room: Room, deep: bool) -> Result<(), SysError> {
        let name = self.made.to_string();
        self.made += 1;
        let new = make_directory(self.spare.as_fd(), &name).call("mkdir", path)?;
        fill(there.as_fd(), new.as_fd(), &mut { room }, deep).call("copy", path)?;
        bind(new.as_fd(), there.as_fd(), path)
    }
}

fn make_directory(parent: BorrowedFd<'_>, name: impl rustix::path::Arg + Copy) -> Result<OwnedFd, Errno> {
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
    open_at(parent, name)
}

fn open_at(parent: BorrowedFd<'_>, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn is_directory(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// Makes the empty directory `to` show the content of `from`: copied while there is `room` (directories only if `deep`),
/// bound otherwise. Devices are left out: a tree has none but whiteouts.
fn fill(from: BorrowedFd<'_>, to: BorrowedFd<'_>, room: &mut Room, deep: bool) -> io::Result<()> {
    for (name, stat) in entries(from)? {
        let name = name.as_c_str();
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if deep && fits(open_at(from, name)?.as_fd(), room)? => {
                let new = make_directory(to, name)?;
                fill(open_at(from, name)?.as_fd(), new.as_fd(), room, true)?;
            }
            FileType::Directory => {
                let new = make_directory(to, name)?;
                bind_child(from, name, &new)?;
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(&*target, to, name)?;
                rustix::fs::utimensat(to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            FileType::RegularFile if room.take(stat.st_size.unsigned_abs()) => copy(from, name, to, &stat)?,
            FileType::RegularFile => {
                let new = make_file(to, std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes()))?;
                bind_child(from, name, &new)?;
            }
            _ => {}
        }
    }
    let stat = rustix::fs::fstat(from)?;
    let path = path_of(to);
    rustix::fs::chmod(&path, Mode::from_raw_mode(stat.st_mode & 0o1777))?;
    Ok(rustix::fs::utimensat(CWD, &path, &times(&stat), AtFlags::empty())?)
}

fn bind_child(from: BorrowedFd<'_>, name: &CStr, onto: &OwnedFd) -> io::Result<()> {
    let child = open_at(from, name)?;
    Ok(rustix::mount::mount_bind_recursive(path_of(child.as_fd()), path_of(onto.as_fd()))?)
}

fn copy(from: BorrowedFd<'_>, name: &CStr, to: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut old = File::from(rustix::fs::openat(from, name, flags, Mode::empty())?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut new = File::from(rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o600))?);
    io::copy(&mut old, &mut new)?;
    rustix::fs::fchmod(&new, Mode::from_raw_mode(stat.st_mode & 0o777))?;
    Ok(rustix::fs::futimens(&new, &times(stat))?)
}

/// Whether everything in a directory can be copied; takes no room yet.
fn fits(directory: BorrowedFd<'_>, room: &Room) -> io::Result<bool> {
    fn take(directory: BorrowedFd<'_>, room: &mut Room, depth: usize) -> io::Result<bool> {
        for (name, stat) in entries(directory)? {
            let kind = FileType::from_raw_mode(stat.st_mode);
            if !room.take(if kind.is_file() { stat.st_size.unsigned_abs() } else { 0 }) {
                return Ok(false);
            }
            if kind.is_dir() && (depth == 0 || !take(open_at(directory, name.as_c_str())?.as_fd(), room, depth - 1)?) {
                return Ok(false);
            }
        }
        Ok(true)
    }
    take(directory, &mut { *room }, DEPTH)
}

fn entries(directory: BorrowedFd<'_>) -> io::Result<Vec<(std::ffi::CString, Stat)>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let readable = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
    let mut found = Vec::new();
    for entry in Dir::new(readable)? {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            found.push((name.to_owned(), stat));
        }
    }
    Ok(found)
}

fn times(stat: &Stat) -> Timestamps {
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or_default() };
    Timestamps { last_access: time, last_modification: time }
}
