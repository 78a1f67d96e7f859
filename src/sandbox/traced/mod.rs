//! Init as the tracer of the command and of all that comes from it: for `--explain`, and to run foreign programs where
//! nothing is registered with the kernel (`--emulation ptrace`).
//!
//! The filter stops the processes before the calls that matter (`SECCOMP_RET_TRACE`, Linux 4.8) and before no others.
//! [`Tracer`] is the loop, which knows what stops mean and how to go on so that signals, job control and statuses stay
//! what they are; [`Runner`] makes a call that would execute a foreign program execute its emulator; what
//! `--explain` looks at is in `explain`.
//!
//! What is not watched can execute nothing: without a tracer the calls that stop fail with ENOSYS.

mod arguments;
mod file;
mod gate;
mod runner;
mod script;
mod tracer;
mod trial;

use crate::sandbox::seccomp::{Answer, Rule};

pub(super) use file::start as start_of_file;
pub(super) use gate::Gate;
pub(super) use tracer::Tracer;
pub(super) use trial::tried;

use arguments::CALLS;

/// The rules of a run whose programs are executed under our eyes. What they say of these calls else still holds.
pub(super) fn stopped(mut rules: Vec<Rule>) -> Vec<Rule> {
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
        let rules = stopped([seccomp::rules(false), vec![denied.clone()]].concat());
        assert!(rules.contains(&denied));
        assert_eq!(rules.iter().filter(|rule| CALLS.contains(&rule.call)).count(), 2);
        assert!(rules.contains(&Rule::always("execve", Answer::Trace)));
    }
}
