//! Starts init and waits for what comes of it.

use std::os::fd::AsFd as _;

use rustix::process::{Pid, WaitOptions, WaitStatus};
use rustix::thread::UnshareFlags;

use crate::sandbox::cgroup::Group;
use crate::sandbox::channel;
use crate::sandbox::error::SandboxError;
use crate::sandbox::init;
use crate::sandbox::message::Message;
use crate::sandbox::outcome::Outcome;
use crate::sandbox::plan::Plan;
use crate::sandbox::policy::Network;
use crate::sandbox::streams;
use crate::sandbox::supervise::{self, Child, InitReport};
use crate::sandbox::termination::Termination;
use crate::sys::process::{Forked, clone_namespaces, single_threaded};

/// The namespaces of every sandbox. The network's is not among them where the host's is shared.
fn namespaces(network: Network) -> UnshareFlags {
    let all = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    match network {
        Network::None => all | UnshareFlags::NEWNET,
        Network::Host => all,
    }
}

/// Process 1 of a sandbox in which nothing else is alive any more: it gives mounts and network back, which takes as long as
/// writing a record does. Waited for when this is dropped, so that what was mounted is free when hermes ends.
#[must_use]
pub(crate) struct InitReaper {
    init: Option<Pid>,
}

impl InitReaper {
    /// Waits for it, and says how it ended.
    fn wait(&mut self) -> String {
        let status = self.init.take().map(wait_for);
        match status {
            Some(Ok(Some((_, status)))) => status
                .terminating_signal()
                .map_or_else(|| "init exited".to_owned(), |signal| format!("signal {signal}")),
            _ => "init is gone".to_owned(),
        }
    }
}

impl Drop for InitReaper {
    fn drop(&mut self) {
        let _ = self.init.take().map(wait_for);
    }
}

fn wait_for(init: Pid) -> rustix::io::Result<Option<(Pid, WaitStatus)>> {
    rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(init), WaitOptions::empty()))
}

/// Runs the plan to its end, in `group` where there is one.
///
/// # Errors
/// A standard stream is refused, the namespaces are, a step of init fails, or the command cannot be started.
pub(crate) fn run(plan: &Plan, group: Option<&Group>) -> Result<(Outcome, InitReaper), SandboxError> {
    streams::check()?;
    let proof = single_threaded().map_err(SandboxError::Supervise)?.ok_or(SandboxError::Threads)?;
    let (ours, theirs) = channel::pair().map_err(SandboxError::Supervise)?;
    let signals = supervise::Signals::block().map_err(SandboxError::Supervise)?;
    let mut namespaces = namespaces(plan.network);
    if group.is_some() {
        // Init makes it once it is in the cgroup, which is then its root.
        namespaces.remove(UnshareFlags::NEWCGROUP);
    }
    // Where it is not to be had, `hermes doctor` says so.
    init::allow_no_core_handler();
    match clone_namespaces(&proof, namespaces).map_err(SandboxError::refused)? {
        Forked::Child(proof) => {
            drop(ours);
            init::run(plan, group, &theirs, &signals.original, &proof)
        }
        Forked::Parent(init) => {
            drop(theirs);
            let mapped = plan.sub_ids.map_or(Ok(()), |ids| ids.map(init, plan.caller, &plan.search));
            let news = match mapped {
                Ok(()) => {
                    if plan.sub_ids.is_some() {
                        channel::send(ours.as_fd(), &Message::Mapped, None);
                    }
                    let ending = Termination::new(plan.timeout);
                    supervise::watch(init, Child::Init, &ours, &signals, plan.terminal, ending)
                }
                Err(error) => Err(error),
            };
            // Where init still waits for word of its ids, it ends.
            drop(ours);
            into_outcome(news, Some(plan), init, group)
        }
    }
}

/// What the news of `init` come to, and what the `plan` wants explained of them.
pub(super) fn into_outcome(
    news: Result<InitReport, SandboxError>,
    plan: Option<&Plan>,
    init: Pid,
    group: Option<&Group>,
) -> Result<(Outcome, InitReaper), SandboxError> {
    let mut remains = InitReaper { init: Some(init) };
    let outcome = news.and_then(|news| news.outcome(plan, || remains.wait()));
    let reached = group.and_then(Group::reached);
    let mut outcome = match (outcome, reached) {
        // Init itself was killed.
        (Err(SandboxError::Vanished(_)), Some(_)) => Outcome::killed(),
        (outcome, _) => outcome?,
    };
    if outcome.exit_code() != 0 {
        outcome.cause = outcome.cause.or(reached);
    }
    Ok((outcome, remains))
}
