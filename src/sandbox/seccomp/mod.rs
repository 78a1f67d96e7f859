//! The system call filter (seccomp(2)).
//!
//! Everything is allowed that [`deny`] does not name, because compilers and test suites use unusual calls: a list of
//! allowed calls would break builds with every new C library. [`bpf`] compiles the rules to a program for both
//! architectures whose programs the kernel runs, so that no call can be made in a second way.

mod bpf;
mod calls;
mod deny;
mod rules;

pub(super) use bpf::program;
pub(super) use calls::{Arch, number};
pub(crate) use deny::POLICY_DIGEST;
pub(super) use deny::rules;
pub(super) use rules::{Answer, Answers, Case, Rule, Test};
