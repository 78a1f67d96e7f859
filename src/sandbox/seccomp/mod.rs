//! The system call filter (seccomp(2)): what a command may ask of the kernel.
//!
//! Everything is allowed but what is named, because compilers and test suites use odd calls: a filter of what is
//! allowed breaks builds with every new C library. [`deny`] has the list, [`bpf`] makes a program of it for both
//! architectures whose programs the kernel runs, so that no call has a second way in.

mod bpf;
mod calls;
mod deny;

use std::collections::HashMap;

use rustix::io::Errno;
use serde::Serialize;

use crate::digest::Digest;

pub(super) use calls::{Arch, number};
pub(super) use deny::rules;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// The kernel carries it out.
    Allow,
    /// It is not carried out and fails with this errno; with 0 it seems to succeed.
    Errno(u16),
    /// Whoever listens is asked ([`crate::sys::seccomp::filter_with_listener`]).
    Notify,
    /// It stops for its tracer; it fails with ENOSYS where there is none.
    ///
    /// Without a number for the tracer: of several filters that answer this, the kernel passes on the number of the newest
    /// one, which may be the command's.
    Trace,
    /// It is not carried out, and stops for its tracer with SIGSYS, to fail with this errno; without a tracer the process
    /// gets the signal. Only [`Answer::Kill`] outranks it, so no filter of the command's has the call carried out.
    Trap(u16),
    /// The process is killed.
    Kill,
}

impl Answer {
    pub(super) fn errno(errno: Errno) -> Self {
        Self::Errno(u16::try_from(errno.raw_os_error()).unwrap_or(0))
    }
}

/// What is asked of an argument. The kernel takes each of those as 32 bits, so only those are compared
/// (the high bits of a request of ioctl(2) were once a way around, CVE-2019-10063); but for addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Test {
    /// The argument, masked with the second, is the third.
    Is(u8, u32, u32),
    /// The argument is one of these, which may be the same.
    AnyOf(u8, [u32; 3]),
    /// The argument has a bit of the second.
    Has(u8, u32),
    /// The argument, all 64 bits of it, is no address.
    Null(u8),
}

impl Test {
    fn holds(self, arguments: &[u64; 6]) -> bool {
        let low = |argument: u8| u32::try_from(arguments[usize::from(argument)] & 0xffff_ffff).unwrap_or(0);
        match self {
            Self::Is(argument, mask, value) => low(argument) & mask == value,
            Self::AnyOf(argument, values) => values.contains(&low(argument)),
            Self::Has(argument, bits) => low(argument) & bits != 0,
            Self::Null(argument) => arguments[usize::from(argument)] == 0,
        }
    }
}

/// What becomes of a call with certain arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Case {
    /// All of them hold.
    pub(super) tests: Vec<Test>,
    pub(super) answer: Answer,
}

/// What becomes of a call: the first case that holds, else `otherwise`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Rule {
    pub(super) call: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) cases: Vec<Case>,
    pub(super) otherwise: Answer,
}

impl Rule {
    pub(super) fn always(call: &'static str, answer: Answer) -> Self {
        Self { call, cases: vec![], otherwise: answer }
    }

    /// What becomes of the call with these arguments.
    pub(super) fn answer(&self, arguments: &[u64; 6]) -> Answer {
        let holds = |case: &&Case| case.tests.iter().all(|test| test.holds(arguments));
        self.cases.iter().find(holds).map_or(self.otherwise, |case| case.answer)
    }
}

/// What the program of some rules answers, for a tracer.
pub(super) struct Answers {
    /// By architecture and number.
    rules: HashMap<(u32, u32), Rule>,
}

impl Answers {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let of = |arch: Arch| {
            rules.iter().filter_map(move |rule| Some(((arch.audit(), number(rule.call, arch)?), rule.clone())))
        };
        // Of several rules for a call the last counts.
        Self { rules: Arch::NATIVE.into_iter().flat_map(of).collect() }
    }

    /// The name of a call that the rules name, and what they answer to it.
    pub(super) fn answer(&self, arch: u32, call: u32, arguments: &[u64; 6]) -> Option<(&'static str, Answer)> {
        self.rules.get(&(arch, call)).map(|rule| (rule.call, rule.answer(arguments)))
    }
}

/// Digest of what is forbidden to every command. Not computed at each start: a test says when it has to change.
pub(crate) const POLICY_DIGEST: Digest =
    Digest::literal("5c168f91d2197eea95c9c86547185c498f090b1f6a7b30f934d2f0f7ef3d53b7");

/// The program of these rules. Of several for one call the last counts.
pub(super) fn program(rules: &[Rule]) -> Vec<crate::sys::seccomp::Instruction> {
    bpf::assemble(rules, Arch::NATIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_has_the_digest_that_is_recorded() {
        // Names, numbers and lists: JSON can hold them all.
        assert_eq!(POLICY_DIGEST, Digest::of(&serde_json::to_vec(&rules(false)).unwrap()));
    }
}
