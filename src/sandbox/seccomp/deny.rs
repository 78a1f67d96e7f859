//! System calls that every command is denied: those for root's tools, those that reach beyond the sandbox, and the parts
//! of the kernel in which most escapes were found.

use rustix::io::Errno;

use crate::digest::Digest;
use crate::sandbox::seccomp::{Answer, Case, Rule, Test};

/// Calls that fail with EPERM, as they do without privileges, which is what programs expect.
const FORBIDDEN: &[&str] = &[
    // Mounts and namespaces: those of the sandbox must not change, and no new ones be made (CVE-2021-41133,
    // CVE-2022-0185).
    "mount",
    "umount",
    "umount2",
    "pivot_root",
    "setns",
    "chroot",
    // Keys belong to the caller in any user namespace (keyrings: CVE-2016-0728).
    "add_key",
    "keyctl",
    "request_key",
    // Inspection of the kernel or of other processes, and the CPU's counters as a clock.
    "bpf",
    "perf_event_open",
    "syslog",
    "lookup_dcookie",
    "fanotify_init",
    // Stops the kernel at a point of an attacker's choice (CVE-2021-22555 and most races since).
    "userfaultfd",
    // Opens a file by its handle, past the permissions of its directories (CVE-2014-3519, "shocker").
    "open_by_handle_at",
    // Settings of the machine, not of a process.
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

/// Calls that fail with ENOSYS, so that programs use the older ones.
const ABSENT: &[&str] = &[
    // Its flags are in memory, where a filter cannot see them; every C library falls back to clone(2).
    "clone3",
    // A second way to make every other call, past the filter.
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

/// Harmless bits of personality(2): `PER_LINUX32`, `UNAME26`, `ADDR_NO_RANDOMIZE`, `ADDR_COMPAT_LAYOUT`,
/// `ADDR_LIMIT_3GB`.
const PERSONALITY: u32 = 0x0000_0008 | 0x0002_0000 | 0x0004_0000 | 0x0020_0000 | 0x0800_0000;

/// Rules for every command. `thirty_two` is set for an image of 32-bit x86, whose C library makes sockets by
/// socketcall(2), the arguments of which no filter can see.
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
        // TIOCSTI and TIOCLINUX push input into the terminal (CVE-2017-5226, CVE-2023-28100). TIOCSETD selects a line
        // discipline, for which the kernel loads poorly maintained modules (CVE-2017-2636, CVE-2023-6546). TIOCEXCL keeps
        // every other process from opening a terminal that may be the caller's.
        refused("ioctl", [0x5412, 0x541c, 0x5423, 0x540c].map(|request| Test::Is(SECOND, WHOLE, request)).into()),
        Rule {
            call: "personality",
            cases: vec![
                case(&[Test::Is(FIRST, WHOLE, WHOLE)], Answer::Allow),
                case(&[Test::Has(FIRST, !PERSONALITY)], eperm),
            ],
            otherwise: Answer::Allow,
        },
        // RLIMIT_CORE stays 1. With any other value, including 0, the kernel writes a core file or starts a program of
        // the host as root, which reads the memory of the command (fs/coredump.c; CVE-2025-4598 and CVE-2025-5054 are in
        // such programs). Changing it seems to succeed, since many scripts run `ulimit -c`. A call that also asks for the
        // old limit fails instead: nobody would fill it in.
        Rule { call: "setrlimit", cases: vec![case(&[is_core(FIRST)], done)], otherwise: Answer::Allow },
        Rule {
            call: "prlimit64",
            cases: vec![
                case(&[Test::Null(THIRD)], Answer::Allow),
                // Limits of init.
                case(&[Test::Is(FIRST, WHOLE, 1)], eperm),
                case(&[is_core(SECOND), Test::Null(FOURTH)], done),
                case(&[is_core(SECOND)], eperm),
            ],
            otherwise: Answer::Allow,
        },
    ]);
    // Unix, internet, and the list of network devices that C libraries ask for. Most bugs are in the other families
    // (CVE-2017-7308 AF_PACKET, CVE-2022-32250 netfilter, CVE-2021-43267 AF_TIPC, which has pairs; AF_ALG, AF_VSOCK), and
    // the kernel loads the module of each requested one.
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

/// Digest of the rules for every command. A constant, which a test compares, because computing it takes time at every
/// start.
pub(crate) const POLICY_DIGEST: Digest =
    Digest::literal("5c168f91d2197eea95c9c86547185c498f090b1f6a7b30f934d2f0f7ef3d53b7");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_as_data() {
        insta::assert_json_snapshot!("rules", rules(false));
    }

    #[test]
    fn the_policy_has_the_digest_that_is_recorded() {
        // Names, numbers and lists: JSON can hold them all.
        assert_eq!(POLICY_DIGEST, Digest::of(&serde_json::to_vec(&rules(false)).unwrap()));
    }
}
