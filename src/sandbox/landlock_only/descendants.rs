//! Adopts and kills the descendants of this process.

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};

use crate::sys::{Context as _, SysError};

/// Makes this process the parent of orphaned descendants.
pub(super) fn adopt() -> Result<(), SysError> {
    set_child_subreaper(Some(getpid())).call("prctl", "PR_SET_CHILD_SUBREAPER")
}

/// Kills and reaps all descendants of this process, which must have called [`adopt`] before it had any: the children of a
/// killed process become its own.
pub(super) fn kill_descendants() {
    let own = getpid();
    loop {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        for child in children(own) {
            // The child is not reaped yet, so no other process has its id.
            let _ = kill_process(child, Signal::KILL);
        }
        let _ = wait(WaitOptions::empty());
    }
}

fn children(parent: Pid) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return vec![] };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
        parent_in(&stat) == Some(parent.as_raw_nonzero().get())
    })
    .filter_map(Pid::from_raw)
    .collect()
}

/// Parent in a line of `/proc/PID/stat`. The name before it is in parentheses and may contain parentheses.
fn parent_in(stat: &[u8]) -> Option<i32> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    std::str::from_utf8(&stat[end + 1..]).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_child_it_is() {
        for (stat, parent) in [
            ("7 (sh) S 5 7 7 0", Some(5)),
            ("7 (a) S 9 (b) R 6 1", Some(6)),
            ("7 (\u{fe}", None),
            ("7 (x) S", None),
            ("", None),
        ] {
            assert_eq!(parent_in(stat.as_bytes()), parent, "{stat}");
        }
    }
}
