//! The subreaper of a run without namespaces, and its command's start.

use std::os::fd::{AsFd as _, OwnedFd};

use nix::sys::signal::SigSet;
use rustix::fs::Mode;

use super::descendants;
use super::filter;
use super::plan::LandlockPlan;
use crate::sandbox::cgroup::Group;
use crate::sandbox::channel;
use crate::sandbox::init::streams::Streams;
use crate::sandbox::init::{Step as _, StepError, command, limits, privileges, reap};
use crate::sandbox::message::Message;
use crate::sandbox::outcome::Enforced;
use crate::sys::process::{Forked, SingleThreaded, close_others_on_exec, die_with_parent, exit_now, fork};
use crate::sys::{Context as _, process};

/// The life of the subreaper. Never returns: the process ends with it.
pub(in crate::sandbox) fn run(
    plan: &LandlockPlan,
    group: Option<&Group>,
    channel: &OwnedFd,
    mask: &SigSet,
    proof: &SingleThreaded,
) -> ! {
    if let Err(StepError { step, error }) = live(plan, group, channel, mask, proof) {
        channel::send(channel.as_fd(), &Message::Failed { step: step.to_owned(), error }, None);
    }
    exit_now(0)
}

fn live(
    plan: &LandlockPlan,
    group: Option<&Group>,
    channel: &OwnedFd,
    mask: &SigSet,
    proof: &SingleThreaded,
) -> Result<(), StepError> {
    let mut streams = Streams::of_the_caller();
    // Not killed when hermes is: it hears of that by the channel, and has something left to do then.
    rustix::process::setsid().call("setsid", "").step("starting a session")?;
    descendants::adopt().step("watching over the command")?;
    if let Some(group) = group {
        rustix::io::write(group.entry(), b"0").call("write", "cgroup.procs").step("entering the cgroup")?;
    }
    let terminal = plan.policy.terminal.then(command::open_terminal).transpose().step("opening a terminal")?;
    if let Some(terminal) = &terminal {
        channel::send(channel.as_fd(), &Message::Terminal, Some(terminal.master.as_fd()));
    }
    if terminal.is_none() {
        streams.open_again().step("opening the standard streams")?;
    }
    match fork(proof).step("starting the command")? {
        Forked::Child(proof) => start(plan, &streams, terminal.map(|terminal| terminal.slave), channel, mask, &proof),
        Forked::Parent(pid) => {
            drop((terminal, streams));
            let signals = reap::signals().step("watching over the command")?;
            let ended = reap::until_end(pid, &signals, None, None, channel);
            descendants::kill_descendants();
            channel::send(channel.as_fd(), &Message::Ended(ended), None);
            Ok(())
        }
    }
}

/// Becomes the command, or says why not and ends.
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

/// Gives up, in order, everything the command must not have.
fn confine(
    plan: &LandlockPlan,
    streams: &Streams,
    terminal: Option<OwnedFd>,
    proof: &SingleThreaded,
) -> Result<Enforced, StepError> {
    die_with_parent().step("tying the command to its subreaper")?;
    rustix::process::setsid().call("setsid", "").step("starting the command's session")?;
    if let Some(slave) = terminal {
        process::set_controlling_terminal(slave.as_fd()).step("taking the terminal")?;
        command::attach(&slave).step("taking the terminal")?;
    }
    streams.attach().step("attaching the standard streams")?;
    limits::set_defaults().step("setting resource limits")?;
    limits::set_asked(plan.policy.limits, proof)?;
    if let Some(count) = plan.policy.nproc {
        limits::show_cpus(count).step("choosing processors")?;
    }
    let directory = plan.directory.path();
    rustix::process::fchdir(&plan.directory).call("fchdir", directory).step("entering the working directory")?;
    rustix::process::umask(Mode::from_raw_mode(plan.policy.umask));
    // An ordinary user may have been given some.
    privileges::keep_capabilities(&caps::CapsHashSet::new()).step("dropping capabilities")?;
    rustix::thread::set_no_new_privs(true).call("prctl", "PR_SET_NO_NEW_PRIVS").step("setting no_new_privs")?;
    let paths = plan.paths.iter().map(|(path, reach)| (path.as_fd(), *reach));
    let named = streams.by_name(plan.policy.terminal);
    let landlock_abi = privileges::landlock(paths, named, plan.policy.network).step("applying landlock")?;
    close_others_on_exec().step("closing descriptors")?;
    let seccomp = privileges::filter_calls(&filter::rules(plan.policy.network)).step("filtering system calls")?;
    Ok(Enforced { landlock_abi, seccomp, netns: false })
}
