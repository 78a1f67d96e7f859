//! The loopback device of a new network namespace, which starts switched off.

use std::io;
use std::os::fd::AsRawFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::{Context as _, SysError};

/// `IFF_UP | IFF_RUNNING` (linux/if.h), in the width of `ifr_flags`.
const UP_AND_RUNNING: libc::c_short = 0x1 | 0x40;

/// Switches `lo` on (netdevice(7), `SIOCSIFFLAGS`).
///
/// # Errors
/// The kernel's.
pub fn bring_loopback_up() -> Result<(), SysError> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .call("socket", "AF_INET")?;
    // SAFETY: all-zero bytes are a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = UP_AND_RUNNING;
    // SAFETY: the request is an ifreq that outlives the call, as SIOCSIFFLAGS reads.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) } < 0 {
        return Err(io::Error::last_os_error()).call("ioctl", "lo");
    }
    Ok(())
}
