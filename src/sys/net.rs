//! Loopback device and settings of a new network namespace.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::file::write_at;
use super::{Context as _, SysError};

/// Flags of devices and messages, and kinds of messages and attributes (linux/if.h, linux/netlink.h, linux/rtnetlink.h,
/// `linux/if_addr.h`). The loopback device has the same index in every network namespace.
const LOOPBACK: i32 = 1;
const IFF_UP: u32 = 1;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 0x2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 0x02;
const SCOPE_LINK: u8 = 253;
const SCOPE_HOST: u8 = 254;

/// Brings up `lo` (rtnetlink(7)), with one more address of each family than the kernel assigns.
///
/// The addresses 127.0.0.1 and `::1` of the kernel do not count for `AI_ADDRCONFIG` of getaddrinfo(3): with them alone
/// glibc finds no `localhost` for `AF_INET`, and test suites that talk to a server of their own fail. A second address on
/// loopback counts, and nothing new can be reached through it; an address on another device would look like a network.
///
/// # Errors
///
/// The device cannot be brought up. An address that the kernel refuses, such as with IPv6 disabled, is left out.
pub(crate) fn bring_loopback_up() -> Result<(), SysError> {
    // The protocol 0 of this family is NETLINK_ROUTE.
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .call("socket", "AF_NETLINK")?;
    let up = [[0; 4], LOOPBACK.to_ne_bytes(), IFF_UP.to_ne_bytes(), IFF_UP.to_ne_bytes()].concat();
    let v4 = std::net::Ipv4Addr::new(127, 0, 0, 2).octets();
    let v6 = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets();
    let messages = [
        message(RTM_NEWLINK, NLM_F_ACK, &up),
        message(RTM_NEWADDR, NLM_F_CREATE, &address(libc::AF_INET, 8, SCOPE_HOST, &v4)),
        message(RTM_NEWADDR, NLM_F_CREATE, &address(libc::AF_INET6, 128, SCOPE_LINK, &v6)),
    ];
    rustix::io::write(&socket, &messages.concat()).call("write", "AF_NETLINK")?;
    // The answer to the first message comes before those for addresses that failed.
    let mut answer = [0; 256];
    let length = rustix::io::read(&socket, &mut answer).call("read", "AF_NETLINK")?;
    let error = |kind: u16| (kind == NLMSG_ERROR && length >= 20).then(|| i32::from_ne_bytes(four(&answer, 16)));
    match error(u16::from_ne_bytes([answer[4], answer[5]])) {
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(-errno)).call("rtnetlink", "lo"),
        None => Err(io::Error::from_raw_os_error(libc::EPROTO)).call("rtnetlink", "lo"),
    }
}

fn four(bytes: &[u8; 256], at: usize) -> [u8; 4] {
    std::array::from_fn(|byte| bytes[at + byte])
}

/// A netlink message: header and payload.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(0);
    let kind_and_flags = [kind.to_ne_bytes(), (NLM_F_REQUEST | flags).to_ne_bytes()].concat();
    // The sequence number and the port of the sender, which nobody reads.
    [&length.to_ne_bytes()[..], &kind_and_flags, &[0; 8], body].concat()
}

/// An address of `lo`: `struct ifaddrmsg` and two attributes.
fn address(family: libc::c_int, prefix: u8, scope: u8, bytes: &[u8]) -> Vec<u8> {
    let attribute = |kind: u16| {
        let length = u16::try_from(4 + bytes.len()).unwrap_or(0);
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), bytes].concat()
    };
    let family = u8::try_from(family).unwrap_or(0);
    let head = [[family, prefix, IFA_F_NODAD, scope], LOOPBACK.to_ne_bytes()].concat();
    [head, attribute(IFA_LOCAL), attribute(IFA_ADDRESS)].concat()
}

/// Allows every user of this process's own network namespace to listen on ports below 1024 and to send pings without a
/// raw socket, as in containers of docker: neither reaches beyond the namespace. `proc` is the mount point of procfs.
///
/// Has no effect on kernels without these settings.
pub(crate) fn open_low_ports(proc: BorrowedFd) {
    let _ = write_at(proc, "sys/net/ipv4/ip_unprivileged_port_start", "0");
    let _ = write_at(proc, "sys/net/ipv4/ping_group_range", "0 0");
}
