//! The command's own terminal, joined to the caller's.
//!
//! The command never has the caller's terminal as its controlling one: with it, it could put words
//! into the caller's shell (ioctl `TIOCSTI`, CVE-2017-5226). Bytes and window sizes are copied
//! between the two.

use std::io::Write as _;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr, tcsetwinsize};
use rustix::time::Timespec;

use crate::sandbox::ending::timespec;
use crate::sys::{Context as _, SysError};

/// How often a job in the background looks whether it is in the foreground now.
const LOOK: Duration = Duration::from_millis(200);

/// Two joined terminals. The caller's is in raw mode while this process is in its foreground, until
/// this is dropped.
pub(super) struct Terminal {
    master: OwnedFd,
    /// Typed and not yet taken by the command.
    typed: Vec<u8>,
    /// The settings of the caller's terminal, while they are replaced.
    before: Option<Termios>,
    hung_up: bool,
    input_ended: bool,
}

fn stdin() -> BorrowedFd<'static> {
    rustix::stdio::stdin()
}

/// Whether keys are this job's. A terminal that is not this session's has no foreground; then they are.
fn in_foreground() -> bool {
    tcgetpgrp(stdin()).map_or(true, |group| group == rustix::process::getpgrp())
}

impl Terminal {
    /// Joins the command's terminal, of which `master` is the other end, to standard input and
    /// output.
    pub(super) fn join(master: OwnedFd) -> Result<Self, SysError> {
        let flags = rustix::fs::fcntl_getfl(&master).call("fcntl", "terminal")?;
        rustix::fs::fcntl_setfl(&master, flags | OFlags::NONBLOCK).call("fcntl", "terminal")?;
        let mut terminal = Self { master, typed: Vec::new(), before: None, hung_up: false, input_ended: false };
        terminal.resize();
        terminal.take();
        Ok(terminal)
    }

    /// Takes the caller's terminal: raw mode, keys are read. Not in the background, where that would
    /// stop this process and where the keys are another's.
    pub(super) fn take(&mut self) {
        if self.before.is_some() || self.input_ended || !in_foreground() {
            return;
        }
        if let Ok(before) = tcgetattr(stdin()) {
            let mut raw = before.clone();
            raw.make_raw();
            if tcsetattr(stdin(), OptionalActions::Drain, &raw).is_ok() {
                self.before = Some(before);
            }
            self.resize();
        }
    }

    /// Gives the caller's terminal back as it was.
    pub(super) fn release(&mut self) {
        if let Some(before) = self.before.take() {
            let _ = tcsetattr(stdin(), OptionalActions::Drain, &before);
        }
    }

    /// How long to wait at most before [`Self::pump`]: no signal tells that a job is in the foreground now.
    pub(super) fn wait(&self) -> Option<Timespec> {
        (self.before.is_none() && !self.input_ended).then(|| timespec(LOOK))
    }

    /// Gives the command's terminal the size of the caller's; the kernel tells the command.
    pub(super) fn resize(&self) {
        if let Ok(size) = tcgetwinsize(stdin()) {
            let _ = tcsetwinsize(&self.master, size);
        }
    }

    /// A key is read only when the ones before it were taken, so that nothing piles up here.
    fn wants_input(&self) -> bool {
        self.typed.is_empty() && !self.input_ended && self.before.is_some()
    }

    /// What to wait for. An end that hung up is left out, since it would be ready for ever.
    pub(super) fn poll_fds(&self) -> Vec<PollFd<'_>> {
        let mut fds = Vec::new();
        if !self.hung_up {
            let output = if self.typed.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            fds.push(PollFd::new(&self.master, PollFlags::IN | output));
        }
        if self.wants_input() {
            fds.push(PollFd::from_borrowed_fd(stdin(), PollFlags::IN));
        }
        fds
    }

    /// Copies what there is to copy; `ready` is what became of [`Self::poll_fds`].
    pub(super) fn pump(&mut self, ready: &[PollFlags]) {
        let wanted_input = self.wants_input();
        self.take();
        if wanted_input && ready.last().is_some_and(|flags| !flags.is_empty()) {
            let mut keys = vec![0; 4096];
            let n = rustix::io::read(stdin(), &mut keys).unwrap_or(0);
            self.input_ended = n == 0;
            keys.truncate(n);
            self.typed = keys;
        }
        if let Ok(n) = rustix::io::write(&self.master, &self.typed) {
            self.typed.drain(..n);
        }
        self.copy_output();
    }

    /// Copies what the command wrote before it ended. The end of init closes the last other user of
    /// the terminal, which shows here as a hang-up after the last byte.
    pub(super) fn drain(&mut self) {
        let second = rustix::time::Timespec { tv_sec: 1, tv_nsec: 0 };
        while !self.hung_up {
            let waited = poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&second));
            if waited == Ok(0) || !self.copy_output() && waited.is_err() {
                break;
            }
        }
    }

    /// Copies one piece; false where there is none now.
    fn copy_output(&mut self) -> bool {
        let mut bytes = [0; 16 << 10];
        match rustix::io::read(&self.master, &mut bytes) {
            Ok(n) if n > 0 => {
                let mut out = std::io::stdout().lock();
                // A caller's terminal that is gone ends the command by SIGHUP, not here.
                let _ = out.write_all(&bytes[..n]).and_then(|()| out.flush());
                true
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => false,
            // EIO: the last process that had the command's terminal open is gone.
            _ => {
                self.hung_up = true;
                false
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.release();
    }
}
