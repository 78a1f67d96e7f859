//! Compiles rules to a program of classic BPF: for each architecture a binary search over the numbers, which ends with a few
//! comparisons for equality. Tests of arguments stand once, for both architectures.
//!
//! The program is short because the kernel compiles it at each start of a sandbox. It contains only instructions that
//! the kernel can evaluate ahead (kernel/seccomp.c, `seccomp_is_const_allow`): then allowed calls skip the filter.

use crate::sandbox::seccomp::{Answer, Arch, Rule, Test, number};
use crate::sys::seccomp::Instruction;

/// Offsets in `struct seccomp_data` (linux/seccomp.h), little-endian.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Bit of a number of x86-64 that makes it one of x32, a second number for every call.
const X32: u32 = 0x4000_0000;
/// Number by which a tracer skips a call.
const SKIPPED: u32 = u32::MAX;
/// Last call of Linux 6.18. Newer calls fail with ENOSYS: their effects are not known here.
const NEWEST: u32 = 469;
/// Calls that only 32-bit Arm has, such as `cacheflush` (arch/arm/include/uapi/asm/unistd.h).
const ARM_PRIVATE: u32 = 0x0f_0000;
const ARM_PRIVATE_END: u32 = 0x0f_0010;

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
const JUMP_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const JUMP_AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const JUMP_HAS: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// Most comparisons for equality in a row: more would lengthen the way of each call that no rule names.
const CHAIN: usize = 4;
/// Distance in instructions up to which code is reused. A conditional jump reaches 255; the rest is for the comparisons that
/// come between.
const NEAR: usize = 200;

fn instruction(code: u32, k: u32, yes: u8, no: u8) -> Instruction {
    Instruction { code: u16::try_from(code).unwrap_or(0), jt: yes, jf: no, k }
}

fn answer(answer: Answer) -> Instruction {
    let value = match answer {
        Answer::Allow => libc::SECCOMP_RET_ALLOW,
        Answer::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
        Answer::Notify => libc::SECCOMP_RET_USER_NOTIF,
        Answer::Trace => libc::SECCOMP_RET_TRACE,
        Answer::Trap(errno) => libc::SECCOMP_RET_TRAP | u32::from(errno),
        Answer::Kill => libc::SECCOMP_RET_KILL_PROCESS,
    };
    instruction(RETURN, value, 0, 0)
}

/// Code for a range of numbers.
#[derive(Clone, Copy)]
enum Code<'a> {
    Answer(Answer),
    Rule(&'a Rule),
}

impl PartialEq for Code<'_> {
    /// Rules are compared by place: one rule serves both architectures, and no two are equal.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Answer(one), Self::Answer(other)) => one == other,
            (Self::Rule(one), Self::Rule(other)) => std::ptr::eq(*one, *other),
            _ => false,
        }
    }
}

/// Compiles rules for the architectures of this host. Of several rules for one call the last counts.
pub(in crate::sandbox) fn program(rules: &[Rule]) -> Vec<Instruction> {
    assemble(rules, Arch::NATIVE)
}

/// Compiles rules for `arches`; a call of any other architecture kills.
fn assemble(rules: &[Rule], arches: [Arch; 2]) -> Vec<Instruction> {
    // From its end to its beginning, because jumps go forward and their lengths must be known.
    let mut program = Assembler { backwards: Vec::with_capacity(512), compiled: Vec::with_capacity(64) };
    let first = program.section(rules, arches[0]);
    let second = program.section(rules, arches[1]);
    let kill = program.position(Code::Answer(Answer::Kill));
    let first = program.within_reach(first);
    let neither = program.compare(JUMP_EQUAL, arches[1].audit(), second, kill);
    program.compare(JUMP_EQUAL, arches[0].audit(), first, neither);
    program.push(instruction(LOAD, ARCH, 0, 0));
    program.backwards.reverse();
    program.backwards
}

struct Assembler<'a> {
    backwards: Vec<Instruction>,
    /// Positions of what is compiled, or of a plain jump to it.
    compiled: Vec<(Code<'a>, usize)>,
}

impl<'a> Assembler<'a> {
    /// Adds an instruction and returns its position.
    fn push(&mut self, instruction: Instruction) -> usize {
        self.backwards.push(instruction);
        self.backwards.len() - 1
    }

    /// Number of instructions between the next one and the one at `position`, which comes after it.
    fn distance(&self, position: usize) -> usize {
        self.backwards.len() - 1 - position
    }

    /// Adds a comparison that goes to the positions `yes` and `no`, which are in reach, and returns its position.
    fn compare(&mut self, comparison: u32, k: u32, yes: usize, no: usize) -> usize {
        let [yes, no] = [yes, no].map(|position| u8::try_from(self.distance(position)).unwrap_or(u8::MAX));
        self.push(instruction(comparison, k, yes, no))
    }

    /// Position that leads to `position`, and that comparisons can reach: itself, or that of a plain jump to it.
    fn within_reach(&mut self, position: usize) -> usize {
        let distance = self.distance(position);
        if distance <= NEAR {
            return position;
        }
        self.push(instruction(JUMP, u32::try_from(distance).unwrap_or(u32::MAX), 0, 0))
    }

    /// Compiles the calls of one architecture, and returns the position at which they begin.
    fn section(&mut self, rules: &'a [Rule], arch: Arch) -> usize {
        let allow = Code::Answer(Answer::Allow);
        let unknown = Code::Answer(Answer::errno(rustix::io::Errno::NOSYS));
        let mut special: Vec<(u32, &Rule)> = Vec::with_capacity(rules.len());
        special.extend(rules.iter().rev().filter_map(|rule| Some((number(rule.call, arch)?, rule))));
        // The sort is stable, so of several rules for one call the last stays first.
        special.sort_by_key(|(number, _)| *number);
        special.dedup_by_key(|(number, _)| *number);
        // Ranges of numbers by their first number.
        let mut ranges = Vec::with_capacity(2 * special.len() + 4);
        ranges.push((0, allow));
        let mut start = |from: u32, code: Code<'a>| {
            if ranges.last().is_some_and(|(last, _)| *last == from) {
                ranges.pop();
            }
            if ranges.last().is_none_or(|(_, last)| *last != code) {
                ranges.push((from, code));
            }
        };
        for (number, rule) in special {
            start(number, if rule.cases.is_empty() { Code::Answer(rule.otherwise) } else { Code::Rule(rule) });
            start(number + 1, allow);
        }
        start(NEWEST + 1, unknown);
        match arch {
            Arch::X86_64 => {
                start(X32, Code::Answer(Answer::Kill));
                start(SKIPPED, allow);
            }
            Arch::Arm => {
                start(ARM_PRIVATE, allow);
                start(ARM_PRIVATE_END, unknown);
            }
            Arch::I386 | Arch::Aarch64 => {}
        }
        // There are at least two ranges, so the search begins with the last instruction that it adds.
        self.search(&ranges, None);
        self.push(instruction(LOAD, NUMBER, 0, 0))
    }

    /// Compiles the search of some ranges, of which the last ends before `end`, and returns the position at which it
    /// begins.
    fn search(&mut self, ranges: &[(u32, Code<'a>)], end: Option<u32>) -> usize {
        if let [(_, code)] = ranges {
            return self.position(*code);
        }
        if let Some((single, rest)) = chain(ranges, end) {
            // Twice: what the first round compiles may move what was in reach out of it.
            for (_, code) in &single {
                self.position(*code);
            }
            let targets: Vec<_> = single.iter().map(|(number, code)| (*number, self.position(*code))).collect();
            let mut next = self.position(rest);
            for (number, target) in targets.into_iter().rev() {
                next = self.compare(JUMP_EQUAL, number, target, next);
            }
            return next;
        }
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let above = self.search(high, end);
        let below = self.search(low, Some(high[0].0));
        let below = self.within_reach(below);
        let above = self.within_reach(above);
        self.compare(JUMP_AT_LEAST, high[0].0, above, below)
    }

    /// Position of some code within reach, which is compiled if it is not.
    fn position(&mut self, code: Code<'a>) -> usize {
        let known = self.compiled.iter().rev().find(|(known, _)| *known == code).map(|(_, position)| *position);
        let position = match (known, code) {
            (Some(known), _) if self.distance(known) <= NEAR => return known,
            (Some(known), Code::Rule(_)) => self.within_reach(known),
            (None, Code::Rule(rule)) => self.leaf(rule),
            // As short as a jump to one.
            (_, Code::Answer(value)) => self.push(answer(value)),
        };
        self.compiled.push((code, position));
        position
    }

    /// Compiles the cases of a rule, each of which answers or falls through to the next, and returns the position at which
    /// they begin.
    fn leaf(&mut self, rule: &Rule) -> usize {
        self.push(answer(rule.otherwise));
        for case in rule.cases.iter().rev() {
            let end = self.backwards.len();
            self.push(answer(case.answer));
            for test in case.tests.iter().rev() {
                let beyond = u8::try_from(self.backwards.len() - end).unwrap_or(u8::MAX);
                let argument = match *test {
                    Test::Is(argument, mask, value) => {
                        self.push(instruction(JUMP_EQUAL, value, 0, beyond));
                        if mask != u32::MAX {
                            self.push(instruction(AND, mask, 0, 0));
                        }
                        argument
                    }
                    Test::AnyOf(argument, mut values) => {
                        values.sort_unstable();
                        let last = self.backwards.len();
                        for value in values.chunk_by(u32::eq).map(|same| same[0]) {
                            // A comparison that holds skips the ones after it; the last one jumps beyond the case if it
                            // does not hold.
                            let (after, no) = match self.backwards.len() - last {
                                0 => (0, beyond),
                                after => (u8::try_from(after).unwrap_or(u8::MAX), 0),
                            };
                            self.push(instruction(JUMP_EQUAL, value, after, no));
                        }
                        argument
                    }
                    Test::Has(argument, bits) => {
                        self.push(instruction(JUMP_HAS, bits, 0, beyond));
                        argument
                    }
                    Test::Null(argument) => {
                        self.push(instruction(JUMP_EQUAL, 0, 0, beyond));
                        self.push(instruction(LOAD, ARGUMENTS + 8 * u32::from(argument) + 4, 0, 0));
                        self.push(instruction(JUMP_EQUAL, 0, 0, beyond + 2));
                        argument
                    }
                };
                self.push(instruction(LOAD, ARGUMENTS + 8 * u32::from(argument), 0, 0));
            }
        }
        self.backwards.len() - 1
    }
}

/// The single numbers among ranges, with their code, and the code of all others: if there is one such code, and few single
/// numbers, comparisons for equality take half the instructions of a search.
fn chain<'a>(ranges: &[(u32, Code<'a>)], end: Option<u32>) -> Option<(Vec<(u32, Code<'a>)>, Code<'a>)> {
    if ranges.len() > 2 * CHAIN + 1 {
        return None;
    }
    let ends = ranges[1..].iter().map(|(start, _)| Some(*start)).chain([end]);
    let (single, wide): (Vec<_>, Vec<_>) =
        ranges.iter().zip(ends).partition(|((start, _), end)| end.is_some_and(|end| end - start == 1));
    let ((_, rest), _) = wide.first()?;
    let is_chain = single.len() <= CHAIN && wide.iter().all(|((_, code), _)| code == rest);
    is_chain.then(|| (single.into_iter().map(|(range, _)| *range).collect(), *rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::fakeroot::{self, Owner};
    use crate::sandbox::policy::{FakeRoot, Profile};
    use crate::sandbox::seccomp::deny;

    /// Interprets a program as the kernel does, for the few instructions in use (linux/filter.h).
    fn run(program: &[Instruction], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = [number.to_le_bytes(), arch.to_le_bytes()].concat();
        data.extend([0; 8]);
        data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
        let (mut at, mut a) = (0, 0_u32);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            let jump = |yes: bool| usize::from(if yes { jt } else { jf });
            at += 1;
            match u32::from(code) {
                LOAD => a = u32::from_le_bytes(data[k as usize..][..4].try_into().unwrap()),
                AND => a &= k,
                JUMP => at += k as usize,
                JUMP_EQUAL => at += jump(a == k),
                JUMP_AT_LEAST => at += jump(a >= k),
                JUMP_HAS => at += jump(a & k != 0),
                RETURN => return k,
                other => panic!("instruction {other:#x} at {at}"),
            }
        }
    }

    /// Evaluates rules directly.
    fn told(rules: &[Rule], arch: Arch, nr: u32, arguments: [u64; 6]) -> Answer {
        let enosys = Answer::errno(rustix::io::Errno::NOSYS);
        match arch {
            Arch::X86_64 if nr == SKIPPED => return Answer::Allow,
            Arch::X86_64 if nr & X32 != 0 || nr >= 0x8000_0000 => return Answer::Kill,
            Arch::Arm if (ARM_PRIVATE..ARM_PRIVATE_END).contains(&nr) => return Answer::Allow,
            _ if nr > NEWEST => return enosys,
            _ => {}
        }
        let Some(rule) = rules.iter().rfind(|rule| number(rule.call, arch) == Some(nr)) else { return Answer::Allow };
        rule.answer(&arguments)
    }

    #[test]
    fn programs_say_what_the_rules_say() {
        let interesting: [u64; 18] = [
            0,
            1,
            2,
            4,
            5,
            0xffff,
            0x1_0000_0000,
            8,
            10,
            16,
            38,
            0x1002_0000,
            0x1000_0000,
            0x5412,
            0x541c,
            0xffff_ffff,
            0x1_0000_5412,
            0x004c_0000,
        ];
        let numbers =
            (0..600).chain([0x0f_0000, 0x0f_0005, 0x0f_0010, X32, X32 | 0xa5, 0x8000_0000, 0xffff_fffe, SKIPPED]);
        let numbers: Vec<u32> = numbers.collect();
        for thirty_two in [false, true] {
            let owner = Owner { ids: (4, 8), many: false };
            let rules = [deny::rules(thirty_two), fakeroot::rules(Profile::Build, FakeRoot::Off, owner)].concat();
            for arches in [[Arch::X86_64, Arch::I386], [Arch::Aarch64, Arch::Arm]] {
                let program = assemble(&rules, arches);
                assert!(program.len() < 4096, "{} instructions", program.len());
                for arch in arches {
                    for number in &numbers {
                        for first in interesting {
                            // A call that is not in the table has no tests of arguments.
                            let asked = rules.iter().any(|rule| super::number(rule.call, arch) == Some(*number));
                            for second in interesting.into_iter().take(if asked { usize::MAX } else { 1 }) {
                                let arguments = [first, second, second, first, 0, 0];
                                let want = answer(told(&rules, arch, *number, arguments)).k;
                                let got = run(&program, arch.audit(), *number, arguments);
                                assert_eq!(got, want, "{arch:?} {number} {arguments:x?}");
                            }
                        }
                    }
                }
                assert_eq!(run(&program, 0xC000_0015, 1, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
            }
        }
    }

    /// The answer that the kernel takes of several filters, newest first (kernel/seccomp.c, `seccomp_run_filters`).
    fn together(answers: [u32; 2]) -> u32 {
        let action = |answer: u32| (answer & libc::SECCOMP_RET_ACTION_FULL).cast_signed();
        if action(answers[0]) <= action(answers[1]) { answers[0] } else { answers[1] }
    }

    /// Whether the kernel executes a call with this answer, or another process decides.
    fn may_be_carried_out(answer: u32) -> bool {
        // In this order: kill process, kill thread, trap, errno; user notification, trace, log, allow.
        (answer & libc::SECCOMP_RET_ACTION_FULL).cast_signed()
            > (libc::SECCOMP_RET_ERRNO & libc::SECCOMP_RET_ACTION_FULL).cast_signed()
    }

    #[test]
    fn what_is_refused_is_refused_in_every_mode_whatever_filters_a_command_adds() {
        use crate::sandbox::tracer::exec_redirect::exec_stop_rules;
        use crate::sandbox::tracer::explain;
        use crate::sandbox::tracer::interpose::interposed_rules;
        use crate::sandbox::{DirectoryOrder, Interposed};

        let interposed =
            Interposed { clock: Some("+1d".parse().unwrap()), directory_order: Some(DirectoryOrder::Reverse) };
        let hostile = [
            libc::SECCOMP_RET_TRACE,
            libc::SECCOMP_RET_TRACE | 0x4000,
            libc::SECCOMP_RET_TRACE | 0xffff,
            libc::SECCOMP_RET_USER_NOTIF,
            libc::SECCOMP_RET_LOG,
            libc::SECCOMP_RET_ALLOW,
            libc::SECCOMP_RET_ERRNO,
            libc::SECCOMP_RET_TRAP,
        ];
        let interesting: [u64; 14] =
            [0, 0x1_0000_0000, 1, 2, 4, 8, 16, 17, 38, 0x1002_0000, 0x5412, 0x541c, 0xffff_ffff, 0x004c_0000];
        let owner = Owner { ids: (0, 0), many: false };
        for (thirty_two, profile, fake) in
            [(false, Profile::Provision, FakeRoot::Stateful), (true, Profile::Build, FakeRoot::Off)]
        {
            let plain = [deny::rules(thirty_two), fakeroot::rules(profile, fake, owner)].concat();
            let by_ptrace = exec_stop_rules(plain.clone());
            let modes = [
                plain.clone(),
                by_ptrace.clone(),
                explain::watched(plain.clone()),
                explain::watched(by_ptrace.clone()),
                interposed_rules(plain.clone(), &interposed),
                interposed_rules(explain::watched(by_ptrace), &interposed),
            ];
            for arches in [[Arch::X86_64, Arch::I386], [Arch::Aarch64, Arch::Arm]] {
                let programs = modes.each_ref().map(|rules| assemble(rules, arches));
                for arch in arches {
                    let named = plain.iter().filter_map(|rule| super::number(rule.call, arch));
                    let others = [0, NEWEST, NEWEST + 1, X32, X32 | 0x13d, 0x8000_0000, 0xffff_fffe];
                    for number in named.chain(others) {
                        for (first, second) in interesting.into_iter().flat_map(|one| interesting.map(|two| (one, two)))
                        {
                            let arguments = [first, second, second, first, 0, 0];
                            let [plain, modes @ ..] =
                                programs.each_ref().map(|program| run(program, arch.audit(), number, arguments));
                            if may_be_carried_out(plain) {
                                continue;
                            }
                            for (answer, newest) in modes.into_iter().flat_map(|mode| hostile.map(|new| (mode, new))) {
                                let both = together([newest, answer]);
                                assert!(!may_be_carried_out(both), "{arch:?} {number} {arguments:x?} {newest:x}");
                            }
                        }
                    }
                }
            }
        }
    }

    /// The C library knows the numbers of the host too.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn numbers_are_those_of_the_c_library() {
        for (name, want) in [
            ("mount", libc::SYS_mount),
            ("clone3", libc::SYS_clone3),
            ("ioctl", libc::SYS_ioctl),
            ("personality", libc::SYS_personality),
            ("keyctl", libc::SYS_keyctl),
            ("bpf", libc::SYS_bpf),
            ("setxattrat", libc::SYS_setxattr + 275),
            ("newfstatat", libc::SYS_newfstatat),
            ("quotactl_fd", libc::SYS_quotactl_fd),
            ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ] {
            assert_eq!(number(name, Arch::X86_64).map(i64::from), Some(want), "{name}");
        }
    }
}
