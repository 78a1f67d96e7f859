//! What a command is told otherwise than it is: where that is asked for the time and the order of directories, and to 32-bit
//! foreign programs positions in directories.
//!
//! Init is the tracer of the command then ([`crate::sandbox::tracer`]), and answers a few system calls in the kernel's place. The filter
//! stops the processes before these and before no others, and each costs one stop. [`Interposer`] is what init does at a stop:
//! - The real time ([`clock`]): calls that read it are answered with what [`Clock`] says, the ones that wait until a
//!   moment of it are given that moment in the kernel's time. At each start of a program the page is taken out of its sight
//!   that answers such calls without the kernel (`vdso`).
//! - The order of directories ([`directory`]): init reads the whole directory, and gives it out from its end.
//! - Positions in directories ([`positions`]): init reads the next entries, and makes their positions fit into 32 bits.
//!
//! Nothing depends on it but what the command sees: a program that goes out of its way finds the truth.

mod clock;
mod directory;
mod interposer;
mod positions;
mod vdso;

use serde::{Deserialize, Serialize};

use crate::sandbox::seccomp::{Answer, Case, Rule, Test};

pub(crate) use clock::Clock;
pub(super) use interposer::Interposer;
pub(in crate::sandbox) use positions::are_possible as positions_are_possible;

/// What is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Interposed {
    /// Another time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// Another order of directories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory_order: Option<DirectoryOrder>,
}

impl Interposed {
    /// Nothing but the truth.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// In which order the entries of a directory are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DirectoryOrder {
    /// The last one of the file system's comes first.
    Reverse,
}

/// A call that is answered here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InterposedCall {
    /// `clock_gettime(2)`, with times of 64 bits where it says so.
    ClockGet(Width),
    /// gettimeofday(2).
    TimeOfDay,
    /// time(2).
    Time,
    /// `clock_nanosleep(2)` until a moment.
    SleepUntil(Width),
    /// futex(2) until a moment.
    FutexUntil(Width),
    /// getdents(2).
    Entries,
    /// getdents64(2).
    Entries64,
}

/// How wide the numbers of a time are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    /// As addresses of the architecture.
    Native,
    /// 64 bits.
    Wide,
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

/// What the call `name` is answered, which the filter stopped.
fn told(name: &str) -> Option<InterposedCall> {
    CALLS.iter().find(|(call, _)| *call == name).map(|(_, told)| *told)
}

/// The rules of a run in which positions in directories are made to fit into 32 bits.
pub(in crate::sandbox) fn short_position_rules(mut rules: Vec<Rule>) -> Vec<Rule> {
    // The one call by which 64-bit programs, such as emulators, read directories.
    rules.push(Rule::always("getdents64", Answer::Trace));
    rules
}

/// The rules of a run in this interposed.
pub(in crate::sandbox) fn interposed_rules(mut rules: Vec<Rule>, interposed: &Interposed) -> Vec<Rule> {
    let stop = Answer::Trace;
    for (call, told) in CALLS {
        let when = |tests: &[Vec<Test>]| {
            let cases = tests.iter().map(|tests| Case { tests: tests.clone(), answer: stop }).collect();
            Rule { call, cases, otherwise: Answer::Allow }
        };
        let is = |argument, value: libc::c_int| Test::Is(argument, u32::MAX, value.cast_unsigned());
        let rule = match told {
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
        assert_eq!(super::told("getdents64"), Some(InterposedCall::Entries64));
    }

    #[test]
    fn what_the_filter_stops_is_understood() {
        let all = Interposed { clock: Some("+1d".parse().unwrap()), directory_order: Some(DirectoryOrder::Reverse) };
        for (rule, (call, told)) in interposed_rules(vec![], &all).iter().zip(CALLS) {
            let mut answers = rule.cases.iter().map(|case| case.answer).chain([rule.otherwise]);
            assert!(answers.any(|answer| answer == Answer::Trace), "{call}");
            assert_eq!((rule.call, super::told(rule.call)), (call, Some(told)));
        }
        assert_eq!(super::told("openat"), None);
    }
}
