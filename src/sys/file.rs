//! Advice on what was written to files, what is known of them, and directories as the kernel writes them.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// Size of `struct statx` (linux/stat.h), in bytes.
pub(crate) const STATX: usize = 256;

/// statx(2) of an open file, as the kernel writes it: the whole structure, with fields that are newer than any
/// library. `mask` is what is asked for.
///
/// # Errors
/// The kernel's.
pub(crate) fn statx(file: impl AsFd, mask: u32) -> io::Result<[u8; STATX]> {
    let mut bytes = [0; STATX];
    let (fd, flags) = (file.as_fd().as_raw_fd(), libc::AT_EMPTY_PATH);
    // SAFETY: the path is an empty string, and the kernel writes one structure, which is as long as the array; it
    // copies bytes, so that the array's alignment is no matter.
    let result = unsafe { libc::syscall(libc::SYS_statx, fd, c"".as_ptr(), flags, mask, bytes.as_mut_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(bytes) }
}

/// getdents64(2): the next entries of a directory, as records of `struct linux_dirent64`, written to `buffer`; how many
/// bytes, 0 at the end.
///
/// # Errors
/// The kernel's: ENOTDIR of what is no directory, EINVAL where the buffer is too small for an entry.
pub(crate) fn read_directory(directory: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let (fd, room) = (directory.as_fd().as_raw_fd(), buffer.len());
    // SAFETY: the kernel writes at most as many bytes as the buffer has; it copies bytes, so that alignment is no matter.
    let result = unsafe { libc::syscall(libc::SYS_getdents64, fd, buffer.as_mut_ptr(), room) };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Has the kernel begin to write `length` bytes of a file to disk, from `offset`, without waiting for it
/// (`sync_file_range(2)`, `SYNC_FILE_RANGE_WRITE`): left alone it waits for half a minute, and then a
/// `syncfs` has everything still before it. To the file's end if `length` is 0. A file system that does
/// not know it, such as a network's, loses nothing but time.
pub(crate) fn begin_writing(file: impl AsFd, offset: u64, length: u64) {
    let (Ok(offset), Ok(length)) = (offset.try_into(), length.try_into()) else { return };
    // SAFETY: the descriptor is open for as long as it is borrowed, and no memory is involved.
    unsafe { libc::sync_file_range(file.as_fd().as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
}
