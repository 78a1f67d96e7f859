//! Rules of the filter: the answer to each system call.

use std::collections::HashMap;

use rustix::io::Errno;
use serde::Serialize;

use crate::sandbox::seccomp::calls::{Arch, number};

/// Answer to a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::sandbox) enum Answer {
    /// The kernel executes the call.
    Allow,
    /// The call fails with this errno, or seems to succeed if it is 0.
    Errno(u16),
    /// The listener answers ([`crate::sys::seccomp::filter_with_listener`]).
    Notify,
    /// The call stops for the tracer. Without a tracer it fails with ENOSYS.
    ///
    /// The answer carries no number for the tracer: of several filters with this answer, the kernel passes on the number
    /// of the newest, which may be the command's.
    Trace,
    /// The call is not executed. It stops for the tracer with SIGSYS, and the tracer makes it fail with this errno;
    /// without a tracer the process gets the signal. Only [`Answer::Kill`] outranks this answer, so no filter of the
    /// command can have the call executed.
    Trap(u16),
    /// The kernel kills the process.
    Kill,
}

impl Answer {
    pub(in crate::sandbox) fn errno(errno: Errno) -> Self {
        Self::Errno(u16::try_from(errno.raw_os_error()).unwrap_or(0))
    }
}

/// Test of an argument. The kernel uses 32 bits of each argument tested here, so only these are compared, except for
/// addresses (the high bits of a request of ioctl(2) were once a way around a filter, CVE-2019-10063).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::sandbox) enum Test {
    /// The argument, masked with the second number, is the third.
    Is(u8, u32, u32),
    /// The argument is one of these, which may be equal.
    AnyOf(u8, [u32; 3]),
    /// The argument has one of these bits.
    Has(u8, u32),
    /// The argument is a null pointer, in all 64 bits.
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

/// Answer to a call with certain arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::sandbox) struct Case {
    /// Tests that all have to hold.
    pub(in crate::sandbox) tests: Vec<Test>,
    pub(in crate::sandbox) answer: Answer,
}

/// Answer to a call: that of the first case that holds, otherwise `otherwise`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::sandbox) struct Rule {
    pub(in crate::sandbox) call: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::sandbox) cases: Vec<Case>,
    pub(in crate::sandbox) otherwise: Answer,
}

impl Rule {
    pub(in crate::sandbox) fn always(call: &'static str, answer: Answer) -> Self {
        Self { call, cases: vec![], otherwise: answer }
    }

    /// Answer to the call with these arguments.
    pub(in crate::sandbox) fn answer(&self, arguments: &[u64; 6]) -> Answer {
        let holds = |case: &&Case| case.tests.iter().all(|test| test.holds(arguments));
        self.cases.iter().find(holds).map_or(self.otherwise, |case| case.answer)
    }
}

/// Answers of a compiled filter, for a tracer.
pub(in crate::sandbox) struct Answers {
    /// Rules by architecture and number.
    rules: HashMap<(u32, u32), Rule>,
}

impl Answers {
    pub(in crate::sandbox) fn new(rules: &[Rule]) -> Self {
        let of = |arch: Arch| {
            rules.iter().filter_map(move |rule| Some(((arch.audit(), number(rule.call, arch)?), rule.clone())))
        };
        // Of several rules for one call the last counts.
        Self { rules: Arch::NATIVE.into_iter().flat_map(of).collect() }
    }

    /// Name of a call that has a rule, and the answer to it.
    pub(in crate::sandbox) fn answer(
        &self,
        arch: u32,
        call: u32,
        arguments: &[u64; 6],
    ) -> Option<(&'static str, Answer)> {
        self.rules.get(&(arch, call)).map(|rule| (rule.call, rule.answer(arguments)))
    }
}
