//! Starts init in new namespaces and waits for the outcome.

use std::os::fd::AsFd as _;
use std::thread;

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

/// Namespaces of every sandbox. The network namespace is left out if the host's network is shared.
pub(super) fn namespaces(network: Network) -> UnshareFlags {
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

/// Process 1 of a sandbox in which no other process is alive. The kernel tears down its mounts and network, which takes
/// as long as writing a record. Dropping this waits for the process, so that the mounts are gone when hermes ends.
#[must_use]
pub(crate) struct InitReaper {
    init: Option<Pid>,
}

impl InitReaper {
    /// Waits for init and describes how it ended.
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

/// Work for a thread of this process while a command runs.
pub(crate) type Beside<'a, 'work> = Option<&'a mut (dyn FnMut() + Send + 'work)>;

/// Runs `plan` to its end, in `group` if there is one.
///
/// # Errors
///
/// A standard stream or the namespaces are refused, a step of init fails, or the command cannot be started.
pub(crate) fn run(plan: &Plan, group: Option<&Group>) -> Result<(Outcome, InitReaper), SandboxError> {
    start(plan, group, None)
}

/// Runs `plan` to its end, and does the work `beside` meanwhile, whether the command succeeds or not. The work is not done if the
/// command is not started, or the system has no thread left.
///
/// # Errors
///
/// As for [`run`].
pub(crate) fn run_beside(plan: &Plan, beside: Beside<'_, '_>) -> Result<(Outcome, InitReaper), SandboxError> {
    start(plan, None, beside)
}

fn start(plan: &Plan, group: Option<&Group>, beside: Beside<'_, '_>) -> Result<(Outcome, InitReaper), SandboxError> {
    if !plan.policy.silent {
        streams::check()?;
    }
    let proof = single_threaded().map_err(SandboxError::Supervise)?.ok_or(SandboxError::Threads)?;
    let (ours, theirs) = channel::pair().map_err(SandboxError::Supervise)?;
    let signals = supervise::Signals::block().map_err(SandboxError::Supervise)?;
    let mut namespaces = namespaces(plan.policy.network);
    if group.is_some() {
        // Init makes it once it is in the cgroup, which then is the root of the namespace.
        namespaces.remove(UnshareFlags::NEWCGROUP);
    }
    // Where it fails, `hermes doctor` reports it.
    init::allow_no_core_handler();
    match clone_namespaces(&proof, namespaces).map_err(SandboxError::refused)? {
        Forked::Child(proof) => {
            drop(ours);
            init::run(plan, group, &theirs, &signals.original, &proof)
        }
        Forked::Parent(init) => {
            drop(theirs);
            let mapped = plan.policy.sub_ids.map_or(Ok(()), |ids| ids.map(init, plan.caller, &plan.policy.search));
            let news = match mapped {
                Ok(()) => {
                    if plan.policy.sub_ids.is_some() {
                        channel::send(ours.as_fd(), &Message::Mapped, None);
                    }
                    let ending = Termination::new(plan.policy.timeout);
                    let watch = || supervise::watch(init, Child::Init, &ours, &signals, plan.policy.terminal, ending);
                    match beside {
                        None => watch(),
                        // From now on nothing is forked.
                        Some(work) => thread::scope(|scope| {
                            let _ = thread::Builder::new().name("beside".into()).spawn_scoped(scope, work);
                            watch()
                        }),
                    }
                }
                Err(error) => Err(error),
            };
            // If init still waits for its ids, closing the channel ends it.
            drop(ours);
            into_outcome(news, Some(plan), init, group)
        }
    }
}

/// Turns the report of `init` into an outcome, with the explanation that `plan` asks for.
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
