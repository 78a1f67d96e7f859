//! Memory and files of a process whose call waits for an answer.
//!
//! Paths are resolved as the kernel would resolve them for that process: it has the same root as init, which it cannot
//! change. "Magic" links of `/proc`, which are no paths, are not followed, because they would lead to descriptors of init
//! instead of the command's; `/dev/stdout` and similar names are known.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// Maximum size of a path with its terminator, in bytes (linux/limits.h).
const PATH_MAX: usize = 4096;
/// Reads within one page do not fail halfway.
const PAGE: usize = 4096;

/// A process that waits for an answer.
pub(super) struct Caller {
    /// Thread that made the call.
    pub(super) thread: u32,
}

impl Caller {
    fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.thread).unwrap_or(0))
    }

    /// Reads the string at `address` without its terminator; an empty one at 0.
    pub(super) fn path(&self, address: u64) -> Result<Vec<u8>, Errno> {
        let mut at = usize::try_from(address).map_err(|_| Errno::FAULT)?;
        let mut path = Vec::new();
        while at != 0 {
            let length = PAGE - at % PAGE;
            let mut bytes = vec![0; length];
            let remote = [RemoteIoVec { base: at, len: length }];
            let read = process_vm_readv(self.pid(), &mut [IoSliceMut::new(&mut bytes)], &remote);
            let read = read.map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
            path.extend_from_slice(&bytes[..read]);
            if let Some(end) = path.iter().position(|byte| *byte == 0) {
                path.truncate(end);
                break;
            }
            if path.len() >= PATH_MAX {
                return Err(Errno::NAMETOOLONG);
            }
            at += length;
        }
        Ok(path)
    }

    /// Writes `bytes` to the memory of the process.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let remote = [RemoteIoVec { base: usize::try_from(address).map_err(|_| Errno::FAULT)?, len: bytes.len() }];
        match process_vm_writev(self.pid(), &[IoSlice::new(bytes)], &remote) {
            Ok(length) if length == bytes.len() => Ok(()),
            _ => Err(Errno::FAULT),
        }
    }

    /// Opens the file behind a descriptor of the process.
    pub(super) fn descriptor(&self, fd: i32) -> Result<OwnedFd, Errno> {
        self.open(&format!("fd/{fd}")).map_err(|_| Errno::BADF)
    }

    fn open(&self, what: &str) -> Result<OwnedFd, Errno> {
        let path = format!("/proc/{}/{what}", self.thread);
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
    }

    /// Opens the file at `path`, relative to the directory `from`, or to the working directory for `AT_FDCWD`.
    pub(super) fn file(&self, from: i32, path: &[u8], follow: bool) -> Result<OwnedFd, Errno> {
        let own = if follow { self.own_descriptor(path) } else { None };
        if let Some(fd) = own {
            return self.descriptor(fd);
        }
        let nofollow = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags = OFlags::PATH | OFlags::CLOEXEC | nofollow;
        let open = |from: BorrowedFd<'_>| openat2(from, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS);
        if path.starts_with(b"/") {
            open(CWD)
        } else if from == libc::AT_FDCWD {
            open(std::os::fd::AsFd::as_fd(&self.open("cwd")?))
        } else {
            open(std::os::fd::AsFd::as_fd(&self.descriptor(from)?))
        }
    }

    /// Descriptor of the process that `path` is a name of.
    fn own_descriptor(&self, path: &[u8]) -> Option<i32> {
        let path = str::from_utf8(path).ok()?;
        match path {
            "/dev/stdin" => return Some(0),
            "/dev/stdout" => return Some(1),
            "/dev/stderr" => return Some(2),
            _ => {}
        }
        let own = format!("/proc/{}/fd/", self.thread);
        let places = ["/dev/fd/", "/proc/self/fd/", "/proc/thread-self/fd/", &own];
        places.into_iter().find_map(|place| path.strip_prefix(place))?.parse().ok()
    }

    /// Umask of the process.
    pub(super) fn umask(&self) -> Option<u32> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.thread)).ok()?;
        let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(umask.trim(), 8).ok()
    }
}

/// Whether a directory is in this process's root. A directory that was passed in from outside may not be, and init makes
/// nothing in it.
pub(super) fn is_inside(directory: &OwnedFd) -> bool {
    let same = || {
        let path = rustix::fs::readlink(format!("/proc/self/fd/{}", directory.as_raw_fd()), Vec::new())?;
        let there = rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW)?;
        let here = rustix::fs::fstat(directory)?;
        Ok::<_, Errno>(path.as_bytes().starts_with(b"/") && (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino))
    };
    same().unwrap_or(false)
}
