//! Denied init looks at when a watched process of the command stops.

use std::collections::HashMap;

use rustix::process::Pid;

use crate::sandbox::plan::Plan;
use crate::sandbox::seccomp::{Answer, Answers};
use crate::sandbox::tracer::explain::call_arguments::{self, Subject, View};
use crate::sandbox::tracer::explain::denials::{Denial, Denials};
use crate::sys::ptrace::{self, Call, Resume, Trapped};

/// Sees what was refused to the processes of a command.
pub(in crate::sandbox) struct Watcher {
    view: View,
    /// Calls that are being carried out, by thread.
    under_way: HashMap<Pid, (&'static str, Call)>,
    seen: Denials,
}

impl Watcher {
    pub(in crate::sandbox) fn new(plan: &Plan) -> Self {
        Self { view: View::new(plan), under_way: HashMap::new(), seen: Denials::default() }
    }

    /// How a thread goes on that stood still for no reason of its own.
    pub(in crate::sandbox) fn passing(&self, pid: Pid) -> Resume {
        if self.under_way.contains_key(&pid) { Resume::ToExit } else { Resume::Freely(0) }
    }

    /// The thread is no more.
    pub(in crate::sandbox) fn ended(&mut self, pid: Pid) {
        self.under_way.remove(&pid);
    }

    /// Before the call `name`.
    pub(in crate::sandbox) fn enter(&mut self, pid: Pid, name: &'static str, call: Call) -> Resume {
        self.under_way.insert(pid, (name, call));
        Resume::ToExit
    }

    /// Before a thread receives SIGSYS: how it goes on.
    ///
    /// The signal is its own where it is not for a call that the filter refuses with this errno: a command may use such
    /// signals itself.
    pub(in crate::sandbox) fn trapped(&mut self, pid: Pid, answers: &Answers) -> Resume {
        let refused = |Trapped { call, data }: Trapped| {
            let (name, answer) = answers.answer(call.arch, call.number, &call.arguments)?;
            (answer == Answer::Trap(data)).then_some((name, call, data))
        };
        let Some((name, call, errno)) = ptrace::trapped(pid).ok().flatten().and_then(refused) else {
            return Resume::Freely(libc::SIGSYS);
        };
        // One that was killed a moment ago needs no answer.
        let _ = ptrace::refuse(pid, errno);
        self.note(pid, name, i32::from(errno), Some(call_arguments::refused_call(name, &call)));
        Resume::Freely(0)
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
        self.note(pid, "execve", 0, call_arguments::set_user_id(pid));
    }

    fn note(&mut self, pid: Pid, call: &str, errno: i32, what: Option<call_arguments::Denied>) {
        if let Some(what) = what {
            self.seen.add(what, call, errno, pid.as_raw_nonzero().get(), || call_arguments::program(pid));
        }
    }

    /// Denied was refused, and how much more was than could be kept.
    pub(in crate::sandbox) fn finish(mut self) -> (Vec<Denial>, u64) {
        for (what, errno) in self.view.full() {
            self.seen.add(what, "write", errno, 0, String::new);
        }
        self.seen.into_parts()
    }
}
