//! Collects denials at the stops of traced processes.

use std::collections::HashMap;

use rustix::process::Pid;

use crate::sandbox::denial::{Denial, Denied};
use crate::sandbox::plan::Plan;
use crate::sandbox::seccomp::{Answer, Answers};
use crate::sandbox::tracer::explain::call_arguments::{self, Subject, View};
use crate::sandbox::tracer::explain::denials::Denials;
use crate::sys::ptrace::{self, Call, Resume, Trapped};

/// Watches the calls of a command for denials.
pub(in crate::sandbox) struct Watcher {
    view: View,
    /// Calls in progress, by thread.
    under_way: HashMap<Pid, (&'static str, Call)>,
    denials: Denials,
}

impl Watcher {
    pub(in crate::sandbox) fn new(plan: &Plan) -> Self {
        Self { view: View::new(plan), under_way: HashMap::new(), denials: Denials::default() }
    }

    /// How to resume a thread after a stop that is none of the watcher's.
    pub(in crate::sandbox) fn passing(&self, pid: Pid) -> Resume {
        if self.under_way.contains_key(&pid) { Resume::ToExit } else { Resume::Freely(0) }
    }

    /// Drops the state of a thread that ended.
    pub(in crate::sandbox) fn ended(&mut self, pid: Pid) {
        self.under_way.remove(&pid);
    }

    /// Handles the stop before the call `name`.
    pub(in crate::sandbox) fn enter(&mut self, pid: Pid, name: &'static str, call: Call) -> Resume {
        self.under_way.insert(pid, (name, call));
        Resume::ToExit
    }

    /// Handles SIGSYS before a thread receives it.
    ///
    /// The signal is passed on unless it belongs to a call that the filter denies with this errno: a command may use such
    /// signals itself.
    pub(in crate::sandbox) fn trapped(&mut self, pid: Pid, answers: &Answers) -> Resume {
        let refused = |Trapped { call, data }: Trapped| {
            let (name, answer) = answers.answer(call.arch, call.number, &call.arguments)?;
            (answer == Answer::Trap(data)).then_some((name, call, data))
        };
        let Some((name, call, errno)) = ptrace::trapped(pid).ok().flatten().and_then(refused) else {
            return Resume::Freely(libc::SIGSYS);
        };
        // A thread that was killed a moment ago needs no answer.
        let _ = ptrace::refuse(pid, errno);
        self.note(pid, name, i32::from(errno), Some(call_arguments::refused_call(name, &call)));
        Resume::Freely(0)
    }

    /// Handles the stop after a call.
    pub(in crate::sandbox) fn leave(&mut self, pid: Pid) {
        let (Some((name, call)), Ok(result)) = (self.under_way.remove(&pid), ptrace::call_result(pid)) else { return };
        let errno = if (-4095..0).contains(&result) { i32::try_from(-result).unwrap_or(0) } else { 0 };
        if let Some(Subject { what, call }) = self.view.subject(pid, name, &call, errno) {
            self.note(pid, call, errno, Some(what));
        }
    }

    /// Handles the execution of a program.
    pub(in crate::sandbox) fn executed(&mut self, pid: Pid) {
        self.note(pid, "execve", 0, call_arguments::set_user_id(pid));
    }

    fn note(&mut self, pid: Pid, call: &str, errno: i32, what: Option<Denied>) {
        if let Some(what) = what {
            self.denials.add(what, call, errno, pid.as_raw_nonzero().get(), || call_arguments::program(pid));
        }
    }

    /// Returns the denials and the number of those that were not kept.
    pub(in crate::sandbox) fn finish(mut self) -> (Vec<Denial>, u64) {
        for (what, errno) in self.view.full() {
            self.denials.add(what, "write", errno, 0, String::new);
        }
        self.denials.into_parts()
    }
}
