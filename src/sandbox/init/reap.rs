//! What a process 1 is for: orphans end with it, and signals come through it.

use nix::sys::signal::{SigSet, Signal};
use rustix::process::{Pid, WaitOptions, WaitStatus, kill_process, kill_process_group, wait};

use crate::sandbox::outcome::Ended;

/// Reaps every process until `command` ends, then kills and reaps what it left behind, so that
/// nothing of a run is alive when its end is reported.
pub(super) fn until_end(command: Pid) -> Ended {
    let mut all = SigSet::all();
    all.remove(Signal::SIGKILL);
    // Blocked signals are queued even for a process 1, which would else ignore them.
    let _ = all.thread_block();
    loop {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == command
                && let Some(ended) = end_of(status)
            {
                return kill_the_rest(ended);
            }
        }
        match all.wait() {
            Ok(Signal::SIGCHLD) | Err(_) => {}
            Ok(signal) => pass_on(command, signal),
        }
    }
}

fn kill_the_rest(ended: Ended) -> Ended {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(-1), Signal::SIGKILL);
    while let Ok(Some(_)) = wait(WaitOptions::empty()) {}
    ended
}

fn end_of(status: WaitStatus) -> Option<Ended> {
    let code = status.exit_status().and_then(|code| u8::try_from(code).ok()).map(Ended::Code);
    code.or_else(|| status.terminating_signal().map(Ended::Signal))
}

/// What a terminal would send to all of a job goes to all of the command's group; the rest to the
/// command alone, as `kill` by its user would.
fn pass_on(command: Pid, signal: Signal) {
    use rustix::process::Signal as S;
    let Some(number) = S::from_named_raw(signal as i32) else { return };
    match signal {
        Signal::SIGINT | Signal::SIGQUIT | Signal::SIGHUP | Signal::SIGCONT => {
            let _ = kill_process_group(command, number);
        }
        // The command leads a session whose parent is in another: the kernel would ignore SIGTSTP.
        Signal::SIGTSTP => {
            let _ = kill_process_group(command, S::STOP);
        }
        _ => {
            let _ = kill_process(command, number);
        }
    }
}
