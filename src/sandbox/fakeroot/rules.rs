//! Filter rules for calls about owners: of a root who is the only user, and of a user who is the only one.

use rustix::io::Errno;

use crate::sandbox::policy::{FakeRoot, Profile};
use crate::sandbox::seccomp::{Answer, Case, Rule, Test};

/// Calls that change the users, groups and capabilities of the process: they seem to succeed. A change from user 0 to
/// user 0 has no effect and needs no other answer.
const PROCESS: &[&str] = &[
    "capset",
    "setfsgid",
    "setfsgid32",
    "setfsuid",
    "setfsuid32",
    "setgid",
    "setgid32",
    "setgroups",
    "setgroups32",
    "setregid",
    "setregid32",
    "setresgid",
    "setresgid32",
    "setresuid",
    "setresuid32",
    "setreuid",
    "setreuid32",
    "setuid",
    "setuid32",
];

/// Calls that change the owner of a file, and the argument with the user; the group is the next argument.
pub(super) const OWNERS: &[(&str, u8)] =
    &[("chown", 1), ("chown32", 1), ("fchown", 1), ("fchown32", 1), ("fchownat", 2), ("lchown", 1), ("lchown32", 1)];

/// Calls that query the owner of a file, and the argument with the structure.
pub(super) const QUESTIONS: &[(&str, u8)] = &[
    ("fstat", 1),
    ("fstat64", 1),
    ("fstatat64", 2),
    ("lstat", 1),
    ("lstat64", 1),
    ("newfstatat", 2),
    ("stat", 1),
    ("stat64", 1),
    ("statx", 4),
];

/// Calls that make a device, and the argument with its type.
pub(super) const DEVICES: &[(&str, u8)] = &[("mknod", 1), ("mknodat", 2)];

/// Id that leaves the owner unchanged (chown(2)).
pub(super) const KEEP: u32 = u32::MAX;

const WHOLE: u32 = u32::MAX;

/// Call that changes the root directory. For root it succeeds if it changes nothing: package managers change to `/`
/// before they run the scripts of packages.
pub(super) const ROOT: &str = "chroot";

/// As [`KEEP`], in calls with ids of 16 bits.
const KEEP_SHORT: u32 = 0xffff;
/// Calls with ids of 16 bits on 32-bit architectures.
const SHORT: [&str; 3] = ["chown", "fchown", "lchown"];

/// User who makes the calls.
#[derive(Debug, Clone, Copy)]
pub(in crate::sandbox) struct Owner {
    /// User and group of the command.
    pub(in crate::sandbox) ids: (u32, u32),
    /// Whether other users are mapped.
    pub(in crate::sandbox) many: bool,
}

/// Rules on top of those that forbid. Whatever the kernel can do is left to it, so that it fails if it should: files
/// given to the existing user and group, pipes and sockets made by mknod(2).
///
/// Files of `/proc` and `/sys` belong to root of the host, whose id is not mapped. The kernel refuses to give them to
/// root of the sandbox, but packages that contain these directories need it. The filter passes such calls to init, which
/// can look at the file.
pub(in crate::sandbox) fn rules(profile: Profile, fake: FakeRoot, owner: Owner) -> Vec<Rule> {
    if profile == Profile::Build {
        let refused = Answer::errno(Errno::PERM);
        let rule =
            |call: &(&'static str, u8)| with_grantpt(*call, owner, chown(*call, owner.ids, Answer::Allow, refused));
        return OWNERS.iter().map(rule).collect();
    }
    let root = std::iter::once(Rule::always(ROOT, Answer::Notify));
    let heard = |(call, _): &(&'static str, u8)| Rule::always(call, Answer::Notify);
    if fake == FakeRoot::Off {
        return root.chain(OWNERS.iter().filter(|_| owner.many).map(heard)).collect();
    }
    let done = Answer::Errno(0);
    let process = PROCESS.iter().map(|call| Rule::always(call, done));
    let devices = |answer| DEVICES.iter().map(move |device| mknod(*device, answer));
    if fake == FakeRoot::Stateful {
        let heard = OWNERS.iter().chain(QUESTIONS).map(heard);
        return root.chain(process).chain(heard).chain(devices(Answer::Notify)).collect();
    }
    let owners = OWNERS.iter().map(|call| chown(*call, owner.ids, Answer::Notify, done));
    root.chain(process).chain(owners).chain(devices(done)).collect()
}

/// Group `tty` of every common distribution.
const TTY: u32 = 5;

/// Lets grantpt(3) of glibc before 2.23 succeed, which gives a new terminal to its owner and the group `tty`. That group
/// is not mapped, and the owner does not need it.
fn with_grantpt((call, user): (&'static str, u8), owner: Owner, mut rule: Rule) -> Rule {
    // The call of chown(3). Tools for files use fchownat(2) where it exists.
    if ["chown", "chown32"].contains(&call) || call == "fchownat" && cfg!(target_arch = "aarch64") {
        let tests = vec![Test::Is(user, WHOLE, owner.ids.0), Test::Is(user + 1, WHOLE, TTY)];
        // After the cases that a user of this group needs.
        rule.cases.push(Case { tests, answer: Answer::Errno(0) });
    }
    rule
}

/// Answers `own` to a call that keeps the owner or sets it to `ids`, and `other` to any other.
///
/// Without this rule the kernel fails with EINVAL for ids that are not mapped, while programs expect EPERM as a user who
/// is not root: fakeroot(1) continues after EPERM alone.
fn chown((call, user): (&'static str, u8), ids: (u32, u32), own: Answer, other: Answer) -> Rule {
    let keep = if SHORT.contains(&call) { KEEP_SHORT } else { KEEP };
    let tests = vec![Test::AnyOf(user, [ids.0, KEEP, keep]), Test::AnyOf(user + 1, [ids.1, KEEP, keep])];
    Rule { call, cases: vec![Case { tests, answer: own }], otherwise: other }
}

/// The rules without a listener: the kernel answers the calls that only a listener could answer.
pub(in crate::sandbox) fn without_listener(rules: &[Rule]) -> Vec<Rule> {
    let mut rules = rules.to_vec();
    for rule in &mut rules {
        let instead = if rule.call == ROOT { Answer::errno(Errno::PERM) } else { Answer::Allow };
        let answers = rule.cases.iter_mut().map(|case| &mut case.answer).chain([&mut rule.otherwise]);
        answers.filter(|answer| **answer == Answer::Notify).for_each(|answer| *answer = instead);
    }
    rules
}

/// Matches devices, not pipes and sockets.
fn mknod((call, mode): (&'static str, u8), answer: Answer) -> Rule {
    let kinds = [libc::S_IFCHR, libc::S_IFBLK];
    let cases = kinds.map(|kind| Case { tests: vec![Test::Is(mode, libc::S_IFMT, kind)], answer });
    Rule { call, cases: cases.into(), otherwise: Answer::Allow }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::seccomp::{Arch, number};

    const ROOT_ALONE: Owner = Owner { ids: (0, 0), many: false };

    #[test]
    fn rules_as_data() {
        let root = |fake| rules(Profile::Provision, fake, ROOT_ALONE);
        insta::assert_json_snapshot!("stateless", root(FakeRoot::Stateless));
        insta::assert_json_snapshot!("stateful", root(FakeRoot::Stateful));
        assert_eq!(root(FakeRoot::Off), [Rule::always(ROOT, Answer::Notify)]);
        let many = rules(Profile::Provision, FakeRoot::Off, Owner { many: true, ..ROOT_ALONE });
        assert_eq!(many.len(), 1 + OWNERS.len());
    }

    #[test]
    fn a_user_gives_nothing_away() {
        let user = rules(Profile::Build, FakeRoot::Off, Owner { ids: (1000, 100), many: false });
        let keep = u64::from(KEEP);
        for (call, user_id, group, allowed) in [
            ("chown", 1000, 100, true),
            ("chown", keep, 100, true),
            ("chown", u64::MAX, u64::MAX, true),
            ("chown", 0, 100, false),
            ("chown", 1000, 6, false),
            ("chown", keep, 5, false),
            ("lchown", 1000, 5, false),
            ("chown", 0x1_0000_03e8, 100, true),
            ("chown", 0xffff, 100, true),
            ("chown", 1001, 0xffff, false),
            ("chown32", 0xffff, 100, false),
            ("lchown32", keep, keep, true),
        ] {
            let rule = user.iter().find(|rule| rule.call == call).unwrap();
            let answer = rule.answer(&[0, user_id, group, 0, 0, 0]);
            let want = if allowed { Answer::Allow } else { Answer::errno(Errno::PERM) };
            assert_eq!(answer, want, "{call} {user_id:#x} {group:#x}");
        }
        // Every call that changes an owner has a rule, on any architecture.
        for (call, _) in OWNERS {
            assert!(Arch::NATIVE.iter().any(|arch| number(call, *arch).is_some()), "{call}");
        }
    }

    #[test]
    fn unheard_calls_are_the_kernels_but_for_the_root() {
        let heard = rules(Profile::Provision, FakeRoot::Stateless, ROOT_ALONE);
        let left = without_listener(&heard);
        let answers =
            |rule: &Rule| rule.cases.iter().map(|case| case.answer).chain([rule.otherwise]).collect::<Vec<_>>();
        assert!(!left.iter().flat_map(answers).any(|answer| answer == Answer::Notify));
        assert!(left.contains(&Rule::always(ROOT, Answer::errno(Errno::PERM))));
        assert_eq!(left.len(), heard.len());
    }
}
