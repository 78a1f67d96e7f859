//! Advice on what was written to files.

use std::os::fd::{AsFd, AsRawFd as _};

/// Has the kernel begin to write `length` bytes of a file to disk, from `offset`, without waiting for it
/// (`sync_file_range(2)`, `SYNC_FILE_RANGE_WRITE`): left alone it waits for half a minute, and then a
/// `syncfs` has everything still before it. To the file's end if `length` is 0. A file system that does
/// not know it, such as a network's, loses nothing but time.
pub fn begin_writing(file: impl AsFd, offset: u64, length: u64) {
    let (Ok(offset), Ok(length)) = (offset.try_into(), length.try_into()) else { return };
    // SAFETY: the descriptor is open for as long as it is borrowed, and no memory is involved.
    unsafe { libc::sync_file_range(file.as_fd().as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
}
