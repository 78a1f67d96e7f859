//! What init does at each stop of a process of the command.

use rustix::process::{Pid, Signal, WaitStatus, kill_process};

use crate::emulation::EmulationMode;
use crate::sandbox::plan::Plan;
use crate::sandbox::seccomp::{Answer, Answers};
use crate::sandbox::tracer::exec_redirect::{ExecRedirector, Left};
use crate::sandbox::tracer::explain::{Denial, Watcher};
use crate::sandbox::tracer::interpose::Interposer;
use crate::sys::ptrace::{self, Call, Resume, Stop};
use crate::sys::{Context as _, SysError};

/// Watches the processes of a command.
pub(in crate::sandbox) struct Tracer {
    /// The command's first process.
    command: Pid,
    /// What the filter answers. A stop alone says nothing: a filter of the command's makes stops too.
    answers: Answers,
    /// Executes foreign programs.
    redirector: Option<ExecRedirector>,
    /// Takes note of what is refused.
    watcher: Option<Watcher>,
    /// Tells of another time, another order of directories, or other positions in them.
    interposer: Option<Interposer>,
    failure: Option<SysError>,
}

impl Tracer {
    /// Begins to watch `command` and all that it will make. Its filter must not be in force yet.
    pub(in crate::sandbox) fn new(plan: &Plan, command: Pid) -> Result<Self, SysError> {
        let explained = plan.explain.is_some();
        // A stop more at each start of a program.
        ptrace::seize(command, explained || plan.interposed.clock.is_some())?;
        let short = plan.positions.are_shortened();
        let redirector = plan.handlers.first().filter(|_| plan.emulation == Some(EmulationMode::Ptrace));
        Ok(Self {
            command,
            answers: Answers::new(&plan.rules(short)),
            redirector: redirector.map(|handler| ExecRedirector::new(handler.clone(), &plan.environment)),
            watcher: explained.then(|| Watcher::new(plan)),
            interposer: (short || !plan.interposed.is_none()).then(|| Interposer::new(&plan.interposed, short)),
            failure: None,
        })
    }

    /// Deals with a status of wait(2), if it is a stop; false where the process ended.
    pub(in crate::sandbox) fn took(&mut self, pid: Pid, status: WaitStatus) -> bool {
        let Some(stop) = ptrace::stop_of(status) else {
            self.redirector.iter_mut().for_each(|redirector| redirector.forget(pid));
            self.watcher.iter_mut().for_each(|watcher| watcher.ended(pid));
            self.interposer.iter_mut().for_each(|interposer| interposer.ended(pid));
            return false;
        };
        let how = match stop {
            Stop::Seccomp => self.enter(pid),
            Stop::CallExit => {
                self.leave(pid);
                Resume::Freely(0)
            }
            Stop::Exec => {
                self.executed(pid);
                Resume::Freely(0)
            }
            Stop::Group => Resume::Listen,
            Stop::Passing => {
                // Maybe a new one by an old one's id.
                self.redirector.iter_mut().for_each(|redirector| redirector.forget(pid));
                self.watcher.as_ref().map_or(Resume::Freely(0), |watcher| watcher.passing(pid))
            }
            Stop::Signal(libc::SIGSYS) => match &mut self.watcher {
                Some(watcher) => watcher.trapped(pid, &self.answers),
                None => Resume::Freely(libc::SIGSYS),
            },
            Stop::Signal(signal) => Resume::Freely(signal),
        };
        // One that was killed a moment ago need not be let go.
        let _ = ptrace::resume(pid, how);
        true
    }

    /// Before a call. Who watches sees it as it was made.
    fn enter(&mut self, pid: Pid) -> Resume {
        let how = self.look(pid).and_then(|call| {
            if let (Some(interposer), Some((name, call))) = (&mut self.interposer, &call)
                && let Some(how) = interposer.enter(pid, name, call)?
            {
                return Ok(how);
            }
            let watched = self.watcher.as_mut().zip(call).map(|(watcher, (name, call))| watcher.enter(pid, name, call));
            let executes = self.redirector.as_mut().is_some_and(|redirector| redirector.enter(pid));
            Ok(if executes { Resume::ToExit } else { watched.unwrap_or(Resume::Freely(0)) })
        });
        how.unwrap_or_else(|error| {
            self.fail(pid, error);
            Resume::Freely(0)
        })
    }

    /// The call that the filter stopped, and its name, where one is answered or watched.
    fn look(&self, pid: Pid) -> Result<Option<(&'static str, Call)>, SysError> {
        if self.watcher.is_none() && self.interposer.is_none() {
            return Ok(None);
        }
        let call = match ptrace::call(pid) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            call => call.call("ptrace", "PTRACE_GET_SYSCALL_INFO")?,
        };
        let answer = self.answers.answer(call.arch, call.number, &call.arguments);
        Ok(answer.filter(|(_, answer)| *answer == Answer::Trace).map(|(name, _)| (name, call)))
    }

    /// Ends the command: what was asked for is not left out without saying.
    fn fail(&mut self, pid: Pid, error: SysError) {
        for pid in [pid, self.command] {
            let _ = kill_process(pid, Signal::KILL);
        }
        self.failure.get_or_insert(error);
    }

    /// After a call.
    fn leave(&mut self, pid: Pid) {
        if self.interposer.as_mut().is_some_and(|interposer| interposer.leave(pid)) {
            return;
        }
        let left = self.redirector.as_mut().map_or(Left::Done, |redirector| redirector.leave(pid));
        if left == Left::Done {
            self.watcher.iter_mut().for_each(|watcher| watcher.leave(pid));
        }
    }

    /// Another program runs: all other threads of the process are gone, and the one that went on has its first one's id.
    fn executed(&mut self, pid: Pid) {
        let before = ptrace::event_message(pid).ok().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        for gone in [Some(pid), before].into_iter().flatten() {
            self.redirector.iter_mut().for_each(|redirector| redirector.forget(gone));
            self.watcher.iter_mut().for_each(|watcher| watcher.ended(gone));
        }
        self.watcher.iter_mut().for_each(|watcher| watcher.executed(pid));
        self.interposer.iter_mut().for_each(|interposer| interposer.executed(pid));
    }

    /// What was refused, and how much more was than could be kept; nothing where nobody looked.
    ///
    /// # Errors
    /// This kernel does not let calls be seen, or answered, and the command was killed for it.
    pub(in crate::sandbox) fn finish(self) -> Result<(Vec<Denial>, u64), SysError> {
        match self.failure {
            Some(error) => Err(error),
            None => Ok(self.watcher.map_or((vec![], 0), Watcher::finish)),
        }
    }
}
