//! What the filter says to calls about owners: to those of a root who has one user, and of a user who has no other.

use rustix::io::Errno;

use super::notifier::QUESTIONS;
use crate::sandbox::policy::{FakeRoot, Profile};
use crate::sandbox::seccomp::{Answer, Case, Rule, Test};

/// They change this process's users, groups and capabilities: they seem to succeed. Those that would change nothing,
/// since user 0 becomes user 0, need no other answer.
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

/// They give a file away, and which argument the user is; the group is the next.
pub(super) const OWNERS: &[(&str, u8)] =
    &[("chown", 1), ("chown32", 1), ("fchown", 1), ("fchown32", 1), ("fchownat", 2), ("lchown", 1), ("lchown32", 1)];

/// They make a device, and which argument the type is.
pub(super) const DEVICES: &[(&str, u8)] = &[("mknod", 1), ("mknodat", 2)];

/// The id that means "as it is" (chown(2)).
pub(super) const KEEP: u32 = u32::MAX;

const WHOLE: u32 = u32::MAX;

/// It changes the root directory, and succeeds for root where that changes nothing: package managers change to `/` before
/// they run the scripts of packages.
pub(super) const ROOT: &str = "chroot";

/// The same as [`KEEP`] in calls that take ids of 16 bits.
const KEEP_SHORT: u32 = 0xffff;
/// Calls that do so on 32-bit architectures.
const SHORT: [&str; 3] = ["chown", "fchown", "lchown"];

/// Who calls.
#[derive(Debug, Clone, Copy)]
pub(in crate::sandbox) struct Owner {
    /// User and group of the command.
    pub(in crate::sandbox) ids: (u32, u32),
    /// Whether other users are mapped.
    pub(in crate::sandbox) many: bool,
}

/// The rules on top of those that forbid. What the kernel can do in truth is left to it, so that it fails where it
/// should: files given to the user and group there is, pipes and sockets made by mknod(2).
///
/// Files of `/proc` and `/sys` belong to root of the host, whose id is not mapped. Giving them to root of the sandbox fails
/// in truth, and must not for packages that have these directories. Only who hears of the call knows the file.
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

/// The group `tty` of every common distribution.
const TTY: u32 = 5;

/// Has grantpt(3) of glibc before 2.23 succeed, which gives a new terminal to its owner and the group `tty`. That group is
/// not mapped, and the owner needs it for nothing.
fn with_grantpt((call, user): (&'static str, u8), owner: Owner, mut rule: Rule) -> Rule {
    // The call of chown(3), which tools for files do not use where they have fchownat(2).
    if ["chown", "chown32"].contains(&call) || call == "fchownat" && cfg!(target_arch = "aarch64") {
        let tests = vec![Test::Is(user, WHOLE, owner.ids.0), Test::Is(user + 1, WHOLE, TTY)];
        // After those that a user of this group needs.
        rule.cases.push(Case { tests, answer: Answer::Errno(0) });
    }
    rule
}

/// `own` to a call that changes no owner or to those of `ids`, else `other`.
///
/// Without it the kernel says EINVAL to ids that are not mapped, while programs expect EPERM of who is not root: fakeroot(1)
/// goes on after EPERM alone.
fn chown((call, user): (&'static str, u8), ids: (u32, u32), own: Answer, other: Answer) -> Rule {
    let keep = if SHORT.contains(&call) { KEEP_SHORT } else { KEEP };
    let tests = vec![Test::AnyOf(user, [ids.0, KEEP, keep]), Test::AnyOf(user + 1, [ids.1, KEEP, keep])];
    Rule { call, cases: vec![Case { tests, answer: own }], otherwise: other }
}

/// The rules where nobody can hear of calls: what is only heard of is left to the kernel, which is what it has of them.
pub(in crate::sandbox) fn unheard(rules: &[Rule]) -> Vec<Rule> {
    let mut rules = rules.to_vec();
    for rule in &mut rules {
        let instead = if rule.call == ROOT { Answer::errno(Errno::PERM) } else { Answer::Allow };
        let answers = rule.cases.iter_mut().map(|case| &mut case.answer).chain([&mut rule.otherwise]);
        answers.filter(|answer| **answer == Answer::Notify).for_each(|answer| *answer = instead);
    }
    rules
}

/// Devices, not pipes and sockets.
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
        // No call that gives a file away is without a rule, on any architecture.
        for (call, _) in OWNERS {
            assert!(Arch::NATIVE.iter().any(|arch| number(call, *arch).is_some()), "{call}");
        }
    }

    #[test]
    fn unheard_calls_are_the_kernels_but_for_the_root() {
        let heard = rules(Profile::Provision, FakeRoot::Stateless, ROOT_ALONE);
        let left = unheard(&heard);
        let answers =
            |rule: &Rule| rule.cases.iter().map(|case| case.answer).chain([rule.otherwise]).collect::<Vec<_>>();
        assert!(!left.iter().flat_map(answers).any(|answer| answer == Answer::Notify));
        assert!(left.contains(&Rule::always(ROOT, Answer::errno(Errno::PERM))));
        assert_eq!(left.len(), heard.len());
    }
}
