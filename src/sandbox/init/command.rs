//! Confines a fork of init and executes the user's command in it.

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
use super::{limits, link, privileges};
use crate::sandbox::channel;
use crate::sandbox::fakeroot;
use crate::sandbox::filter;
use crate::sandbox::message::Message;
use crate::sandbox::outcome::Enforced;
use crate::sandbox::plan::{Plan, Reach};
use crate::sandbox::policy::{FakeRoot, Feature, Network};
use crate::sandbox::seccomp::Rule;
use crate::sandbox::step::{AtStep as _, Step, StepError};
use crate::sandbox::tracer::Gate;
use crate::sys::process::SingleThreaded;
use crate::sys::seccomp::can_continue;
use crate::sys::{Context as _, SysError, process};

/// Terminal of the command: the supervisor's end and the command's.
pub(in crate::sandbox) struct Pty {
    pub(in crate::sandbox) master: OwnedFd,
    pub(in crate::sandbox) slave: OwnedFd,
}

/// Opens a terminal, of the sandbox's own `/dev/pts` if it has one.
pub(in crate::sandbox) fn open_terminal() -> Result<Pty, SysError> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::open("/dev/ptmx", flags, Mode::empty()).call("open", "/dev/ptmx")?;
    rustix::pty::unlockpt(&master).call("ioctl", "TIOCSPTLCK")?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
        .call("ioctl", "TIOCGPTPEER")?;
    Ok(Pty { master, slave })
}

/// Becomes the command; on failure reports it and ends. `streams` are the streams that replace the caller's, and the
/// terminal of the command; `init` is the channel to init, if the plan needs its help.
pub(in crate::sandbox) fn start(
    plan: &Plan,
    gate: Option<Gate>,
    streams: (Streams, Option<OwnedFd>),
    init: Option<&OwnedFd>,
    channel: &OwnedFd,
    mask: &SigSet,
    proof: &SingleThreaded,
) -> Result<(), StepError> {
    // The memory is a copy of init's and hidden like it, but a process needs access to its own maps in /proc.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
        .call("prctl", "PR_SET_DUMPABLE")
        .at(Step::ShowCommand)?;
    // After the line above: no process may trace a hidden one.
    let is_watched = gate.map(Gate::pass).transpose().at(Step::AttachTracer)?.unwrap_or(false);
    if plan.is_traced() && !is_watched {
        // Init reports why.
        return Ok(());
    }
    let enforced = confine(plan, is_watched, streams, init, proof)?;
    begin(enforced, &plan.policy.required, (&plan.policy.argv, &plan.policy.environment), channel, mask);
    Ok(())
}

/// Executes a confined command if everything `required` is in force. Returns only if nothing was started, after it has
/// reported that.
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

/// Starts the session of the command, with its terminal and its standard streams.
pub(in crate::sandbox) fn start_session(streams: &Streams, terminal: Option<OwnedFd>) -> Result<(), StepError> {
    rustix::process::setsid().call("setsid", "").at(Step::StartCommandSession)?;
    if let Some(slave) = terminal {
        process::set_controlling_terminal(slave.as_fd()).at(Step::TakeTerminal)?;
        attach(&slave).at(Step::TakeTerminal)?;
    }
    streams.attach().at(Step::AttachStreams)
}

/// Gives up everything the command must not have, in order.
fn confine(
    plan: &Plan,
    is_watched: bool,
    (streams, terminal): (Streams, Option<OwnedFd>),
    init: Option<&OwnedFd>,
    proof: &SingleThreaded,
) -> Result<Enforced, StepError> {
    start_session(&streams, terminal)?;
    // Enters the inner user namespace: from here on this process does not own the mounts and the network.
    process::unshare_user().at(Step::EnterUserNamespace)?;
    match (plan.policy.sub_ids, init) {
        (Some(_), Some(init)) => link::request_id_maps(init).at(Step::MapUserRange)?,
        _ => privileges::map_ids((plan.uid, plan.gid), (0, 0)).at(Step::MapUser)?,
    }
    // In the inner user namespace, which counts the processes.
    limits::apply(&plan.policy, proof)?;
    let directory = &plan.policy.directory;
    rustix::process::chdir(directory).call("chdir", directory).at(Step::EnterDirectory)?;
    // A directory outside the root, reached through a descriptor, has no path inside (CVE-2024-21626).
    let here = rustix::process::getcwd(Vec::new()).call("getcwd", directory).at(Step::CheckDirectory)?;
    if !here.as_bytes().starts_with(b"/") {
        return Err(StepError {
            step: Step::CheckDirectory,
            error: SysError::new("getcwd", directory.display().to_string(), Errno::ACCESS),
        });
    }
    rustix::process::umask(Mode::from_raw_mode(plan.policy.umask));
    process::set_personality(plan.personality_32_bit, plan.policy.fixed_addresses).at(Step::SetPersonality)?;
    privileges::drop_capabilities(plan.policy.profile, plan.policy.sub_ids.is_some()).at(Step::DropCapabilities)?;
    // Required for landlock without privileges, and right in itself: no set-user-id program gains rights.
    rustix::thread::set_no_new_privs(true).call("prctl", "PR_SET_NO_NEW_PRIVS").at(Step::SetNoNewPrivs)?;
    // After the last mount: a landlocked process may not mount. TCP is left to the network namespace, in which a test
    // suite may talk to a server of its own.
    let landlock_abi = if process::landlock_abi_for_builds() == 0 {
        0
    } else {
        // Without landlock's PathFd: with musl the standard library drops O_PATH from the flags, and the directory would
        // be opened for reading.
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call("open", "/");
        let root = root.at(Step::ApplyLandlock)?;
        let streams = streams.by_name(plan.policy.terminal);
        privileges::landlock([(root.as_fd(), Reach::All)], streams, Network::Host).at(Step::ApplyLandlock)?
    };
    process::close_others_on_exec().at(Step::CloseDescriptors)?;
    // Last: the filter forbids much of what the steps above do.
    let is_short = is_watched && plan.positions.are_shortened();
    let filter = filter::rules(plan, is_short);
    let seccomp = match init {
        Some(init) if plan.needs_listener() => filter_and_pass_listener(plan, &filter, init)?,
        _ => privileges::filter_calls(&filter).at(Step::FilterCalls)?,
    };
    if plan.is_traced() && !seccomp {
        return Err(StepError { step: Step::FilterCalls, error: SysError::new("seccomp", "", Errno::NOSYS) });
    }
    Ok(Enforced { landlock_abi, seccomp, netns: plan.policy.network == Network::None })
}

/// Installs the filter, with init as the listener for some calls. Without state, a kernel that does not support that
/// (before 5.5, or with a container engine that listens itself) gets the filter without a listener.
fn filter_and_pass_listener(plan: &Plan, filter: &[Rule], init: &OwnedFd) -> Result<bool, StepError> {
    let needed = plan.policy.fake_root == FakeRoot::Stateful;
    let heard = if needed || can_continue() { Some(privileges::filter_with_listener(filter)) } else { None };
    match heard {
        Some(Ok(listener)) => {
            channel::send(init.as_fd(), &Message::Listener, Some(listener.as_fd()));
            Ok(true)
        }
        Some(Err(error)) if needed => Err(error).at(Step::ListenToCalls),
        _ => {
            channel::send(init.as_fd(), &Message::Listener, None);
            privileges::filter_calls(&fakeroot::without_listener(filter)).at(Step::FilterCalls)
        }
    }
}

/// Makes the terminal standard input and output, and standard error if that was a terminal.
fn attach(slave: &OwnedFd) -> Result<(), SysError> {
    rustix::stdio::dup2_stdin(slave).call("dup2", "terminal")?;
    rustix::stdio::dup2_stdout(slave).call("dup2", "terminal")?;
    if rustix::termios::isatty(rustix::stdio::stderr()) {
        rustix::stdio::dup2_stderr(slave).call("dup2", "terminal")?;
    }
    Ok(())
}

/// Executes a program by execve(2), with the search of execvp(3). Returns only on failure: the program, whether its file
/// exists, and the error.
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
        // As execvp does: a file that is not executable does not hide a later one that is.
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
