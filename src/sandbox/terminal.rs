//! Terminal of the command, copied to and from the caller's.
//!
//! The caller's terminal is never the controlling terminal of the command: the command could push input into the caller's
//! shell (ioctl `TIOCSTI`, CVE-2017-5226). The supervisor copies bytes and window sizes between the two.
//!
//! Nothing here waits for the caller's terminal, which may be stopped (Ctrl-S) or have no reader: timeouts and signals
//! must be served. It is opened a second time for non-blocking access, and output that it does not accept yet is
//! buffered.

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

/// Interval at which a background job checks whether it is in the foreground.
const LOOK: Duration = Duration::from_millis(200);

/// Maximum size in bytes of output that is buffered for the caller's terminal. Beyond it the command waits.
const KEPT: usize = 64 << 10;

/// Two joined terminals. The caller's is in raw mode while this process is in its foreground, until this is dropped.
pub(super) struct Terminal {
    master: OwnedFd,
    /// The caller's terminal for writing, if it could be opened a second time.
    screen: Option<OwnedFd>,
    /// Input that the command has not accepted yet.
    typed: Vec<u8>,
    /// Output that the caller's terminal has not accepted yet.
    written: Vec<u8>,
    /// Settings of the caller's terminal, while they are replaced.
    before: Option<Termios>,
    hung_up: bool,
    input_ended: bool,
    /// Whether the caller's terminal is gone. SIGHUP then ends the command.
    screen_gone: bool,
}

/// What poll(2) waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Master,
    Keys,
    Screen,
}

fn stdin() -> BorrowedFd<'static> {
    rustix::stdio::stdin()
}

/// Whether this job reads the keys. A terminal of another session has no foreground job; this job then does.
fn in_foreground() -> bool {
    tcgetpgrp(stdin()).map_or(true, |group| group == rustix::process::getpgrp())
}

impl Terminal {
    /// Joins the command's terminal, of which `master` is the other end, to standard input and output.
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

    /// Switches the caller's terminal to raw mode and reads its keys. Does nothing in the background, where that would
    /// stop this process and the keys belong to another job.
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

    /// Restores the caller's terminal at once, without draining it: a stopped terminal never drains.
    pub(super) fn release(&mut self) {
        if let Some(before) = self.before.take() {
            let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
        }
    }

    /// Maximum time to wait before [`Self::pump`]: no signal tells that a job has come to the foreground.
    pub(super) fn wait(&self) -> Option<Timespec> {
        (self.before.is_none() && !self.input_ended).then(|| timespec(LOOK))
    }

    /// Sets the size of the caller's terminal on the command's; the kernel notifies the command.
    pub(super) fn resize(&self) {
        if let Ok(size) = tcgetwinsize(stdin()) {
            let _ = tcsetwinsize(&self.master, size);
        }
    }

    /// Whether all output was accepted and no process has the command's terminal open.
    pub(super) fn is_done(&self) -> bool {
        self.hung_up && !self.is_blocked()
    }

    /// Whether output waits for the caller's terminal.
    pub(super) fn is_blocked(&self) -> bool {
        !self.written.is_empty()
    }

    /// What to wait for. An end that hung up or is not needed is left out, since it could be ready for ever.
    fn wanted(&self) -> Vec<(End, PollFlags)> {
        let mut master = PollFlags::empty();
        master.set(PollFlags::IN, self.written.len() < KEPT);
        master.set(PollFlags::OUT, !self.typed.is_empty());
        // A key is read only after the ones before it were accepted, so that nothing piles up here.
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

    /// Descriptors to poll before [`Self::pump`].
    pub(super) fn poll_fds(&self) -> Vec<PollFd<'_>> {
        let fd = |end| match end {
            End::Master => self.master.as_fd(),
            End::Keys => stdin(),
            End::Screen => self.screen(),
        };
        self.wanted().into_iter().map(|(end, flags)| PollFd::from_borrowed_fd(fd(end), flags)).collect()
    }

    /// Copies in both directions; `ready` is the result of [`Self::poll_fds`].
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
        // Without a descriptor of our own only one byte is sure not to block, and only when the terminal is ready.
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
            // EIO: no process has the command's terminal open any more.
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
