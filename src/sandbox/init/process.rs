//! Process 1 of a sandbox: carries out the plan, starts the command, and reaps.

use std::os::fd::{AsFd as _, OwnedFd};

use nix::sys::signal::SigSet;
use rustix::process::DumpableBehavior;

use super::link::Ownership;
use super::privileges::map_root;
use super::streams::Streams;
use super::{command, handlers, link, privileges, reap, root, system};
use crate::emulation::EmulationMode;
use crate::sandbox::cgroup::Group;
use crate::sandbox::channel;
use crate::sandbox::fakeroot::FirstOwners;
use crate::sandbox::filter;
use crate::sandbox::message::Message;
use crate::sandbox::plan::Plan;
use crate::sandbox::policy::{FakeRoot, Network, Profile};
use crate::sandbox::step::{AtStep as _, INIT_NAME, Step, StepError};
use crate::sandbox::tracer::{Gate, Tracer};
use crate::sys::process::{Forked, SingleThreaded, die_with_parent, fork};
use crate::sys::{self, Context as _};

/// Runs as init. Never returns: the process ends with it.
pub(in crate::sandbox) fn run(
    plan: &Plan,
    group: Option<&Group>,
    channel: &OwnedFd,
    mask: &SigSet,
    proof: &SingleThreaded,
) -> ! {
    channel::report_and_exit(channel.as_fd(), live(plan, group, channel, mask, proof))
}

/// Carries out the plan. The order matters: each step says why it stands where it does.
fn live(
    plan: &Plan,
    group: Option<&Group>,
    channel: &OwnedFd,
    mask: &SigSet,
    proof: &SingleThreaded,
) -> Result<(), StepError> {
    // The name tells a hermes inside, and people who look at the host's processes, what this is.
    rustix::thread::set_name(INIT_NAME).call("prctl", "PR_SET_NAME").at(Step::NameInit)?;
    // First, so that nothing that follows can outlive the supervisor.
    die_with_parent().at(Step::FollowHermes)?;
    if channel::is_abandoned(channel.as_fd()) {
        // The supervisor ended before the line above, so that its death signal cannot reach this process.
        return Ok(());
    }
    if plan.policy.silent {
        Streams::replace_by_null().at(Step::OpenStreams)?;
    }
    // In the caller's session: only there the kernel tells whether a terminal controls it.
    let mut streams = Streams::of_the_caller();
    // Leaves the caller's process group, so that a Ctrl-C of its terminal reaches the supervisor alone.
    rustix::process::setsid().call("setsid", "").at(Step::StartSession)?;
    // Root of the outer user namespace: needed to own the handlers and to make the inner one.
    if plan.policy.sub_ids.is_none() {
        map_root(plan.caller).at(Step::MapUser)?;
    } else if !link::wait_for_ids(channel).at(Step::MapUserRange)? {
        return Ok(());
    }
    if let Some(group) = group {
        // Before any process is started or memory is used, so that all of it counts.
        rustix::io::write(group.entry(), b"0").call("write", "cgroup.procs").at(Step::EnterCgroup)?;
        sys::process::unshare_cgroup().at(Step::HideCgroup)?;
    }
    // Before the first mount, which would show on the host.
    sys::mount::make_all_private().at(Step::MakeMountsPrivate)?;
    if plan.policy.network == Network::None {
        sys::net::bring_loopback_up().at(Step::BringLoopbackUp)?;
    }
    system::name_host(&plan.policy.hostname).at(Step::SetHostname)?;
    root::build(plan, &mut streams)?;
    // After pivot_root, so that the path of the emulator is the one inside.
    let private = if plan.policy.emulation == Some(EmulationMode::Binfmt) { plan.handlers.as_slice() } else { &[] };
    let handlers = handlers::register(private).at(Step::RegisterEmulator)?;
    let terminal = plan.policy.terminal.then(command::open_terminal).transpose().at(Step::OpenTerminal)?;
    if let Some(terminal) = &terminal {
        channel::send(channel.as_fd(), &Message::Terminal, Some(terminal.master.as_fd()));
    }
    // The command line contains paths of the host.
    sys::process::overwrite_command_line(INIT_NAME.to_bytes()).at(Step::HideInit)?;
    // The command must not see init or its memory, which is that of hermes (CVE-2019-5736 began with /proc/1/exe).
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .call("prctl", "PR_SET_DUMPABLE")
        .at(Step::HideInit)?;
    let owners = plan.policy.owners.as_deref().unwrap_or_default();
    let owners = FirstOwners::find(owners).at(Step::FindOwners)?;
    let link = link::open(plan).at(Step::ForkCommand)?;
    let is_watched = plan.is_traced() || plan.positions.are_shortened();
    let gate = is_watched.then(Gate::new).transpose().at(Step::AttachTracer)?;
    match fork(proof).at(Step::ForkCommand)? {
        Forked::Child(proof) => {
            let init = link.map(|(_, theirs)| theirs);
            let streams = (streams, terminal.map(|terminal| terminal.slave));
            command::start(plan, gate, streams, init.as_ref(), channel, mask, &proof)
        }
        Forked::Parent(command) => {
            drop(streams);
            let signals = reap::signals().at(Step::SuperviseCommand)?;
            if plan.policy.emulation == Some(EmulationMode::Ptrace) && plan.policy.profile == Profile::Build {
                privileges::see_what_the_command_sees().at(Step::DropCapabilities)?;
            }
            // First, because the command waits for it.
            let attach = || Tracer::new(plan, &filter::rules(plan, plan.positions.are_shortened()), command);
            let mut tracer = match gate.map(|gate| gate.open(attach)) {
                // Where init may trace no process, 32-bit foreign programs have the positions of the kernel.
                Some(Err(_)) if !plan.is_traced() => None,
                opened => opened.transpose().at(Step::AttachTracer)?,
            };
            // Closes the command's end, so that its death shows.
            let link = link.map(|(ours, _)| ours);
            if let Some(link) = &link {
                link::map_requested_ids(plan, command, link).at(Step::MapCommandUsers)?;
            }
            let mut ownership =
                link.map(|link| Ownership::new(link, plan.policy.fake_root == FakeRoot::Stateful, owners));
            let ended = reap::until_end(command, &signals, ownership.as_mut(), tracer.as_mut(), channel);
            reap::kill_the_rest();
            // The handlers live as long as this descriptor.
            drop(handlers);
            if let Some(tracer) = tracer {
                let (refused, more) = tracer.finish()?;
                for refusal in refused {
                    channel::send(channel.as_fd(), &Message::Denied(refusal), None);
                }
                channel::send(channel.as_fd(), &Message::DeniedMore(more), None);
            }
            if let Some(ownership) = ownership.filter(|_| plan.policy.owners.is_some()) {
                ownership.report(channel);
            }
            channel::send(channel.as_fd(), &Message::Ended(ended), None);
            Ok(())
        }
    }
}
