//! Installing a seccomp filter (seccomp(2)).

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use super::{Context as _, SysError};

/// One instruction of classic BPF (linux/filter.h).
pub type Instruction = libc::sock_filter;

/// Puts `program` before every system call of this process and of those it makes, for good.
///
/// Without the mitigation of speculative store bypass that kernels before 5.16 else add, and that slows the whole
/// process down: a filter here is a wall around the process, not within it (`SECCOMP_FILTER_FLAG_SPEC_ALLOW`).
///
/// # Errors
/// EINVAL where the kernel has no filters, or takes this one for malformed; EACCES without `no_new_privs`.
pub fn filter(program: &[Instruction]) -> Result<(), SysError> {
    match install(program, libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW) {
        // Before Linux 4.17.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => install(program, 0),
        result => result,
    }
    .map(drop)
    .call("seccomp", "")
}

/// The same, for a program that answers some calls with `SECCOMP_RET_USER_NOTIF`: the descriptor on which
/// these calls are heard of (Linux 5.0).
///
/// # Errors
/// As above; EBUSY where this process has such a filter already.
pub fn filter_with_listener(program: &[Instruction]) -> Result<OwnedFd, SysError> {
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let fd = install(program, flags).call("seccomp", "SECCOMP_FILTER_FLAG_NEW_LISTENER")?;
    // SAFETY: with that flag the call answers a new descriptor, which is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn install(program: &[Instruction], flags: libc::c_ulong) -> io::Result<i32> {
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the program is a sock_fprog whose instructions outlive the call, which only reads them.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(i32::try_from(result).unwrap_or(0)) }
}
