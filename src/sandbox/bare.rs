//! A run without namespaces, for hosts where none can be had: the command is a process of the host like others, which
//! landlock and the system call filter keep to some paths. It is no sandbox as the others are (`docs/security.md`).
//!
//! Between hermes and the command stands a warden ([`init::run_bare`]) that does what init does for the others. It becomes
//! the parent of every process that a descendant leaves behind (`PR_SET_CHILD_SUBREAPER`), and kills them when the command
//! or hermes ends. hermes itself does not: it may have children from before it was executed.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};

use crate::fs::opened::Opened;
use crate::sandbox::cgroup::Group;
use crate::sandbox::ending::Ending;
use crate::sandbox::error::SandboxError;
use crate::sandbox::init;
use crate::sandbox::outcome::Outcome;
use crate::sandbox::policy::{Feature, Network, Policy};
use crate::sandbox::seccomp::{self, Answer, Case, Rule, Test};
use crate::sandbox::spawn::conclude;
use crate::sandbox::streams;
use crate::sandbox::supervise::{self, Child};
use crate::sandbox::wire;
use crate::sys::process::{Forked, fork, landlock_abi, single_threaded};
use crate::sys::{Context as _, SysError};

/// What of the second argument of socketpair(2) is the kind (`SOCK_TYPE_MASK`); the rest are flags.
const SOCKET_KIND: u32 = 0xf;

/// What a command may do with a path and what lies beneath.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Everything.
    All,
    /// Read, list and execute.
    Read,
    /// Read, write and control a device that is there.
    Device,
}

/// What is done. All paths are the host's.
#[derive(Debug, Clone)]
pub(crate) struct Bare {
    /// What the command may do where; nothing elsewhere.
    pub paths: Vec<(Opened, Reach)>,
    /// Where it starts.
    pub directory: Opened,
    /// The rest; what it says of mounts and users means nothing.
    pub policy: Policy,
}

impl Bare {
    /// What nothing runs without: the one keeps files apart, the other keeps the command from the caller's session bus.
    pub(super) const REQUIRED: [Feature; 2] = [Feature::Landlock, Feature::Seccomp];

    /// The filter: that of all sandboxes, and no sockets that could be connected to a name, of which landlock knows nothing: by
    /// the session bus or systemd's sockets a command would have others run what it wants. Without network none of the
    /// internet either. Of pairs only the kinds that stay connected to each other: a datagram can be sent to any name.
    pub(super) fn filter(&self) -> Vec<Rule> {
        let is = |at, value: libc::c_int| Test::Is(at, u32::MAX, value.cast_unsigned());
        let allowed = |tests: &[Test]| Case { tests: tests.to_vec(), answer: Answer::Allow };
        let mut cases = vec![allowed(&[is(0, libc::AF_NETLINK), is(2, libc::NETLINK_ROUTE)])];
        if self.policy.network == Network::Host {
            cases.extend([libc::AF_INET, libc::AF_INET6].map(|family| allowed(&[is(0, family)])));
        }
        let mut rules = seccomp::rules(false);
        rules.push(Rule { call: "socket", cases, otherwise: Answer::errno(Errno::ACCESS) });
        let pair = |kind| allowed(&[is(0, libc::AF_UNIX), Test::Is(1, SOCKET_KIND, kind)]);
        let cases = [libc::SOCK_STREAM, libc::SOCK_SEQPACKET].map(|kind| pair(kind.cast_unsigned())).into();
        rules.push(Rule { call: "socketpair", cases, otherwise: Answer::errno(Errno::ACCESS) });
        if landlock_abi() < 3 {
            // Landlock does not know it yet.
            rules.push(Rule::always("truncate", Answer::errno(Errno::ACCESS)));
            rules.push(Rule::always("truncate64", Answer::errno(Errno::ACCESS)));
        }
        rules
    }
}

/// Runs it to its end, in `group` where there is one.
///
/// # Errors
/// Landlock or the filter is not to be had, a step fails, or the command cannot be started.
pub(crate) fn run(bare: &Bare, group: Option<&Group>) -> Result<Outcome, SandboxError> {
    if landlock_abi() == 0 {
        return Err(SandboxError::NoLandlock);
    }
    streams::check()?;
    let proof = single_threaded().map_err(SandboxError::Supervise)?.ok_or(SandboxError::Threads)?;
    let (ours, theirs) = wire::channel().map_err(SandboxError::Supervise)?;
    let signals = supervise::Signals::block().map_err(SandboxError::Supervise)?;
    match fork(&proof).map_err(SandboxError::Supervise)? {
        Forked::Child(proof) => {
            drop(ours);
            init::run_bare(bare, group, &theirs, &signals.original, &proof)
        }
        Forked::Parent(warden) => {
            drop(theirs);
            let news = supervise::watch(
                warden,
                Child::Warden,
                &ours,
                &signals,
                bare.policy.terminal,
                Ending::new(bare.policy.timeout),
            );
            drop(ours);
            // With its end all has ended.
            conclude(news, None, warden, group).map(|(outcome, _)| outcome)
        }
    }
}

/// Makes this process the parent of those that its descendants leave behind.
pub(super) fn adopt() -> Result<(), SysError> {
    set_child_subreaper(Some(getpid())).call("prctl", "PR_SET_CHILD_SUBREAPER")
}

/// Kills and reaps all that descends from this process, which must have called [`adopt`] before it had any: the children
/// of who is killed become its own.
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
            // It is this process's until it is reaped, so its number is nobody else's.
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

/// The parent in a line of `/proc/PID/stat`, after the name, which is in parentheses and may have any in it.
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
