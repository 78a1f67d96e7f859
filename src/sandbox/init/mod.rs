//! Init: process 1 of the sandbox, which carries out the plan, and the command's start.
//!
//! Everything here runs in a fork of a single-threaded process, so it is ordinary Rust; but there is
//! nobody to print to, so every failure is a message to the supervisor.

pub(super) mod command;
mod handlers;
pub(super) mod limits;
mod link;
pub(super) mod privileges;
pub(super) mod reap;
mod root;
mod skeleton;
pub(super) mod streams;
mod system;

pub(super) use handlers::{HANDLERS_STEP, register};
pub(super) use limits::allow_no_core_handler;
pub(super) use root::{OVERLAY_STEP, SOURCES_STEP};

use std::os::fd::{AsFd as _, OwnedFd};

use nix::sys::signal::SigSet;
use rustix::process::DumpableBehavior;

use self::streams::Streams;
use crate::emulation::EmulationMode;
use crate::sandbox::cgroup::Group;
use crate::sandbox::channel;
use crate::sandbox::message::Message;
use crate::sandbox::plan::Plan;
use crate::sandbox::policy::{FakeRoot, Network, Profile};
use crate::sandbox::tracer::{Gate, Tracer};
use crate::sys::process::{Forked, SingleThreaded, die_with_parent, fork};
use crate::sys::{self, Context as _, SysError};

/// The name of every sandbox's process 1.
pub(super) const INIT_NAME: &std::ffi::CStr = c"hermes-init";

/// A step that failed, and the call that made it fail.
pub(super) struct StepError {
    pub(super) step: &'static str,
    pub(super) error: SysError,
}

/// The step of being the command's tracer.
const WATCHING: &str = "watching the command";

/// Names the step for a call's failure.
pub(super) trait Step<T> {
    fn step(self, step: &'static str) -> Result<T, StepError>;
}

impl<T> Step<T> for Result<T, SysError> {
    fn step(self, step: &'static str) -> Result<T, StepError> {
        self.map_err(|error| StepError { step, error })
    }
}

/// Makes this process root of the user namespace it has just entered.
pub(super) fn map_root(caller: (u32, u32)) -> Result<(), SysError> {
    privileges::map_ids((0, 0), caller)
}

/// The life of init. Never returns: the process ends with it.
pub(super) fn run(plan: &Plan, group: Option<&Group>, channel: &OwnedFd, mask: &SigSet, proof: &SingleThreaded) -> ! {
    if let Err(StepError { step, error }) = live(plan, group, channel, mask, proof) {
        channel::send(channel.as_fd(), &Message::Failed { step: step.to_owned(), error }, None);
    }
    // Ends without running what the process inherited from its parent to run at exit.
    sys::process::exit_now(0)
}

/// The order is the point; each step says why it stands where it does.
fn live(
    plan: &Plan,
    group: Option<&Group>,
    channel: &OwnedFd,
    mask: &SigSet,
    proof: &SingleThreaded,
) -> Result<(), StepError> {
    // By which a hermes inside knows where it is; and whoever looks at the host's processes.
    rustix::thread::set_name(INIT_NAME).call("prctl", "PR_SET_NAME").step("naming init")?;
    // First, so that nothing that follows can outlive the supervisor.
    die_with_parent().step("tying the sandbox to hermes")?;
    if channel::is_abandoned(channel.as_fd()) {
        // The supervisor ended before the line above: its death can kill nobody any more.
        return Ok(());
    }
    // In the caller's session, since only there the kernel says whether it is a terminal's.
    let mut streams = Streams::of_the_caller();
    // Leaves the caller's process group: its terminal's Ctrl-C goes to the supervisor, once.
    rustix::process::setsid().call("setsid", "").step("starting a session")?;
    // Root of the outer user namespace: needed to own the handlers and to make the inner one.
    if plan.sub_ids.is_none() {
        map_root(plan.caller).step("mapping the user")?;
    } else if !link::wait_for_ids(channel).step("mapping the users")? {
        return Ok(());
    }
    if let Some(group) = group {
        // Before anything is started or kept in memory, so that all of it counts.
        rustix::io::write(group.entry(), b"0").call("write", "cgroup.procs").step("entering the cgroup")?;
        sys::process::unshare_cgroup().step("hiding the cgroup")?;
    }
    // Before the first mount, or it would show on the host.
    sys::mount::make_all_private().step("cutting mounts off from the host")?;
    if plan.network == Network::None {
        sys::net::bring_loopback_up().step("switching the loopback device on")?;
    }
    system::name_host(&plan.hostname).step("naming the host")?;
    root::build(plan, &mut streams)?;
    // After pivot_root, so that the emulator's path is the one inside.
    let private = if plan.emulation == Some(EmulationMode::Binfmt) { plan.handlers.as_slice() } else { &[] };
    let handlers = handlers::register(private).step(HANDLERS_STEP)?;
    let terminal = plan.terminal.then(command::open_terminal).transpose().step("opening a terminal")?;
    if let Some(terminal) = &terminal {
        channel::send(channel.as_fd(), &Message::Terminal, Some(terminal.master.as_fd()));
    }
    // It has paths of the host in it.
    sys::process::overwrite_command_line(INIT_NAME.to_bytes()).step("hiding init")?;
    // Init and its memory, which is that of hermes, are not for the command to look at or into
    // (CVE-2019-5736 began with /proc/1/exe).
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .call("prctl", "PR_SET_DUMPABLE")
        .step("hiding init")?;
    let link = link::open(plan).step("starting the command")?;
    let is_watched = plan.is_traced() || plan.positions.are_shortened();
    let gate = is_watched.then(Gate::new).transpose().step(WATCHING)?;
    match fork(proof).step("starting the command")? {
        Forked::Child(proof) => {
            let init = link.map(|(_, theirs)| theirs);
            let streams = (streams, terminal.map(|terminal| terminal.slave));
            command::start(plan, gate, streams, init.as_ref(), channel, mask, &proof)
        }
        Forked::Parent(command) => {
            drop(streams);
            let signals = reap::signals().step("watching over the command")?;
            if plan.emulation == Some(EmulationMode::Ptrace) && plan.profile == Profile::Build {
                privileges::see_what_the_command_sees().step(WATCHING)?;
            }
            // Before anything else is done for the command, which waits for it.
            let mut tracer = match gate.map(|gate| gate.open(|| Tracer::new(plan, command))) {
                // Where init may be nobody's tracer, 32-bit foreign programs have the positions that the kernel gives.
                Some(Err(_)) if !plan.is_traced() => None,
                opened => opened.transpose().step(WATCHING)?,
            };
            // The command's end is closed, so that its death is heard of.
            let link = link.map(|(ours, _)| ours);
            if let Some(link) = &link {
                link::attend(plan, command, link).step("helping the command")?;
            }
            let link = link.map(|link| (link, plan.fake_root == FakeRoot::Stateful));
            let ended = reap::until_end(command, &signals, link, tracer.as_mut(), channel);
            reap::kill_the_rest();
            // The handlers live while this descriptor does.
            drop(handlers);
            if let Some(tracer) = tracer {
                let (refused, more) = tracer.finish().step(WATCHING)?;
                for refusal in refused {
                    channel::send(channel.as_fd(), &Message::Denied(refusal), None);
                }
                channel::send(channel.as_fd(), &Message::DeniedMore(more), None);
            }
            channel::send(channel.as_fd(), &Message::Ended(ended), None);
            Ok(())
        }
    }
}
