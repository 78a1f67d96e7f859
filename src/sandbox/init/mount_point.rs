//! Mount points in the new root.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::fs::beneath::{self, Links};
use crate::sys::mount::{Restriction, restrict};
use crate::sys::{Context as _, SysError};

/// Creates an empty file over which a file can be bound.
pub(super) fn make_file(parent: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644))
}

/// Restricts the mount at `path` itself, not the directory beneath it.
pub(super) fn restrict_at(root: &OwnedFd, path: &Path, restriction: Restriction) -> Result<(), SysError> {
    let mounted = beneath::find(root, path, Links::Follow).call("open", path)?;
    restrict(mounted.as_fd(), restriction, path)
}
