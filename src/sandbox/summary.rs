//! What a plan means for the command, for people: the system calls that the filter treats specially, the namespaces.

use std::collections::BTreeMap;

use rustix::thread::UnshareFlags;
use serde::Serialize;

use crate::sandbox::filter;
use crate::sandbox::landlock_only;
use crate::sandbox::plan::Plan;
use crate::sandbox::policy::Network;
use crate::sandbox::seccomp::{Answer, Rule};
use crate::sandbox::spawn;

/// Names of the system calls that a filter does not simply allow, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct FilterSummary {
    /// They are refused.
    pub refused: Vec<&'static str>,
    /// They are refused with some arguments.
    pub restricted: Vec<&'static str>,
    /// They seem to succeed, or init answers them, with some arguments or all.
    pub answered: Vec<&'static str>,
    /// They stop for init as the tracer of the command, with some arguments or all.
    pub traced: Vec<&'static str>,
}

impl FilterSummary {
    fn of(rules: &[Rule]) -> Self {
        // Of several rules for one call the last counts.
        let rules: BTreeMap<_, _> = rules.iter().map(|rule| (rule.call, rule)).collect();
        let mut summary = Self::default();
        for (call, rule) in rules {
            let answers = || rule.cases.iter().map(|case| case.answer).chain([rule.otherwise]);
            let is_refusal = |answer: Answer| matches!(answer, Answer::Errno(1..) | Answer::Trap(_) | Answer::Kill);
            let list = if answers().any(|answer| answer == Answer::Trace) {
                &mut summary.traced
            } else if answers().any(|answer| matches!(answer, Answer::Notify | Answer::Errno(0))) {
                &mut summary.answered
            } else if answers().all(is_refusal) {
                &mut summary.refused
            } else if answers().any(is_refusal) {
                &mut summary.restricted
            } else {
                continue;
            };
            list.push(call);
        }
        summary
    }
}

/// The filter of a run in namespaces.
#[must_use]
pub(crate) fn filter_summary(plan: &Plan) -> FilterSummary {
    FilterSummary::of(&filter::rules(plan, plan.positions.are_shortened()))
}

/// The filter of a run with landlock alone.
#[must_use]
pub(crate) fn landlock_filter_summary(network: Network) -> FilterSummary {
    FilterSummary::of(&landlock_only::filter_rules(network))
}

/// The namespaces of a sandbox.
#[must_use]
pub(crate) fn namespace_names(network: Network) -> Vec<&'static str> {
    let flags = spawn::namespaces(network);
    let names = [
        (UnshareFlags::NEWUSER, "user"),
        (UnshareFlags::NEWNS, "mount"),
        (UnshareFlags::NEWPID, "pid"),
        (UnshareFlags::NEWIPC, "ipc"),
        (UnshareFlags::NEWUTS, "uts"),
        (UnshareFlags::NEWCGROUP, "cgroup"),
        (UnshareFlags::NEWNET, "network"),
    ];
    names.into_iter().filter_map(|(flag, name)| flags.contains(flag).then_some(name)).collect()
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::sandbox::seccomp::{Case, Test};

    #[test]
    fn calls_by_their_answers() {
        let some = |answer| vec![Case { tests: vec![Test::Null(0)], answer }];
        let errno = Answer::errno(Errno::PERM);
        let rules = [
            Rule::always("mount", errno),
            Rule { call: "socket", cases: some(Answer::Allow), otherwise: errno },
            Rule { call: "clone", cases: some(errno), otherwise: Answer::Allow },
            Rule::always("chown", Answer::Errno(0)),
            Rule::always("fchown", Answer::Notify),
            Rule::always("execve", errno),
            Rule::always("execve", Answer::Trace),
            Rule::always("getpid", Answer::Allow),
        ];
        let summary = FilterSummary::of(&rules);
        assert_eq!((summary.refused, summary.restricted), (vec!["mount"], vec!["clone", "socket"]));
        assert_eq!((summary.answered, summary.traced), (vec!["chown", "fchown"], vec!["execve"]));
    }
}
