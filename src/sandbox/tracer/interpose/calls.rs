//! Interposed system calls, and the filter rules that stop them.

use super::clock::{self, Width};
use crate::sandbox::interposed::{DirectoryOrder, Interposed};
use crate::sandbox::seccomp::{Answer, Case, Rule, Test};

/// A system call that init answers in place of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InterposedCall {
    /// `clock_gettime(2)`, with 64-bit times if [`Width::Wide`].
    ClockGet(Width),
    /// gettimeofday(2).
    TimeOfDay,
    /// time(2).
    Time,
    /// `clock_nanosleep(2)` until a time.
    SleepUntil(Width),
    /// futex(2) until a time.
    FutexUntil(Width),
    /// getdents(2).
    Entries,
    /// getdents64(2).
    Entries64,
}

const CALLS: [(&str, InterposedCall); 10] = [
    ("clock_gettime", InterposedCall::ClockGet(Width::Native)),
    ("clock_gettime64", InterposedCall::ClockGet(Width::Wide)),
    ("gettimeofday", InterposedCall::TimeOfDay),
    ("time", InterposedCall::Time),
    ("clock_nanosleep", InterposedCall::SleepUntil(Width::Native)),
    ("clock_nanosleep_time64", InterposedCall::SleepUntil(Width::Wide)),
    ("futex", InterposedCall::FutexUntil(Width::Native)),
    ("futex_time64", InterposedCall::FutexUntil(Width::Wide)),
    ("getdents", InterposedCall::Entries),
    ("getdents64", InterposedCall::Entries64),
];

/// The interposed call of this name.
pub(super) fn interposed_call(name: &str) -> Option<InterposedCall> {
    CALLS.iter().find(|(call, _)| *call == name).map(|(_, interposed)| *interposed)
}

/// Adds the rule by which init shortens positions in directories to 32 bits.
pub(in crate::sandbox) fn short_position_rules(mut rules: Vec<Rule>) -> Vec<Rule> {
    // The only call by which 64-bit programs, such as emulators, read directories.
    rules.push(Rule::always("getdents64", Answer::Trace));
    rules
}

/// Adds the rules that stop interposed calls.
pub(in crate::sandbox) fn interposed_rules(mut rules: Vec<Rule>, interposed: &Interposed) -> Vec<Rule> {
    let stop = Answer::Trace;
    for (call, kind) in CALLS {
        let when = |tests: &[Vec<Test>]| {
            let cases = tests.iter().map(|tests| Case { tests: tests.clone(), answer: stop }).collect();
            Rule { call, cases, otherwise: Answer::Allow }
        };
        let is = |argument, value: libc::c_int| Test::Is(argument, u32::MAX, value.cast_unsigned());
        let rule = match kind {
            InterposedCall::Entries | InterposedCall::Entries64 => {
                interposed.directory_order.map(|DirectoryOrder::Reverse| Rule::always(call, stop))
            }
            _ if interposed.clock.is_none() => None,
            InterposedCall::ClockGet(_) => Some(when(&clock::REAL.map(|clock| vec![is(0, clock)]))),
            InterposedCall::TimeOfDay | InterposedCall::Time => Some(Rule::always(call, stop)),
            InterposedCall::SleepUntil(_) => {
                Some(when(&[vec![is(0, libc::CLOCK_REALTIME), Test::Has(1, libc::TIMER_ABSTIME.cast_unsigned())]]))
            }
            InterposedCall::FutexUntil(_) => Some(when(&[
                vec![Test::Has(1, libc::FUTEX_CLOCK_REALTIME.cast_unsigned())],
                vec![Test::Is(1, clock::FUTEX_COMMAND, libc::FUTEX_LOCK_PI.cast_unsigned())],
            ])),
        };
        rules.extend(rule);
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopped(interposed: Interposed) -> Vec<&'static str> {
        interposed_rules(vec![], &interposed).iter().map(|rule| rule.call).collect()
    }

    #[test]
    fn nothing_stops_that_need_not() {
        let clock = Some("+1d".parse().unwrap());
        let directory_order = Some(DirectoryOrder::Reverse);
        assert_eq!(stopped(Interposed::default()), [""; 0]);
        assert_eq!(stopped(Interposed { directory_order, clock: None }), ["getdents", "getdents64"]);
        assert_eq!(
            stopped(Interposed { clock, directory_order: None }),
            CALLS[..8].iter().map(|call| call.0).collect::<Vec<_>>()
        );
        assert_eq!(stopped(Interposed { clock, directory_order }).len(), CALLS.len());
    }

    #[test]
    fn positions_stop_one_call() {
        assert_eq!(short_position_rules(vec![]), [Rule::always("getdents64", Answer::Trace)]);
        assert_eq!(interposed_call("getdents64"), Some(InterposedCall::Entries64));
    }

    #[test]
    fn what_the_filter_stops_is_understood() {
        let all = Interposed { clock: Some("+1d".parse().unwrap()), directory_order: Some(DirectoryOrder::Reverse) };
        for (rule, (call, kind)) in interposed_rules(vec![], &all).iter().zip(CALLS) {
            let mut answers = rule.cases.iter().map(|case| case.answer).chain([rule.otherwise]);
            assert!(answers.any(|answer| answer == Answer::Trace), "{call}");
            assert_eq!((rule.call, interposed_call(rule.call)), (call, Some(kind)));
        }
        assert_eq!(interposed_call("openat"), None);
    }
}
