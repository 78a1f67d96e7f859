//! Subreaper of a run without namespaces, and the start of its command.

use std::os::fd::{AsFd as _, OwnedFd};

use nix::sys::signal::SigSet;
use rustix::fs::Mode;

use super::descendants;
use super::filter;
use super::plan::LandlockPlan;
use crate::sandbox::cgroup::Group;
use crate::sandbox::channel;
use crate::sandbox::init::streams::Streams;
use crate::sandbox::init::{command, limits, privileges, reap};
use crate::sandbox::message::Message;
use crate::sandbox::outcome::Enforced;
use crate::sandbox::step::{AtStep as _, Step, StepError};
use crate::sys::Context as _;
use crate::sys::process::{Forked, SingleThreaded, close_others_on_exec, die_with_parent, fork};

/// Runs as the subreaper. Never returns: the process ends with it.
pub(in crate::sandbox) fn run(
    plan: &LandlockPlan,
    group: Option<&Group>,
    channel: &OwnedFd,
    mask: &SigSet,
    proof: &SingleThreaded,
) -> ! {
    channel::report_and_exit(channel.as_fd(), live(plan, group, channel, mask, proof))
}

fn live(
    plan: &LandlockPlan,
    group: Option<&Group>,
    channel: &OwnedFd,
    mask: &SigSet,
    proof: &SingleThreaded,
) -> Result<(), StepError> {
    let mut streams = Streams::of_the_caller();
    // Not killed together with hermes: the closed channel tells it, and then it has to kill the descendants.
    rustix::process::setsid().call("setsid", "").at(Step::StartSession)?;
    descendants::adopt().at(Step::SuperviseCommand)?;
    if let Some(group) = group {
        rustix::io::write(group.entry(), b"0").call("write", "cgroup.procs").at(Step::EnterCgroup)?;
    }
    let terminal = plan.policy.terminal.then(command::open_terminal).transpose().at(Step::OpenTerminal)?;
    if let Some(terminal) = &terminal {
        channel::send(channel.as_fd(), &Message::Terminal, Some(terminal.master.as_fd()));
    }
    if terminal.is_none() {
        streams.open_again().at(Step::OpenStreams)?;
    }
    match fork(proof).at(Step::ForkCommand)? {
        Forked::Child(proof) => start(plan, &streams, terminal.map(|terminal| terminal.slave), channel, mask, &proof),
        Forked::Parent(pid) => {
            drop((terminal, streams));
            let signals = reap::signals().at(Step::SuperviseCommand)?;
            let ended = reap::until_end(pid, &signals, None, None, channel);
            descendants::kill_descendants();
            channel::send(channel.as_fd(), &Message::Ended(ended), None);
            Ok(())
        }
    }
}

/// Becomes the command; on failure reports it and ends.
fn start(
    plan: &LandlockPlan,
    streams: &Streams,
    terminal: Option<OwnedFd>,
    channel: &OwnedFd,
    mask: &SigSet,
    proof: &SingleThreaded,
) -> Result<(), StepError> {
    let enforced = confine(plan, streams, terminal, proof)?;
    let required = LandlockPlan::REQUIRED.iter().chain(&plan.policy.required);
    command::begin(enforced, required, (&plan.policy.argv, &plan.policy.environment), channel, mask);
    Ok(())
}

/// Gives up everything the command must not have, in order.
fn confine(
    plan: &LandlockPlan,
    streams: &Streams,
    terminal: Option<OwnedFd>,
    proof: &SingleThreaded,
) -> Result<Enforced, StepError> {
    die_with_parent().at(Step::FollowSubreaper)?;
    command::start_session(streams, terminal)?;
    limits::apply(&plan.policy, proof)?;
    let directory = plan.directory.path();
    rustix::process::fchdir(&plan.directory).call("fchdir", directory).at(Step::EnterDirectory)?;
    rustix::process::umask(Mode::from_raw_mode(plan.policy.umask));
    // An ordinary user may have been given some.
    privileges::keep_capabilities(&caps::CapsHashSet::new()).at(Step::DropCapabilities)?;
    rustix::thread::set_no_new_privs(true).call("prctl", "PR_SET_NO_NEW_PRIVS").at(Step::SetNoNewPrivs)?;
    let paths = plan.paths.iter().map(|(path, reach)| (path.as_fd(), *reach));
    let named = streams.by_name(plan.policy.terminal);
    let landlock_abi = privileges::landlock(paths, named, plan.policy.network).at(Step::ApplyLandlock)?;
    close_others_on_exec().at(Step::CloseDescriptors)?;
    let seccomp = privileges::filter_calls(&filter::rules(plan.policy.network)).at(Step::FilterCalls)?;
    Ok(Enforced { landlock_abi, seccomp, netns: false })
}
