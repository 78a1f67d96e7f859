//! Terminals that other processes use at the same time.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::isatty;
use rustix::time::Timespec;

use super::file::path_of;

/// Reopens the terminal of `stream` for `access`, non-blocking and without making it a controlling terminal.
///
/// Every process that inherited `stream`, such as the caller's shell, shares its flags, `O_NONBLOCK` among them. The new
/// descriptor has flags of its own. `None` if the terminal cannot be opened.
#[must_use]
pub(crate) fn reopen(stream: BorrowedFd<'_>, access: OFlags) -> Option<OwnedFd> {
    let flags = access | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = |path: &std::path::Path| rustix::fs::open(path, flags, Mode::empty()).ok();
    // After su(1) the terminal belongs to another user, but /dev/tty still opens it.
    let controlling = || is_controlling(stream).then(|| open("/dev/tty".as_ref())).flatten();
    open(&path_of(stream)).or_else(controlling)
}

/// Whether `stream` is the controlling terminal of this process: tcgetsid(3) fails for any other. Its result is 0 if the
/// session began outside this pid namespace.
#[must_use]
pub(crate) fn is_controlling(stream: BorrowedFd<'_>) -> bool {
    // SAFETY: takes an integer only.
    unsafe { libc::tcgetsid(stream.as_raw_fd()) >= 0 }
}

/// Writes `text` to `stream`; false if a terminal accepted nothing for as long as `patience`, so that the rest was not
/// written.
///
/// An error counts as written: waiting longer would not help.
#[must_use]
pub(crate) fn write_within(stream: BorrowedFd<'_>, text: &[u8], patience: Timespec) -> bool {
    let terminal = isatty(stream).then(|| reopen(stream, OFlags::WRONLY)).flatten();
    let fd = terminal.as_ref().map_or(stream, |terminal| terminal.as_fd());
    let mut rest = text;
    while !rest.is_empty() {
        match rustix::io::write(fd, rest) {
            Ok(n) => rest = &rest[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                if matches!(poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], Some(&patience)), Ok(0)) {
                    return false;
                }
            }
            Err(_) => return true,
        }
    }
    true
}
