//! What a command may not ask of the kernel: what only root's tools need, what reaches beyond the sandbox, and the
//! parts of the kernel in which most ways out were found.

use rustix::io::Errno;

use crate::sandbox::seccomp::{Answer, Case, Rule, Test};

/// They fail as they do for a user without privileges, which is what programs expect.
const FORBIDDEN: &[&str] = &[
    // Mounts and namespaces: the sandbox's own are not to be changed, nor new ones made (CVE-2021-41133, CVE-2022-0185).
    "mount",
    "umount",
    "umount2",
    "pivot_root",
    "setns",
    "chroot",
    // Keys are the caller's, whatever the user namespace (store-wide keyrings: CVE-2016-0728).
    "add_key",
    "keyctl",
    "request_key",
    // Looking into the kernel or at others, and the CPU's counters as a clock.
    "bpf",
    "perf_event_open",
    "syslog",
    "lookup_dcookie",
    "fanotify_init",
    // Stops the kernel where an attacker wants it to (CVE-2021-22555 and most races since).
    "userfaultfd",
    // A file by its handle, past every directory's permission (CVE-2014-3519, "shocker").
    "open_by_handle_at",
    // The machine's, not a process's.
    "acct",
    "clock_adjtime",
    "clock_adjtime64",
    "clock_settime",
    "clock_settime64",
    "create_module",
    "delete_module",
    "finit_module",
    "init_module",
    "ioperm",
    "iopl",
    "kexec_file_load",
    "kexec_load",
    "nfsservctl",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "setdomainname",
    "sethostname",
    "settimeofday",
    "stime",
    "swapoff",
    "swapon",
    "vhangup",
    // Old x86: 16-bit segments and a second loader (CVE-2015-5157).
    "modify_ldt",
    "uselib",
    "vm86",
    "vm86old",
];

/// They do not exist, so that programs take the older way.
const ABSENT: &[&str] = &[
    // Its flags are in memory, where a filter cannot see them; every C library falls back to clone(2).
    "clone3",
    // A second way to every other call, past the filter.
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "open_tree",
    "open_tree_attr",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
];

/// `CLONE_NEW*` without `CLONE_NEWTIME`, whose bit is part of clone(2)'s signal (linux/sched.h).
const NEW_NAMESPACE: u32 = 0x7e02_0000;
const NEW_TIME: u32 = 0x80;

const FIRST: u8 = 0;
const SECOND: u8 = 1;
const THIRD: u8 = 2;
const FOURTH: u8 = 3;
const WHOLE: u32 = u32::MAX;
/// `RLIMIT_CORE` (asm-generic/resource.h); the type of libc's differs between C libraries.
const RLIMIT_CORE: u32 = 4;

/// Bits of personality(2) that are harmless: `PER_LINUX32`, `UNAME26`, `ADDR_NO_RANDOMIZE`, `ADDR_COMPAT_LAYOUT`,
/// `ADDR_LIMIT_3GB`.
const PERSONALITY: u32 = 0x0000_0008 | 0x0002_0000 | 0x0004_0000 | 0x0020_0000 | 0x0800_0000;

/// The rules for a command; `thirty_two` where the image is of 32-bit x86, whose C library makes
/// sockets by socketcall(2), the arguments of which no filter can see.
pub(in crate::sandbox) fn rules(thirty_two: bool) -> Vec<Rule> {
    let eperm = Answer::errno(Errno::PERM);
    let enosys = Answer::errno(Errno::NOSYS);
    let done = Answer::Errno(0);
    let is_core = |argument| Test::Is(argument, WHOLE, RLIMIT_CORE);
    let case = |tests: &[Test], answer| Case { tests: tests.to_vec(), answer };
    let refused = |call, tests: Vec<Test>| Rule {
        call,
        cases: tests.into_iter().map(|test| case(&[test], eperm)).collect(),
        otherwise: Answer::Allow,
    };
    let mut rules: Vec<Rule> = FORBIDDEN.iter().map(|call| Rule::always(call, eperm)).collect();
    rules.extend(ABSENT.iter().map(|call| Rule::always(call, enosys)));
    rules.extend([
        refused("clone", vec![Test::Has(FIRST, NEW_NAMESPACE)]),
        refused("unshare", vec![Test::Has(FIRST, NEW_NAMESPACE | NEW_TIME)]),
        // TIOCSTI and TIOCLINUX put words into the terminal's input (CVE-2017-5226, CVE-2023-28100). TIOCSETD takes a
        // line discipline, for which the kernel loads modules that hardly anybody looks after (CVE-2017-2636,
        // CVE-2023-6546). TIOCEXCL keeps every other process from opening a terminal that may be the caller's.
        refused("ioctl", [0x5412, 0x541c, 0x5423, 0x540c].map(|request| Test::Is(SECOND, WHOLE, request)).into()),
        Rule {
            call: "personality",
            cases: vec![
                case(&[Test::Is(FIRST, WHOLE, WHOLE)], Answer::Allow),
                case(&[Test::Has(FIRST, !PERSONALITY)], eperm),
            ],
            otherwise: Answer::Allow,
        },
        // RLIMIT_CORE stays 1. With every other value a core file is written, or a program of the host is started as root that
        // reads the command's memory: with 0 too (fs/coredump.c; CVE-2025-4598 and CVE-2025-5054 are in such programs). To
        // change it seems to succeed, since `ulimit -c` is a line of many scripts. A call that wants to be told the old limit
        // with it fails instead: nobody would write it.
        Rule { call: "setrlimit", cases: vec![case(&[is_core(FIRST)], done)], otherwise: Answer::Allow },
        Rule {
            call: "prlimit64",
            cases: vec![
                case(&[Test::Null(THIRD)], Answer::Allow),
                // Init's limits.
                case(&[Test::Is(FIRST, WHOLE, 1)], eperm),
                case(&[is_core(SECOND), Test::Null(FOURTH)], done),
                case(&[is_core(SECOND)], eperm),
            ],
            otherwise: Answer::Allow,
        },
    ]);
    // Unix, internet, and the list of network devices that C libraries ask for. The other families are where
    // the bugs are (CVE-2017-7308 AF_PACKET, CVE-2022-32250 netfilter, CVE-2021-43267 AF_TIPC, which has pairs; AF_ALG,
    // AF_VSOCK), and the kernel loads the module of each that it is asked for.
    rules.extend(["socket", "socketpair"].map(|call| Rule {
        call,
        cases: vec![
            case(&[Test::Is(FIRST, WHOLE, libc::AF_UNIX.cast_unsigned())], Answer::Allow),
            case(&[Test::Is(FIRST, WHOLE, libc::AF_INET.cast_unsigned())], Answer::Allow),
            case(&[Test::Is(FIRST, WHOLE, libc::AF_INET6.cast_unsigned())], Answer::Allow),
            case(
                &[
                    Test::Is(FIRST, WHOLE, libc::AF_NETLINK.cast_unsigned()),
                    Test::Is(THIRD, WHOLE, libc::NETLINK_ROUTE.cast_unsigned()),
                ],
                Answer::Allow,
            ),
        ],
        otherwise: Answer::errno(Errno::AFNOSUPPORT),
    }));
    if !thirty_two {
        rules.push(Rule::always("socketcall", enosys));
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_as_data() {
        insta::assert_json_snapshot!("rules", rules(false));
    }
}
