//! What a command is told otherwise than it is: where that is asked for the time and the order of directories, and to 32-bit
//! foreign programs positions in directories.
//!
//! Init is the tracer of the command then (`traced`), and answers a few system calls in the kernel's place. The filter
//! stops the processes before these and before no others, and each costs one stop. [`Teller`] is what init does at a stop:
//! - The real time ([`clock`]): calls that read it are answered with what [`Clock`] says, the ones that wait until a
//!   moment of it are given that moment in the kernel's time. At each start of a program the page is taken out of its sight
//!   that answers such calls without the kernel (`vdso`).
//! - The order of directories ([`directory`]): init reads the whole directory, and gives it out from its end.
//! - Positions in directories ([`positions`]): init reads the next entries, and makes their positions fit into 32 bits.
//!
//! Nothing depends on it but what the command sees: a program that goes out of its way finds the truth.

mod clock;
mod directory;
mod positions;
mod teller;
mod vdso;

use serde::{Deserialize, Serialize};

use crate::sandbox::seccomp::{Answer, Case, Rule, Test};

pub(crate) use clock::Clock;
pub(super) use positions::are_possible as positions_are_possible;
pub(super) use teller::Teller;

/// What is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Disguise {
    /// Another time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// Another order of directories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory_order: Option<DirectoryOrder>,
}

impl Disguise {
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
enum Told {
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

const CALLS: [(&str, Told); 10] = [
    ("clock_gettime", Told::ClockGet(Width::Native)),
    ("clock_gettime64", Told::ClockGet(Width::Wide)),
    ("gettimeofday", Told::TimeOfDay),
    ("time", Told::Time),
    ("clock_nanosleep", Told::SleepUntil(Width::Native)),
    ("clock_nanosleep_time64", Told::SleepUntil(Width::Wide)),
    ("futex", Told::FutexUntil(Width::Native)),
    ("futex_time64", Told::FutexUntil(Width::Wide)),
    ("getdents", Told::Entries),
    ("getdents64", Told::Entries64),
];

/// What the call `name` is answered, which the filter stopped.
fn told(name: &str) -> Option<Told> {
    CALLS.iter().find(|(call, _)| *call == name).map(|(_, told)| *told)
}

/// The rules of a run in which positions in directories are made to fit into 32 bits.
pub(super) fn shortened(mut rules: Vec<Rule>) -> Vec<Rule> {
    // The one call by which 64-bit programs, such as emulators, read directories.
    rules.push(Rule::always("getdents64", Answer::Trace));
    rules
}

/// The rules of a run in this disguise.
pub(super) fn disguised(mut rules: Vec<Rule>, disguise: &Disguise) -> Vec<Rule> {
    let stop = Answer::Trace;
    for (call, told) in CALLS {
        let when = |tests: &[Vec<Test>]| {
            let cases = tests.iter().map(|tests| Case { tests: tests.clone(), answer: stop }).collect();
            Rule { call, cases, otherwise: Answer::Allow }
        };
        let is = |argument, value: libc::c_int| Test::Is(argument, u32::MAX, value.cast_unsigned());
        let rule = match told {
            Told::Entries | Told::Entries64 => {
                disguise.directory_order.map(|DirectoryOrder::Reverse| Rule::always(call, stop))
            }
            _ if disguise.clock.is_none() => None,
            Told::ClockGet(_) => Some(when(&clock::REAL.map(|clock| vec![is(0, clock)]))),
            Told::TimeOfDay | Told::Time => Some(Rule::always(call, stop)),
            Told::SleepUntil(_) => {
                Some(when(&[vec![is(0, libc::CLOCK_REALTIME), Test::Has(1, libc::TIMER_ABSTIME.cast_unsigned())]]))
            }
            Told::FutexUntil(_) => Some(when(&[
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

    fn stopped(disguise: Disguise) -> Vec<&'static str> {
        disguised(vec![], &disguise).iter().map(|rule| rule.call).collect()
    }

    #[test]
    fn nothing_stops_that_need_not() {
        let clock = Some("+1d".parse().unwrap());
        let directory_order = Some(DirectoryOrder::Reverse);
        assert_eq!(stopped(Disguise::default()), [""; 0]);
        assert_eq!(stopped(Disguise { directory_order, clock: None }), ["getdents", "getdents64"]);
        assert_eq!(
            stopped(Disguise { clock, directory_order: None }),
            CALLS[..8].iter().map(|call| call.0).collect::<Vec<_>>()
        );
        assert_eq!(stopped(Disguise { clock, directory_order }).len(), CALLS.len());
    }

    #[test]
    fn positions_stop_one_call() {
        assert_eq!(shortened(vec![]), [Rule::always("getdents64", Answer::Trace)]);
        assert_eq!(super::told("getdents64"), Some(Told::Entries64));
    }

    #[test]
    fn what_the_filter_stops_is_understood() {
        let all = Disguise { clock: Some("+1d".parse().unwrap()), directory_order: Some(DirectoryOrder::Reverse) };
        for (rule, (call, told)) in disguised(vec![], &all).iter().zip(CALLS) {
            let mut answers = rule.cases.iter().map(|case| case.answer).chain([rule.otherwise]);
            assert!(answers.any(|answer| answer == Answer::Trace), "{call}");
            assert_eq!((rule.call, super::told(rule.call)), (call, Some(told)));
        }
        assert_eq!(super::told("openat"), None);
    }
}
