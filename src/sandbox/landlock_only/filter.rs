//! System call filter of a run with `--isolation landlock`.

use rustix::io::Errno;

use crate::sandbox::policy::Network;
use crate::sandbox::seccomp::{self, Answer, Case, Rule, Test};
use crate::sys::process::landlock_abi;

/// Bits of the second argument of socketpair(2) that are the type (`SOCK_TYPE_MASK`); the others are flags.
const SOCKET_KIND: u32 = 0xf;

/// The rules of all sandboxes, and none of the sockets that could be connected to a name, which landlock does not
/// control: by the session bus or the sockets of systemd a command could have others run programs for it. Without
/// network, internet sockets are refused too. Socket pairs are limited to types that stay connected to each other: a
/// datagram can be sent to any name.
pub(in crate::sandbox) fn rules(network: Network) -> Vec<Rule> {
    let is = |at, value: libc::c_int| Test::Is(at, u32::MAX, value.cast_unsigned());
    let allowed = |tests: &[Test]| Case { tests: tests.to_vec(), answer: Answer::Allow };
    let mut cases = vec![allowed(&[is(0, libc::AF_NETLINK), is(2, libc::NETLINK_ROUTE)])];
    if network == Network::Host {
        cases.extend([libc::AF_INET, libc::AF_INET6].map(|family| allowed(&[is(0, family)])));
    }
    let mut rules = seccomp::rules(false);
    rules.push(Rule { call: "socket", cases, otherwise: Answer::errno(Errno::ACCESS) });
    let pair = |kind| allowed(&[is(0, libc::AF_UNIX), Test::Is(1, SOCKET_KIND, kind)]);
    let cases = [libc::SOCK_STREAM, libc::SOCK_SEQPACKET].map(|kind| pair(kind.cast_unsigned())).into();
    rules.push(Rule { call: "socketpair", cases, otherwise: Answer::errno(Errno::ACCESS) });
    if landlock_abi() < 3 {
        // Landlock does not control truncation before ABI 3.
        rules.push(Rule::always("truncate", Answer::errno(Errno::ACCESS)));
        rules.push(Rule::always("truncate64", Answer::errno(Errno::ACCESS)));
    }
    rules
}
