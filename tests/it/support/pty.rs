//! A program at a terminal.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::OpenptFlags;
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use super::process::{LIMIT, Run};

/// A program that runs at a terminal of its own; killed when dropped.
pub struct Pty {
    child: Child,
    keys: File,
    /// The program's end, held open so that its settings can be looked at after the end.
    screen: OwnedFd,
    /// The terminal's settings before the program was started.
    pub settings_before: Termios,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Pty {
    /// Starts `run` as the leader of a session that this terminal controls.
    pub fn start(run: Run, size: (u16, u16)) -> Self {
        let pty = Self::unread(run, size);
        let (mut from, to) = (pty.keys.try_clone().unwrap(), Arc::clone(&pty.shown));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                to.lock().unwrap().extend_from_slice(&buffer[..n]);
            }
        });
        pty
    }

    /// The same, without a reader of what is shown.
    pub fn unread(run: Run, (rows, columns): (u16, u16)) -> Self {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let no_ctty = i32::try_from(rustix::fs::OFlags::NOCTTY.bits()).unwrap();
        let screen =
            OpenOptions::new().read(true).write(true).custom_flags(no_ctty).open(name.to_str().unwrap()).unwrap();
        set_size(&master, (rows, columns));
        let settings_before = tcgetattr(&screen).unwrap();
        let end = || Stdio::from(screen.try_clone().unwrap());
        let mut command = run.under(&["setsid", "--ctty"]).command;
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        drop(command);
        let keys = File::from(master);
        Self { child, keys, screen: screen.into(), settings_before, shown: Arc::default() }
    }

    pub fn resize(&self, size: (u16, u16)) {
        set_size(&self.keys, size);
    }

    pub fn type_(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub fn settings(&self) -> Termios {
        tcgetattr(self.screen.as_fd()).unwrap()
    }

    /// The terminal that the program was given, as whoever started it has it.
    pub fn screen(&self) -> BorrowedFd<'_> {
        self.screen.as_fd()
    }

    /// What the screen has shown so far.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits until it has shown `text`.
    #[track_caller]
    pub fn until(&self, text: &str) {
        self.until_times(text, 1);
    }

    /// Waits until it has shown `text` so many times: what is written comes here a moment later, even
    /// after the writer's end.
    #[track_caller]
    pub fn until_times(&self, text: &str, times: usize) {
        let limit = Instant::now() + LIMIT;
        while self.shown().matches(text).count() < times {
            assert!(Instant::now() < limit, "not {times} times {text:?} in {:?}", self.shown());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for the end; the exit code, or minus the signal.
    #[track_caller]
    pub fn wait(&mut self) -> i32 {
        let limit = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or_else(|| -status.signal().unwrap());
            }
            assert!(Instant::now() < limit, "hangs; shown so far: {:?}", self.shown());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn set_size(terminal: impl AsFd, (rows, columns): (u16, u16)) {
    tcsetwinsize(terminal, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
