//! Handling of each stop of a traced process.

use rustix::process::{Pid, Signal, WaitStatus, kill_process};

use crate::emulation::EmulationMode;
use crate::sandbox::denial::Denial;
use crate::sandbox::plan::Plan;
use crate::sandbox::seccomp::{Answer, Answers, Rule};
use crate::sandbox::step::{AtStep as _, Step, StepError};
use crate::sandbox::tracer::exec_redirect::{ExecRedirector, Left};
use crate::sandbox::tracer::explain::Watcher;
use crate::sandbox::tracer::interpose::Interposer;
use crate::sys::ptrace::{self, Call, Resume, Stop};
use crate::sys::{Context as _, SysError};

/// Tracer of the processes of a command.
pub(in crate::sandbox) struct Tracer {
    /// First process of the command.
    command: Pid,
    /// Answers of the filter, which tell its stops from those of a filter that the command installed.
    answers: Answers,
    /// Executes foreign programs.
    redirector: Option<ExecRedirector>,
    /// Records denials.
    watcher: Option<Watcher>,
    /// Answers interposed calls.
    interposer: Option<Interposer>,
    failure: Option<StepError>,
}

impl Tracer {
    /// Attaches to `command` and all its future descendants, before its filter is in force.
    pub(in crate::sandbox) fn new(plan: &Plan, rules: &[Rule], command: Pid) -> Result<Self, SysError> {
        let explained = plan.policy.explain.is_some();
        // Reports starts of programs only if necessary, since each costs a stop.
        ptrace::seize(command, explained || plan.policy.interposed.clock.is_some())?;
        let short = plan.positions.are_shortened();
        let redirector = plan.handlers.first().filter(|_| plan.policy.emulation == Some(EmulationMode::Ptrace));
        Ok(Self {
            command,
            answers: Answers::new(rules),
            redirector: redirector.map(|handler| ExecRedirector::new(handler.clone(), &plan.policy.environment)),
            watcher: explained.then(|| Watcher::new(plan)),
            interposer: (short || !plan.policy.interposed.is_none())
                .then(|| Interposer::new(&plan.policy.interposed, short)),
            failure: None,
        })
    }

    /// Handles a status of wait(2) if it is a stop; false if the process ended.
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
                // It may be a new thread with the id of an old one.
                self.redirector.iter_mut().for_each(|redirector| redirector.forget(pid));
                self.watcher.as_ref().map_or(Resume::Freely(0), |watcher| watcher.passing(pid))
            }
            Stop::Signal(libc::SIGSYS) => match &mut self.watcher {
                Some(watcher) => watcher.trapped(pid, &self.answers),
                None => Resume::Freely(libc::SIGSYS),
            },
            Stop::Signal(signal) => Resume::Freely(signal),
        };
        // A thread that was killed a moment ago cannot be resumed.
        let _ = ptrace::resume(pid, how);
        true
    }

    /// Handles the stop before a call. The watcher sees the call as it was made.
    fn enter(&mut self, pid: Pid) -> Resume {
        let how = self.look(pid).and_then(|call| {
            if let (Some(interposer), Some((name, call))) = (&mut self.interposer, &call)
                && let Some(how) = interposer.enter(pid, name, call).at(Step::ShareDescriptors)?
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

    /// Reads the call that the filter stopped, and its name, if it is answered or watched.
    fn look(&self, pid: Pid) -> Result<Option<(&'static str, Call)>, StepError> {
        if self.watcher.is_none() && self.interposer.is_none() {
            return Ok(None);
        }
        let call = match ptrace::call(pid) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            call => call.call("ptrace", "PTRACE_GET_SYSCALL_INFO").at(Step::InspectCalls)?,
        };
        let answer = self.answers.answer(call.arch, call.number, &call.arguments);
        Ok(answer.filter(|(_, answer)| *answer == Answer::Trace).map(|(name, _)| (name, call)))
    }

    /// Kills the command: what was asked for is not left out silently.
    fn fail(&mut self, pid: Pid, error: StepError) {
        for pid in [pid, self.command] {
            let _ = kill_process(pid, Signal::KILL);
        }
        self.failure.get_or_insert(error);
    }

    /// Handles the stop after a call.
    fn leave(&mut self, pid: Pid) {
        if self.interposer.as_mut().is_some_and(|interposer| interposer.leave(pid)) {
            return;
        }
        let left = self.redirector.as_mut().map_or(Left::Done, |redirector| redirector.leave(pid));
        if left == Left::Done {
            self.watcher.iter_mut().for_each(|watcher| watcher.leave(pid));
        }
    }

    /// Handles the execution of a program: all other threads of the process are gone, and the thread has the id of the
    /// first one.
    fn executed(&mut self, pid: Pid) {
        let before = ptrace::event_message(pid).ok().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        for gone in [Some(pid), before].into_iter().flatten() {
            self.redirector.iter_mut().for_each(|redirector| redirector.forget(gone));
            self.watcher.iter_mut().for_each(|watcher| watcher.ended(gone));
        }
        self.watcher.iter_mut().for_each(|watcher| watcher.executed(pid));
        self.interposer.iter_mut().for_each(|interposer| interposer.executed(pid));
    }

    /// Returns the denials and the number of further ones; none without a watcher.
    ///
    /// # Errors
    ///
    /// This kernel does not let init read or answer calls, and the command was killed for it.
    pub(in crate::sandbox) fn finish(self) -> Result<(Vec<Denial>, u64), StepError> {
        match self.failure {
            Some(error) => Err(error),
            None => Ok(self.watcher.map_or((vec![], 0), Watcher::finish)),
        }
    }
}
