//! Supervisor of init: forwards signals and the terminal, and collects the messages of init.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, kill_process};

use crate::sandbox::channel;
use crate::sandbox::denial::Denial;
use crate::sandbox::error::SandboxError;
use crate::sandbox::message::Message;
use crate::sandbox::outcome::{Cause, Enforced, FakedFile, Outcome};
use crate::sandbox::plan::Plan;
use crate::sandbox::terminal::Terminal;
use crate::sandbox::termination::{Action, Termination, timespec};
use crate::sandbox::tracer::explain;
use crate::sys::{Context as _, SysError};

/// Signals that are forwarded to the command.
const PASSED_ON: [Signal; 8] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTSTP,
    Signal::SIGCONT,
];

/// The forwarded signals, blocked and read from a descriptor until this is dropped.
pub(super) struct Signals {
    fd: SignalFd,
    /// Signal mask from before, for the command.
    pub(super) original: SigSet,
}

impl Signals {
    /// Blocks the signals for this process and for init, which inherits the mask.
    pub(super) fn block() -> Result<Self, SysError> {
        let mut mask: SigSet = PASSED_ON.into_iter().collect();
        mask.add(Signal::SIGWINCH);
        let original = mask.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK).call("sigprocmask", "")?;
        let fd = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).call("signalfd", "")?;
        Ok(Self { fd, original })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = self.original.thread_set_mask();
    }
}

/// Everything that init reported.
#[derive(Default)]
pub(super) struct InitReport {
    enforced: Enforced,
    refused: Vec<Denial>,
    refused_more: u64,
    faked: Vec<FakedFile>,
    last: Option<Message>,
    cause: Option<Cause>,
    /// Whether the supervisor killed init, so that init could not report how the command ended.
    killed: bool,
}

impl InitReport {
    /// Turns the report into an outcome. `fate` finds out how init ended, if it reported nothing.
    pub(super) fn outcome(
        mut self,
        plan: Option<&Plan>,
        fate: impl FnOnce() -> String,
    ) -> Result<Outcome, SandboxError> {
        let refused = std::mem::take(&mut self.refused);
        let explained = plan.and_then(|plan| {
            let caller = plan.policy.explain.as_ref()?;
            Some(explain::explain(refused, self.refused_more, plan, caller))
        });
        match (self.ended(fate), explained) {
            (Ok(outcome), explanation) => Ok(Outcome { explanation, ..outcome }),
            (Err(error), Some(explanation)) if !explanation.refused.is_empty() => {
                Err(SandboxError::Explained { error: Box::new(error), explanation })
            }
            (Err(error), _) => Err(error),
        }
    }

    fn ended(self, fate: impl FnOnce() -> String) -> Result<Outcome, SandboxError> {
        match self.last {
            Some(Message::Missing(feature)) => Err(SandboxError::Missing(feature)),
            Some(Message::Ended(ended)) => {
                let Self { enforced, cause, faked, .. } = self;
                Ok(Outcome { ended, enforced, cause, explanation: None, faked })
            }
            None if self.killed => Ok(Outcome { enforced: self.enforced, cause: self.cause, ..Outcome::killed() }),
            Some(Message::Failed { step, error }) => Err(SandboxError::Setup { step, source: error }),
            Some(Message::NotStarted { program, exists, error }) => {
                Err(match (exists, error.is(rustix::io::Errno::NOENT)) {
                    (true, true) => SandboxError::NoInterpreter(program),
                    (false, _) => SandboxError::NotFound(program),
                    (true, false) => SandboxError::NotExecutable { program, source: error },
                })
            }
            _ => Err(SandboxError::Vanished(fate())),
        }
    }

    fn add(&mut self, message: Message) {
        match message {
            Message::Ready(enforced) => self.enforced = enforced,
            Message::Denied(refusal) => self.refused.push(refusal),
            Message::Faked(files) => self.faked.extend(files),
            Message::DeniedMore(count) => self.refused_more = count,
            // The first failure is the cause; the end of init afterwards is no news.
            message => {
                if !matches!(self.last, Some(Message::Failed { .. } | Message::Missing(_) | Message::NotStarted { .. }))
                {
                    self.last = Some(message);
                }
            }
        }
    }
}

/// Kind of the supervisor's child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Child {
    /// Process 1 of a pid namespace: killing it kills everything.
    Init,
    /// A subreaper, which kills everything once its channel is closed.
    Subreaper,
}

/// Watches `init` until its last message.
pub(super) fn watch(
    init: Pid,
    child: Child,
    channel: &OwnedFd,
    signals: &Signals,
    wants_terminal: bool,
    mut termination: Termination,
) -> Result<InitReport, SandboxError> {
    let mut news = InitReport::default();
    let mut terminal: Option<Terminal> = None;
    loop {
        let mut fds =
            vec![PollFd::new(channel, PollFlags::IN), PollFd::from_borrowed_fd(signals.fd.as_fd(), PollFlags::IN)];
        if let Some(terminal) = &terminal {
            fds.extend(terminal.poll_fds());
        }
        let wait = [termination.wait(Instant::now()), terminal.as_ref().and_then(Terminal::wait)];
        let wait = wait.into_iter().flatten().min_by_key(|wait| (wait.tv_sec, wait.tv_nsec));
        let polled = rustix::io::retry_on_intr(|| poll(&mut fds, wait.as_ref())).call("poll", "");
        polled.map_err(SandboxError::Supervise)?;
        let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        if let Some(terminal) = &mut terminal {
            terminal.pump(&ready[2..]);
        }
        if !ready[1].is_empty() {
            while let Ok(Some(info)) = signals.fd.read_signal() {
                let signal = i32::try_from(info.ssi_signo).ok().and_then(rustix::process::Signal::from_named_raw);
                let Some(signal) = signal else { continue };
                let action = match signal {
                    rustix::process::Signal::TERM => {
                        termination.terminated(Instant::now());
                        None
                    }
                    rustix::process::Signal::INT => termination.interrupted(Instant::now(), info.ssi_code),
                    _ => None,
                };
                match action {
                    Some(action) => news.killed |= act(init, child, channel, action),
                    None => pass_on(init, signal, terminal.as_mut()),
                }
            }
        }
        if let Some(action) = termination.due(Instant::now()) {
            news.killed |= act(init, child, channel, action);
        }
        if !ready[0].is_empty() {
            match channel::receive(channel).map_err(SandboxError::Supervise)? {
                Some((Message::Terminal, Some(master))) if wants_terminal => {
                    terminal = Some(Terminal::join(master).map_err(SandboxError::Supervise)?);
                }
                Some((message, _)) => {
                    // With a terminal, output of the command may be left; otherwise this was the last message.
                    let last = matches!(message, Message::Ended(_)) && terminal.is_none();
                    news.add(message);
                    if last {
                        break;
                    }
                }
                None => break,
            }
        }
    }
    news.cause = termination.cause;
    if let Some(terminal) = &mut terminal {
        show_the_rest(terminal, signals, &termination)?;
    }
    Ok(news)
}

/// Maximum time for output to arrive after the end of init, and for the caller's terminal to accept some of it once the
/// run must end.
const PATIENCE: Duration = Duration::from_secs(1);

/// Copies what the command wrote before it ended. The end of init closes the last other descriptor of the command's
/// terminal, which shows as a hang-up after the last byte.
///
/// Waits for the caller's terminal as a program outside would: until the timeout of the run or a signal.
fn show_the_rest(terminal: &mut Terminal, signals: &Signals, termination: &Termination) -> Result<(), SandboxError> {
    while !terminal.is_done() {
        let patient = terminal.is_blocked() && !termination.is_wanted();
        let wait = if patient { termination.wait(Instant::now()) } else { Some(timespec(PATIENCE)) };
        let mut fds = vec![PollFd::from_borrowed_fd(signals.fd.as_fd(), PollFlags::IN)];
        fds.extend(terminal.poll_fds());
        let polled = rustix::io::retry_on_intr(|| poll(&mut fds, wait.as_ref())).call("poll", "");
        if polled.map_err(SandboxError::Supervise)? == 0 {
            break;
        }
        let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        terminal.pump(&ready[1..]);
        while let Ok(Some(info)) = signals.fd.read_signal() {
            match i32::try_from(info.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGTSTP)) => stop(Some(&mut *terminal)),
                Ok(Ok(Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP | Signal::SIGQUIT)) => return Ok(()),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Carries out `action`, and returns whether it killed init and so everything.
fn act(init: Pid, child: Child, channel: &OwnedFd, action: Action) -> bool {
    // Init may have ended a moment ago.
    match (action, child) {
        (Action::Ask, _) => {
            let _ = kill_process(init, rustix::process::Signal::TERM);
            // A stopped command could not react to SIGTERM.
            let _ = kill_process(init, rustix::process::Signal::CONT);
        }
        (Action::Kill, Child::Init) => {
            let _ = kill_process(init, rustix::process::Signal::KILL);
        }
        (Action::Kill, Child::Subreaper) => {
            let _ = rustix::net::shutdown(channel, rustix::net::Shutdown::Both);
        }
    }
    action == Action::Kill
}

fn pass_on(init: Pid, signal: rustix::process::Signal, terminal: Option<&mut Terminal>) {
    if signal == rustix::process::Signal::WINCH {
        if let Some(terminal) = terminal {
            terminal.resize();
        }
        return;
    }
    // Init may have ended a moment ago.
    let _ = kill_process(init, signal);
    if signal == rustix::process::Signal::TSTP {
        // Init has stopped the command.
        stop(terminal);
    }
}

/// Stops this process, as the shell that sent SIGTSTP expects, with the caller's terminal as it was.
fn stop(mut terminal: Option<&mut Terminal>) {
    if let Some(terminal) = &mut terminal {
        terminal.release();
    }
    let _ = kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
    if let Some(terminal) = &mut terminal {
        terminal.take();
    }
}
