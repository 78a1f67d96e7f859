//! Filter rules that stop every call which executes a program.

use super::arguments::CALLS;
use crate::sandbox::seccomp::{Answer, Rule};

/// Adds the rules for `--emulation ptrace`. A call that `rules` refuse stays refused.
pub(in crate::sandbox) fn exec_stop_rules(mut rules: Vec<Rule>) -> Vec<Rule> {
    let stop = Answer::Trace;
    for rule in rules.iter_mut().filter(|rule| CALLS.contains(&rule.call)) {
        let answers = rule.cases.iter_mut().map(|case| &mut case.answer).chain([&mut rule.otherwise]);
        answers.filter(|answer| **answer == Answer::Allow).for_each(|answer| *answer = stop);
    }
    for call in CALLS {
        if !rules.iter().any(|rule| rule.call == call) {
            rules.push(Rule::always(call, stop));
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::seccomp;

    #[test]
    fn what_is_refused_stays_refused() {
        let denied = Rule::always("execveat", Answer::Errno(1));
        let rules = exec_stop_rules([seccomp::rules(false), vec![denied.clone()]].concat());
        assert!(rules.contains(&denied));
        assert_eq!(rules.iter().filter(|rule| CALLS.contains(&rule.call)).count(), 2);
        assert!(rules.contains(&Rule::always("execve", Answer::Trace)));
    }
}
