//! The command's own terminal, joined to the caller's.
//!
//! The command never has the caller's terminal as its controlling one: with it, it could put words
//! into the caller's shell (ioctl `TIOCSTI`, CVE-2017-5226). Bytes and window sizes are copied
//! between the two.
//!
//! Nothing here waits for the caller's terminal, which may be stopped (Ctrl-S) or have no reader: timeouts and signals
//! must be served meanwhile. So it is opened again for non-blocking access, and what it does not take yet is kept.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr, tcsetwinsize};
use rustix::time::Timespec;

use crate::sandbox::termination::timespec;
use crate::sys::terminal::reopen;
use crate::sys::{Context as _, SysError};

/// How often a job in the background looks whether it is in the foreground now.
const LOOK: Duration = Duration::from_millis(200);

/// Most output in bytes that is kept for the caller's terminal. Then the command has to wait.
const KEPT: usize = 64 << 10;

/// Two joined terminals. The caller's is in raw mode while this process is in its foreground, until
/// this is dropped.
pub(super) struct Terminal {
    master: OwnedFd,
    /// The caller's terminal for writing, where it could be opened again.
    screen: Option<OwnedFd>,
    /// Typed and not yet taken by the command.
    typed: Vec<u8>,
    /// Written by the command and not yet taken by the caller's terminal.
    written: Vec<u8>,
    /// The settings of the caller's terminal, while they are replaced.
    before: Option<Termios>,
    hung_up: bool,
    input_ended: bool,
    /// The caller's terminal is gone. That ends the command by SIGHUP, not here.
    screen_gone: bool,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Master,
    Keys,
    Screen,
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
        let mut terminal = Self {
            master,
            screen: reopen(rustix::stdio::stdout(), OFlags::WRONLY),
            typed: Vec::new(),
            written: Vec::new(),
            before: None,
            hung_up: false,
            input_ended: false,
            screen_gone: false,
        };
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
            if tcsetattr(stdin(), OptionalActions::Now, &raw).is_ok() {
                self.before = Some(before);
            }
            self.resize();
        }
    }

    /// Gives the caller's terminal back as it was. At once: a terminal that is stopped never drains.
    pub(super) fn release(&mut self) {
        if let Some(before) = self.before.take() {
            let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
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

    /// Whether all that the command wrote has been taken, and no process has its terminal open any more.
    pub(super) fn is_done(&self) -> bool {
        self.hung_up && !self.is_blocked()
    }

    /// Whether the caller's terminal has not taken all that there is for it.
    pub(super) fn is_blocked(&self) -> bool {
        !self.written.is_empty()
    }

    /// What to wait for. An end that hung up, or of which nothing is wanted, is left out, since it could be ready for ever.
    fn wanted(&self) -> Vec<(End, PollFlags)> {
        let mut master = PollFlags::empty();
        master.set(PollFlags::IN, self.written.len() < KEPT);
        master.set(PollFlags::OUT, !self.typed.is_empty());
        // A key is read only when the ones before it were taken, so that nothing piles up here.
        let keys = self.typed.is_empty() && !self.input_ended && self.before.is_some();
        let ends = [
            (End::Master, master, !self.hung_up && !master.is_empty()),
            (End::Keys, PollFlags::IN, keys),
            (End::Screen, PollFlags::OUT, self.is_blocked()),
        ];
        ends.into_iter().filter(|(.., wanted)| *wanted).map(|(end, flags, _)| (end, flags)).collect()
    }

    fn screen(&self) -> BorrowedFd<'_> {
        self.screen.as_ref().map_or(rustix::stdio::stdout(), |screen| screen.as_fd())
    }

    /// What to poll before [`Self::pump`].
    pub(super) fn poll_fds(&self) -> Vec<PollFd<'_>> {
        let fd = |end| match end {
            End::Master => self.master.as_fd(),
            End::Keys => stdin(),
            End::Screen => self.screen(),
        };
        self.wanted().into_iter().map(|(end, flags)| PollFd::from_borrowed_fd(fd(end), flags)).collect()
    }

    /// Copies what there is to copy; `ready` is what became of [`Self::poll_fds`].
    pub(super) fn pump(&mut self, ready: &[PollFlags]) {
        let ends = self.wanted().into_iter().zip(ready).filter(|(_, flags)| !flags.is_empty());
        let ready: Vec<End> = ends.map(|((end, _), _)| end).collect();
        self.take();
        if ready.contains(&End::Keys) {
            let mut keys = vec![0; 4096];
            let n = rustix::io::read(stdin(), &mut keys).unwrap_or(0);
            self.input_ended = n == 0;
            keys.truncate(n);
            self.typed = keys;
        }
        if let Ok(n) = rustix::io::write(&self.master, &self.typed) {
            self.typed.drain(..n);
        }
        if self.written.len() < KEPT {
            self.read_output();
        }
        // Where the terminal could not be opened again only one byte is sure not to block, and only when it is ready.
        match self.screen {
            Some(_) => self.show(self.written.len()),
            None if ready.contains(&End::Screen) => self.show(1),
            None => {}
        }
    }

    fn read_output(&mut self) {
        let mut bytes = [0; 16 << 10];
        match rustix::io::read(&self.master, &mut bytes) {
            Ok(n) if n > 0 => {
                if !self.screen_gone {
                    self.written.extend_from_slice(&bytes[..n]);
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // EIO: the last process that had the command's terminal open is gone.
            _ => self.hung_up = true,
        }
    }

    /// Writes up to `most` bytes to the caller's terminal.
    fn show(&mut self, most: usize) {
        if self.written.is_empty() {
            return;
        }
        match rustix::io::write(self.screen(), &self.written[..most]) {
            Ok(n) => drop(self.written.drain(..n)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => {
                self.written.clear();
                self.screen_gone = true;
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.release();
    }
}
