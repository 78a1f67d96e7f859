//! What init looks at when a watched process of the command stops.

use std::collections::HashMap;

use rustix::process::{Pid, Signal, kill_process};

use crate::sandbox::explain::calls::{self, Word};
use crate::sandbox::explain::seen::{Refusal, Seen};
use crate::sandbox::explain::subject::{self, Subject, View};
use crate::sandbox::plan::Plan;
use crate::sys::ptrace::{self, Call, Resume};
use crate::sys::{Context as _, SysError};

/// Sees what was refused to the processes of a command.
pub(in crate::sandbox) struct Watcher {
    view: View,
    names: HashMap<(u32, u32), &'static str>,
    /// Calls that are being carried out, by thread.
    under_way: HashMap<Pid, (&'static str, Call)>,
    seen: Seen,
    failure: Option<SysError>,
}

impl Watcher {
    pub(in crate::sandbox) fn new(plan: &Plan) -> Self {
        let names = calls::names(&plan.filter);
        let (under_way, seen) = (HashMap::new(), Seen::default());
        Self { view: View::new(plan), names, under_way, seen, failure: None }
    }

    /// How a thread goes on that stood still for no reason of its own.
    pub(in crate::sandbox) fn passing(&self, pid: Pid) -> Resume {
        if self.under_way.contains_key(&pid) { Resume::ToExit } else { Resume::Freely(0) }
    }

    /// The thread is no more.
    pub(in crate::sandbox) fn ended(&mut self, pid: Pid) {
        self.under_way.remove(&pid);
    }

    /// Before a call.
    pub(in crate::sandbox) fn enter(&mut self, pid: Pid) -> Resume {
        let call = match ptrace::call(pid) {
            Ok(call) => call,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Resume::Freely(0),
            // The first call of all is the command's own start.
            error => {
                self.fail(pid, error.call("ptrace", "PTRACE_GET_SYSCALL_INFO").err());
                return Resume::Freely(0);
            }
        };
        let name = self.names.get(&(call.arch, call.number)).copied();
        match (Word::new(call.data), name) {
            (Word::Refused(errno), name) => {
                if let Err(error) = ptrace::refuse(pid, errno)
                    && error.raw_os_error() != Some(libc::ESRCH)
                {
                    self.fail(pid, Err::<(), _>(error).call("ptrace", "PTRACE_SETREGS").err());
                }
                let name = name.unwrap_or("?");
                self.note(pid, name, i32::from(errno), Some(subject::refused_call(name, &call)));
                Resume::Freely(0)
            }
            (Word::LookedAt, Some(name)) => {
                self.under_way.insert(pid, (name, call));
                Resume::ToExit
            }
            (Word::LookedAt, None) => Resume::Freely(0),
        }
    }

    /// After a call.
    pub(in crate::sandbox) fn leave(&mut self, pid: Pid) {
        let (Some((name, call)), Ok(result)) = (self.under_way.remove(&pid), ptrace::call_result(pid)) else { return };
        let errno = if (-4095..0).contains(&result) { i32::try_from(-result).unwrap_or(0) } else { 0 };
        if let Some(Subject { what, call }) = self.view.subject(pid, name, &call, errno) {
            self.note(pid, call, errno, Some(what));
        }
    }

    /// Another program runs.
    pub(in crate::sandbox) fn executed(&mut self, pid: Pid) {
        self.note(pid, "execve", 0, subject::set_user_id(pid));
    }

    fn note(&mut self, pid: Pid, call: &str, errno: i32, what: Option<subject::What>) {
        if let Some(what) = what {
            self.seen.add(what, call, errno, pid.as_raw_nonzero().get(), || subject::program(pid));
        }
    }

    /// What cannot be watched, and cannot be refused therefore, may not run.
    fn fail(&mut self, pid: Pid, error: Option<SysError>) {
        let _ = kill_process(pid, Signal::KILL);
        self.failure = self.failure.take().or(error);
    }

    /// What was refused, and how much more was than could be kept.
    ///
    /// # Errors
    /// This kernel does not let it be seen, and the command was killed for it.
    pub(in crate::sandbox) fn finish(mut self) -> Result<(Vec<Refusal>, u64), SysError> {
        if let Some(error) = self.failure {
            return Err(error);
        }
        for (what, errno) in self.view.full() {
            self.seen.add(what, "write", errno, 0, String::new);
        }
        Ok(self.seen.into_parts())
    }
}
