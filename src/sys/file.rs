//! Attributes, entries and write-back of files.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

/// Path of the file that `fd` is open on, for calls that take no descriptor, such as mount(2).
#[must_use]
pub(crate) fn path_of(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Writes `text` to a file that exists, such as a setting of the kernel in procfs.
pub(crate) fn write_at(directory: impl AsFd, path: &str, text: &str) -> io::Result<()> {
    let file = rustix::fs::openat(directory, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, text.as_bytes())?;
    Ok(())
}

/// Size of `struct statx` (linux/stat.h), in bytes.
pub(crate) const STATX: usize = 256;

/// statx(2) of an open file: the whole structure as the kernel writes it, with fields that are newer than any library.
/// `mask` are the requested fields.
pub(crate) fn statx(file: impl AsFd, mask: u32) -> io::Result<[u8; STATX]> {
    let mut bytes = [0; STATX];
    let (fd, flags) = (file.as_fd().as_raw_fd(), libc::AT_EMPTY_PATH);
    // SAFETY: the path is an empty string, and the kernel writes one structure, which is as long as the array; it
    // copies bytes, so that the array's alignment is no matter.
    let result = unsafe { libc::syscall(libc::SYS_statx, fd, c"".as_ptr(), flags, mask, bytes.as_mut_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(bytes) }
}

/// getdents64(2): reads the next entries of a directory into `buffer`, as records of `struct linux_dirent64`, and returns
/// their size, 0 at the end.
///
/// # Errors
///
/// ENOTDIR for other files, EINVAL if the buffer is too small for an entry.
pub(crate) fn read_directory(directory: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let (fd, room) = (directory.as_fd().as_raw_fd(), buffer.len());
    // SAFETY: the kernel writes at most as many bytes as the buffer has; it copies bytes, so that alignment does not
    // matter.
    let result = unsafe { libc::syscall(libc::SYS_getdents64, fd, buffer.as_mut_ptr(), room) };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Starts to write `length` bytes of a file to disk, from `offset`, without waiting (`sync_file_range(2)`,
/// `SYNC_FILE_RANGE_WRITE`); to the end of the file if `length` is 0. Without it the kernel waits for half a minute, and
/// a `syncfs` then has everything left to write. Where a file system does not support it, such as on a network, only time
/// is lost.
pub(crate) fn begin_writing(file: impl AsFd, offset: u64, length: u64) {
    let (Ok(offset), Ok(length)) = (offset.try_into(), length.try_into()) else { return };
    // SAFETY: the descriptor is open for as long as it is borrowed, and no memory is involved.
    unsafe { libc::sync_file_range(file.as_fd().as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
}
