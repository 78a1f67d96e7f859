//! From a fork of init to the user's command.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use nix::sys::signal::SigSet;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use rustix::pty::OpenptFlags;

use super::streams::Streams;
use super::{Step as _, StepError, WATCHING, limits, link, privileges};
use crate::sandbox::channel;
use crate::sandbox::fakeroot;
use crate::sandbox::message::Message;
use crate::sandbox::outcome::Enforced;
use crate::sandbox::plan::Plan;
use crate::sandbox::plan::Reach;
use crate::sandbox::policy::{FakeRoot, Feature, Network};
use crate::sandbox::seccomp::Rule;
use crate::sandbox::tracer::Gate;
use crate::sys::process::SingleThreaded;
use crate::sys::seccomp::can_continue;
use crate::sys::{Context as _, SysError, process};

/// The command's terminal: the supervisor's end and the command's.
pub(in crate::sandbox) struct Pty {
    pub(in crate::sandbox) master: OwnedFd,
    pub(in crate::sandbox) slave: OwnedFd,
}

/// Opens a terminal: of the sandbox's own `/dev/pts`, where it has one.
pub(in crate::sandbox) fn open_terminal() -> Result<Pty, SysError> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::open("/dev/ptmx", flags, Mode::empty()).call("open", "/dev/ptmx")?;
    rustix::pty::unlockpt(&master).call("ioctl", "TIOCSPTLCK")?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
        .call("ioctl", "TIOCGPTPEER")?;
    Ok(Pty { master, slave })
}

/// Becomes the command, or says why not and ends. `streams` are those that it gets in the place of the caller's, and the
/// terminal of its own; `init` is where init helps, if the plan needs it to.
pub(in crate::sandbox) fn start(
    plan: &Plan,
    gate: Option<Gate>,
    streams: (Streams, Option<OwnedFd>),
    init: Option<&OwnedFd>,
    channel: &OwnedFd,
    mask: &SigSet,
    proof: &SingleThreaded,
) -> Result<(), StepError> {
    // The memory is a copy of init's and hidden like it; a process must be seen to write its own maps.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
        .call("prctl", "PR_SET_DUMPABLE")
        .step("showing the command")?;
    // Not before the line above: of a hidden process nobody is the tracer.
    let is_watched = gate.map(Gate::pass).transpose().step(WATCHING)?.unwrap_or(false);
    if plan.is_traced() && !is_watched {
        // Init says why.
        return Ok(());
    }
    let enforced = confine(plan, is_watched, streams, init, proof)?;
    begin(enforced, &plan.required, (&plan.argv, &plan.environment), channel, mask);
    Ok(())
}

/// Executes a command that is confined, where what is `required` is in force; returns only where nothing was started, which
/// has been said then.
pub(in crate::sandbox) fn begin<'a>(
    enforced: Enforced,
    required: impl IntoIterator<Item = &'a Feature>,
    (argv, environment): (&[OsString], &[(OsString, OsString)]),
    channel: &OwnedFd,
    mask: &SigSet,
) {
    if let Some(missing) = required.into_iter().find(|feature| !enforced.has(**feature)) {
        return channel::send(channel.as_fd(), &Message::Missing(*missing), None);
    }
    channel::send(channel.as_fd(), &Message::Ready(enforced), None);
    let Err((program, exists, error)) = execute(argv, environment, mask);
    channel::send(channel.as_fd(), &Message::NotStarted { program, exists, error }, None);
}

/// Gives up, in order, everything the command must not have.
fn confine(
    plan: &Plan,
    is_watched: bool,
    (streams, terminal): (Streams, Option<OwnedFd>),
    init: Option<&OwnedFd>,
    proof: &SingleThreaded,
) -> Result<Enforced, StepError> {
    rustix::process::setsid().call("setsid", "").step("starting the command's session")?;
    if let Some(slave) = terminal {
        process::set_controlling_terminal(slave.as_fd()).step("taking the terminal")?;
        attach(&slave).step("taking the terminal")?;
    }
    streams.attach().step("attaching the standard streams")?;
    // The inner user namespace: from here on the mounts and the network are another's.
    process::unshare_user().step("entering the inner user namespace")?;
    match (plan.sub_ids, init) {
        (Some(_), Some(init)) => link::ask_for_ids(init).step("mapping the users")?,
        _ => privileges::map_ids((plan.uid, plan.gid), (0, 0)).step("mapping the user")?,
    }
    // In the inner user namespace, in which processes are counted.
    limits::set_defaults().step("setting resource limits")?;
    limits::set_asked(plan.limits, proof)?;
    if let Some(count) = plan.nproc {
        limits::show_cpus(count).step("choosing processors")?;
    }
    let directory = &plan.directory;
    rustix::process::chdir(directory).call("chdir", directory).step("entering the working directory")?;
    // A directory outside the root, reached through a descriptor, has no path in it (CVE-2024-21626).
    let here = rustix::process::getcwd(Vec::new()).call("getcwd", directory).step("checking the working directory")?;
    if !here.as_bytes().starts_with(b"/") {
        return Err(StepError {
            step: "checking the working directory",
            error: SysError::new("getcwd", directory.display().to_string(), Errno::ACCESS),
        });
    }
    rustix::process::umask(Mode::from_raw_mode(plan.umask));
    process::set_personality(plan.personality_32_bit, plan.fixed_addresses).step("setting the personality")?;
    privileges::drop_capabilities(plan.profile, plan.sub_ids.is_some()).step("dropping capabilities")?;
    // Needed for landlock without privileges, and right in itself: no set-user-id program gains any.
    rustix::thread::set_no_new_privs(true).call("prctl", "PR_SET_NO_NEW_PRIVS").step("setting no_new_privs")?;
    // After the last mount: a landlocked process may not mount. TCP is the network namespace's affair, in which a test
    // suite may well talk to a server of its own.
    let landlock_abi = if process::landlock_abi_for_builds() == 0 {
        0
    } else {
        // Not by landlock's PathFd: with musl the standard library takes O_PATH out of the flags, and it would be opened in truth.
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call("open", "/");
        let root = root.step("applying landlock")?;
        let streams = streams.by_name(plan.terminal);
        privileges::landlock([(root.as_fd(), Reach::All)], streams, Network::Host).step("applying landlock")?
    };
    process::close_others_on_exec().step("closing descriptors")?;
    // Last: it forbids much of what went before.
    let is_short = is_watched && plan.positions.are_shortened();
    let filter = plan.rules(is_short);
    let seccomp = match init {
        Some(init) if plan.hears_calls() => filter_and_be_heard(plan, &filter, init)?,
        _ => privileges::filter_calls(&filter).step("filtering system calls")?,
    };
    if plan.is_traced() && !seccomp {
        return Err(StepError { step: WATCHING, error: SysError::new("seccomp", "", Errno::NOSYS) });
    }
    Ok(Enforced { landlock_abi, seccomp, netns: plan.network == Network::None })
}

/// Puts the filter before all calls from here on, with init to hear of some. Without state, kernels that cannot have it so
/// (before 5.5, or where a container engine hears of calls itself) do without.
fn filter_and_be_heard(plan: &Plan, filter: &[Rule], init: &OwnedFd) -> Result<bool, StepError> {
    let needed = plan.fake_root == FakeRoot::Stateful;
    let heard = if needed || can_continue() { Some(privileges::filter_and_hear_calls(filter)) } else { None };
    match heard {
        Some(Ok(listener)) => {
            channel::send(init.as_fd(), &Message::Listener, Some(listener.as_fd()));
            Ok(true)
        }
        Some(Err(error)) if needed => Err(error).step("listening to system calls"),
        _ => {
            channel::send(init.as_fd(), &Message::Listener, None);
            privileges::filter_calls(&fakeroot::unheard(filter)).step("filtering system calls")
        }
    }
}

/// Makes the terminal standard input and output, and standard error where that was a terminal too.
pub(in crate::sandbox) fn attach(slave: &OwnedFd) -> Result<(), SysError> {
    rustix::stdio::dup2_stdin(slave).call("dup2", "terminal")?;
    rustix::stdio::dup2_stdout(slave).call("dup2", "terminal")?;
    if rustix::termios::isatty(rustix::stdio::stderr()) {
        rustix::stdio::dup2_stderr(slave).call("dup2", "terminal")?;
    }
    Ok(())
}

/// execve(2) with the search of execvp(3). Returns only where nothing could be started: the program,
/// whether its file exists, and why.
fn execute(
    argv: &[OsString],
    environment: &[(OsString, OsString)],
    mask: &SigSet,
) -> Result<Infallible, (String, bool, SysError)> {
    let program = argv.first().map_or(OsStr::new(""), OsString::as_os_str);
    let shown = program.to_string_lossy().into_owned();
    let fail = |exists, errno| Err((shown.clone(), exists, SysError::new("execve", shown.clone(), errno)));
    let c_string = |text: &OsStr| CString::new(text.as_bytes()).ok();
    let arguments: Option<Vec<CString>> = argv.iter().map(|argument| c_string(argument)).collect();
    let pairs: Option<Vec<CString>> = environment
        .iter()
        .map(|(name, value)| {
            let mut pair = name.clone().into_vec();
            pair.push(b'=');
            pair.extend_from_slice(value.as_bytes());
            CString::new(pair).ok()
        })
        .collect();
    let (Some(arguments), Some(pairs)) = (arguments, pairs) else { return fail(true, Errno::INVAL) };

    process::default_signals();
    let _ = mask.thread_set_mask();

    let mut failure = None;
    for candidate in candidates(program, environment) {
        let Some(path) = c_string(candidate.as_os_str()) else { continue };
        let Err(errno) = nix::unistd::execve(&path, &arguments, &pairs);
        let exists = candidate.exists();
        // As execvp: one that may not be run does not hide a later one that may.
        if exists && failure.is_none() {
            failure = Some(errno);
        }
    }
    match failure {
        Some(errno) => fail(true, Errno::from_raw_os_error(errno as i32)),
        None => fail(false, Errno::NOENT),
    }
}

fn candidates(program: &OsStr, environment: &[(OsString, OsString)]) -> Vec<std::path::PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return vec![Path::new(program).to_owned()];
    }
    let path = environment.iter().rev().find(|(name, _)| name == "PATH").map_or(OsStr::new(""), |(_, value)| value);
    let directories = path
        .as_bytes()
        .split(|byte| *byte == b':')
        .filter(|directory| !program.is_empty() && directory.starts_with(b"/"));
    directories.map(|directory| Path::new(OsStr::from_bytes(directory)).join(program)).collect()
}
