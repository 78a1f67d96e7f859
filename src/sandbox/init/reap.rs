//! Duties of a process 1: it reaps orphans and forwards signals.

use std::os::fd::{AsFd as _, OwnedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, WaitOptions, WaitStatus, kill_process, kill_process_group, wait};

use super::link::Ownership;
use crate::sandbox::outcome::Ended;
use crate::sandbox::tracer::Tracer;
use crate::sys::{Context as _, SysError};

/// Blocks all signals and returns a descriptor for them, so that init can wait for signals and other descriptors alike.
pub(in crate::sandbox) fn signals() -> Result<SignalFd, SysError> {
    let mut all = SigSet::all();
    all.remove(Signal::SIGKILL);
    // Blocked signals are queued even for a process 1, which would ignore them otherwise.
    all.thread_block().call("sigprocmask", "")?;
    SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).call("signalfd", "")
}

/// Reaps processes until `command` ends. Meanwhile answers its calls about `ownership`, if it asks for that, and passes
/// stops of traced processes to the `tracer`. If the other end of `channel` is closed,
/// nobody waits for the end, and the command counts as killed.
pub(in crate::sandbox) fn until_end(
    command: Pid,
    signals: &SignalFd,
    mut ownership: Option<&mut Ownership>,
    mut tracer: Option<&mut Tracer>,
    channel: &OwnedFd,
) -> Ended {
    loop {
        // Before the first wait: the command may have ended before its signal could be seen.
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if tracer.as_mut().is_some_and(|tracer| tracer.took(pid, status)) {
                continue;
            }
            if pid == command
                && let Some(ended) = end_of(status)
            {
                return ended;
            }
        }
        let mut fds =
            vec![PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN), PollFd::new(channel, PollFlags::empty())];
        let third = ownership.as_ref().and_then(|ownership| ownership.as_fd());
        fds.extend(third.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let _ = poll(&mut fds, None);
        if fds[1].revents().contains(PollFlags::HUP) {
            return Ended::Signal(9);
        }
        let ready = fds.get(2).map_or(PollFlags::empty(), PollFd::revents);
        drop(fds);
        if let Some(ownership) = ownership.as_mut().filter(|_| !ready.is_empty()) {
            ownership.proceed(ready);
        }
        while let Ok(Some(info)) = signals.read_signal() {
            match i32::try_from(info.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGCHLD)) => {}
                Ok(Ok(signal)) => pass_on(command, signal),
                // A real-time signal, which is not forwarded.
                _ => {}
            }
        }
    }
}

/// Kills and reaps all other processes of this pid namespace, so that none is alive when the end of the run is reported.
pub(in crate::sandbox) fn kill_the_rest() {
    // Outside a pid namespace of its own, kill(-1) would hit every process of the user.
    if rustix::process::getpid() == Pid::INIT {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(-1), Signal::SIGKILL);
        while let Ok(Some(_)) = wait(WaitOptions::empty()) {}
    }
}

fn end_of(status: WaitStatus) -> Option<Ended> {
    let code = status.exit_status().and_then(|code| u8::try_from(code).ok()).map(Ended::Code);
    code.or_else(|| status.terminating_signal().map(Ended::Signal))
}

/// Signals that a terminal sends to a whole job go to the process group of the command, others to the command alone, as
/// with kill(1).
fn pass_on(command: Pid, signal: Signal) {
    use rustix::process::Signal as S;
    let Some(number) = S::from_named_raw(signal as i32) else { return };
    match signal {
        Signal::SIGINT | Signal::SIGQUIT | Signal::SIGHUP | Signal::SIGCONT => {
            let _ = kill_process_group(command, number);
        }
        // The command leads a session whose parent is in another one, so that the kernel would ignore SIGTSTP.
        Signal::SIGTSTP => {
            let _ = kill_process_group(command, S::STOP);
        }
        _ => {
            let _ = kill_process(command, number);
        }
    }
}
