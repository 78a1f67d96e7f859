//! Check of the standard streams that the command inherits.

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};

use crate::sandbox::error::SandboxError;

/// Refuses a stream from which other files can be reached: `openat(0, "../..")` in a directory of the host leads out of
/// the root, and a path descriptor (`O_PATH`) can be opened in other ways than the caller opened it. Landlock prevents
/// both, but not every kernel has it.
///
/// # Errors
///
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
