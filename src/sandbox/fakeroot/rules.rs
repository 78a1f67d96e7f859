//! What the filter says to the calls of a root who has one user.

use super::keeper::QUESTIONS;
use crate::sandbox::policy::FakeRoot;
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

/// The rules on top of those that forbid. What the kernel can do in truth is left to it, so that it fails where it
/// should: files given to user and group 0, pipes and sockets made by mknod(2).
pub(in crate::sandbox) fn rules(fake: FakeRoot) -> Vec<Rule> {
    if fake == FakeRoot::Off {
        return vec![];
    }
    let done = Answer::Errno(0);
    let process = PROCESS.iter().map(|call| Rule::always(call, done));
    let devices = |answer| DEVICES.iter().map(move |device| mknod(*device, answer));
    if fake == FakeRoot::Stateful {
        let heard = OWNERS.iter().chain(QUESTIONS).map(|(call, _)| Rule::always(call, Answer::Notify));
        return process.chain(heard).chain(devices(Answer::Notify)).collect();
    }
    let own = |argument| [0, KEEP].map(|id| Test::Is(argument, WHOLE, id));
    let chown = |(call, user): &(&'static str, u8)| {
        let pairs = own(*user).into_iter().flat_map(|user_id| own(user + 1).map(|group| vec![user_id, group]));
        Rule { call, cases: pairs.map(|tests| Case { tests, answer: Answer::Allow }).collect(), otherwise: done }
    };
    process.chain(OWNERS.iter().map(chown)).chain(devices(done)).collect()
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

    #[test]
    fn rules_as_data() {
        insta::assert_json_snapshot!("stateless", rules(FakeRoot::Stateless));
        insta::assert_json_snapshot!("stateful", rules(FakeRoot::Stateful));
        assert_eq!(rules(FakeRoot::Off), []);
    }
}
