//! Watched calls, and the filter rules for them.

use rustix::io::Errno;

use crate::sandbox::seccomp::{Answer, Case, Rule, Test};

/// Location of the object in the arguments of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A path.
    Path(usize),
    /// Descriptor of a directory, and a path relative to it.
    At(usize, usize),
    /// A descriptor.
    Descriptor(usize),
    /// Two paths, each perhaps with the descriptor of a directory: from and to.
    Two([(Option<usize>, usize); 2]),
    /// Address of a socket, followed by its length.
    Address(usize),
    /// sendto(2): address, and the bytes to send.
    Datagram,
    /// sendmsg(2) and sendmmsg(2): a header, or the first of several.
    Message,
    /// socketcall(2) of 32-bit x86: a number, and the address of the arguments.
    SocketCall,
    /// Numbers only.
    Numbers,
}

use Shape::{Address, At, Datagram, Descriptor, Message, Numbers, Path, SocketCall, Two};

const FROM_TO: Shape = Two([(None, 0), (None, 1)]);
const FROM_TO_AT: Shape = Two([(Some(0), 1), (Some(2), 3)]);

/// Calls whose results are inspected.
const WATCHED: &[(&str, Shape)] = &[
    ("access", Path(0)),
    ("bind", Address(1)),
    ("chdir", Path(0)),
    ("chmod", Path(0)),
    ("chown", Path(0)),
    ("chown32", Path(0)),
    ("connect", Address(1)),
    ("creat", Path(0)),
    ("execve", Path(0)),
    ("execveat", At(0, 1)),
    ("faccessat", At(0, 1)),
    ("faccessat2", At(0, 1)),
    ("fchmod", Descriptor(0)),
    ("fchmodat", At(0, 1)),
    ("fchmodat2", At(0, 1)),
    ("fchown", Descriptor(0)),
    ("fchown32", Descriptor(0)),
    ("fchownat", At(0, 1)),
    ("fsetxattr", Descriptor(0)),
    ("fstatat64", At(0, 1)),
    ("futimesat", At(0, 1)),
    ("kill", Numbers),
    ("lchown", Path(0)),
    ("lchown32", Path(0)),
    ("link", FROM_TO),
    ("linkat", FROM_TO_AT),
    ("lsetxattr", Path(0)),
    ("lstat", Path(0)),
    ("lstat64", Path(0)),
    ("mkdir", Path(0)),
    ("mkdirat", At(0, 1)),
    ("mknod", Path(0)),
    ("mknodat", At(0, 1)),
    ("newfstatat", At(0, 1)),
    ("open", Path(0)),
    ("openat", At(0, 1)),
    ("openat2", At(0, 1)),
    ("rename", FROM_TO),
    ("renameat", FROM_TO_AT),
    ("renameat2", FROM_TO_AT),
    ("rmdir", Path(0)),
    ("sendmmsg", Message),
    ("sendmsg", Message),
    ("sendto", Datagram),
    ("setgid", Numbers),
    ("setgid32", Numbers),
    ("setgroups", Numbers),
    ("setgroups32", Numbers),
    ("setregid", Numbers),
    ("setregid32", Numbers),
    ("setresgid", Numbers),
    ("setresgid32", Numbers),
    ("setresuid", Numbers),
    ("setresuid32", Numbers),
    ("setreuid", Numbers),
    ("setreuid32", Numbers),
    ("setuid", Numbers),
    ("setuid32", Numbers),
    ("setxattr", Path(0)),
    ("socket", Numbers),
    ("socketcall", SocketCall),
    ("stat", Path(0)),
    ("stat64", Path(0)),
    ("statx", At(0, 1)),
    ("symlink", Path(1)),
    ("symlinkat", At(1, 2)),
    ("truncate", Path(0)),
    ("truncate64", Path(0)),
    ("unlink", Path(0)),
    ("unlinkat", At(0, 1)),
    ("utime", Path(0)),
    ("utimensat", At(0, 1)),
    ("utimes", Path(0)),
];

/// Calls that fail at every start of a program, which does without them: too many, and not worth a report.
const QUIET: &[&str] = &["clone3"];

/// `AT_EMPTY_PATH` (linux/fcntl.h): the call is about a descriptor, as every fstat(3) of a current C library.
const EMPTY_PATH: u32 = 0x1000;

/// Adds the rules of a watched run: the tracer sees denied calls, and the results of [`WATCHED`] ones.
///
/// The kernel denies them ([`Answer::Trap`]) whatever filters a command adds. With [`Answer::Trace`] the tracer would
/// have to, and `SECCOMP_RET_USER_NOTIF` of a newer filter outranks that.
pub(in crate::sandbox) fn watched(mut rules: Vec<Rule>) -> Vec<Rule> {
    for rule in rules.iter_mut().filter(|rule| !QUIET.contains(&rule.call)) {
        let is_watched = WATCHED.iter().any(|(call, _)| *call == rule.call);
        for answer in rule.cases.iter_mut().map(|case| &mut case.answer).chain([&mut rule.otherwise]) {
            match *answer {
                Answer::Errno(errno @ 1..) => *answer = Answer::Trap(errno),
                Answer::Allow if is_watched => *answer = Answer::Trace,
                _ => {}
            }
        }
    }
    for (call, _) in WATCHED {
        if rules.iter().any(|rule| rule.call == *call) {
            continue;
        }
        let flags = match *call {
            "newfstatat" => Some(3),
            "statx" => Some(2),
            _ => None,
        };
        let cases = flags.map(|flags| Case { tests: vec![Test::Has(flags, EMPTY_PATH)], answer: Answer::Allow });
        rules.push(Rule { call, cases: cases.into_iter().collect(), otherwise: Answer::Trace });
    }
    // A process has only one tracer.
    let eperm = u16::try_from(Errno::PERM.raw_os_error()).unwrap_or(0);
    rules.retain(|rule| rule.call != "ptrace");
    rules.push(Rule::always("ptrace", Answer::Trap(eperm)));
    rules
}

/// Location of the object in the arguments of `call`.
pub(super) fn shape(call: &str) -> Shape {
    WATCHED.binary_search_by_key(&call, |(name, _)| name).map_or(Numbers, |at| WATCHED[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::seccomp;

    fn answers(rule: &Rule) -> impl Iterator<Item = Answer> {
        rule.cases.iter().map(|case| case.answer).chain([rule.otherwise])
    }

    #[test]
    fn what_a_filter_refuses_is_trapped_with_the_same_errno() {
        for plain in seccomp::rules(false) {
            let rules = watched(vec![plain.clone()]);
            let rule = rules.iter().find(|rule| rule.call == plain.call).unwrap();
            for (before, after) in answers(&plain).zip(answers(rule)) {
                match (before, after) {
                    (Answer::Errno(before), Answer::Trap(errno)) => assert_eq!(before, errno),
                    (Answer::Allow, Answer::Trace) => {}
                    (before, after) => assert_eq!(before, after, "{}", plain.call),
                }
            }
            assert_eq!(plain.cases.len(), rule.cases.len());
        }
    }

    #[test]
    fn nobody_else_may_trace() {
        let rules = watched(seccomp::rules(false));
        let of: Vec<_> = rules.iter().filter(|rule| rule.call == "ptrace").flat_map(answers).collect();
        assert_eq!(of, [Answer::Trap(1)]);
    }

    #[test]
    fn shapes_are_found() {
        assert!(WATCHED.is_sorted_by_key(|(name, _)| name));
        assert_eq!((shape("utimes"), shape("access"), shape("mount")), (Path(0), Path(0), Numbers));
    }
}
