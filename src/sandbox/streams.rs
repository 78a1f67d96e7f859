//! The standard streams, which the command gets as they are.

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};

use crate::sandbox::error::SandboxError;

/// Refuses a stream from which paths lead on: `openat(0, "../..")` in a directory of the host leads out of the root, and a
/// path without its file (`O_PATH`) can be opened in other ways than the caller opened it. Landlock would stand in the way
/// of both, but not every kernel has it.
///
/// # Errors
/// [`SandboxError::Stream`].
pub(super) fn check() -> Result<(), SandboxError> {
    let streams = [
        ("standard input", rustix::stdio::stdin()),
        ("standard output", rustix::stdio::stdout()),
        ("standard error", rustix::stdio::stderr()),
    ];
    match streams.into_iter().find(|(_, stream)| leads_on(*stream)) {
        Some((name, _)) => Err(SandboxError::Stream(name)),
        None => Ok(()),
    }
}

fn leads_on(stream: BorrowedFd<'_>) -> bool {
    let is_directory = fstat(stream).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir());
    is_directory || fcntl_getfl(stream).is_ok_and(|flags| flags.contains(OFlags::PATH))
}
