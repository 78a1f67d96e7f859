//! Seccomp filters and listeners (seccomp(2), `seccomp_unotify(2)`).

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use super::process::kernel_version;
use super::{Context as _, SysError};

/// One instruction of classic BPF (linux/filter.h).
pub(crate) type Instruction = libc::sock_filter;

/// Installs `program` for this process and its future descendants, for good.
///
/// Without the mitigation of speculative store bypass, which kernels before 5.16 add otherwise and which slows the whole
/// process down: this filter confines a process and separates nothing within it (`SECCOMP_FILTER_FLAG_SPEC_ALLOW`).
///
/// # Errors
///
/// EINVAL if the kernel has no filters or rejects the program; EACCES without `no_new_privs`.
pub(crate) fn filter(program: &[Instruction]) -> Result<(), SysError> {
    match install(program, libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW) {
        // Before Linux 4.17.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => install(program, 0),
        result => result,
    }
    .map(drop)
    .call("seccomp", "")
}

/// Installs a program that answers some calls with `SECCOMP_RET_USER_NOTIF`, and returns the descriptor on which these
/// calls are received (Linux 5.0).
///
/// # Errors
///
/// As for [`filter`]; EBUSY if this process has such a filter already.
pub(crate) fn filter_with_listener(program: &[Instruction]) -> Result<OwnedFd, SysError> {
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // A signal then does not make a process repeat a call that init has received (Linux 5.19). Older kernels answer
    // EINVAL.
    let fd = install(program, flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
        .or_else(|_| install(program, flags))
        .call("seccomp", "SECCOMP_FILTER_FLAG_NEW_LISTENER")?;
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

/// A call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notification {
    /// Id of the notification.
    pub id: u64,
    /// Thread, in this process's pid namespace.
    pub thread: u32,
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    /// Number on that architecture.
    pub number: u32,
    /// Arguments.
    pub arguments: [u64; 6],
}

/// Answer to a call that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The kernel executes it (Linux 5.5).
    Continue,
    /// It returns 0 without being executed.
    Done,
    /// It fails with this errno.
    Failed(i32),
}

/// Whether this kernel knows [`Reply::Continue`]. Older kernels refuse that answer, and the call would wait for ever.
#[must_use]
pub(crate) fn can_continue() -> bool {
    kernel_version() >= (5, 5)
}

/// Lets the kernel run the caller and the listener on one processor in turns (Linux 6.6). Has no effect on older kernels.
pub(crate) fn answer_in_turns(listener: BorrowedFd<'_>) {
    // `SECCOMP_IOCTL_NOTIF_SET_FLAGS` and `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` (linux/seccomp.h).
    const SET_FLAGS: libc::c_ulong = 0x4008_2104;
    const SYNC_WAKE_UP: u64 = 1;
    // SAFETY: the request takes an integer, not a pointer.
    unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS as _, SYNC_WAKE_UP) };
}

/// Receives the next call. Does not block if poll(2) reported one.
///
/// # Errors
///
/// ENOENT if its process was killed meanwhile.
pub(crate) fn next_call(listener: BorrowedFd<'_>) -> io::Result<Notification> {
    const RECEIVE: libc::c_ulong = 0xc050_2100;
    let mut heard = libc::seccomp_notif {
        id: 0,
        pid: 0,
        flags: 0,
        data: libc::seccomp_data { nr: 0, arch: 0, instruction_pointer: 0, args: [0; 6] },
    };
    // SAFETY: the kernel reads and writes one structure of this type, which is all zeros as it wants.
    if unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &raw mut heard) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let libc::seccomp_data { nr, arch, args, .. } = heard.data;
    Ok(Notification { id: heard.id, thread: heard.pid, arch, number: nr.cast_unsigned(), arguments: args })
}

/// Whether a call still waits. If not, the id of its thread may be another's, and so may be what was read from it.
#[must_use]
pub(crate) fn is_waiting(listener: BorrowedFd<'_>, id: u64) -> bool {
    const ID_VALID: libc::c_ulong = 0x4008_2102;
    // SAFETY: the kernel reads one integer of 64 bits.
    unsafe { libc::ioctl(listener.as_raw_fd(), ID_VALID as _, &raw const id) == 0 }
}

/// Answers a call. A call whose process is gone needs no answer.
pub(crate) fn reply(listener: BorrowedFd<'_>, id: u64, reply: Reply) {
    const SEND: libc::c_ulong = 0xc018_2101;
    const CONTINUE: u32 = 1;
    let (error, flags) = match reply {
        Reply::Continue => (0, CONTINUE),
        Reply::Done => (0, 0),
        Reply::Failed(errno) => (-errno, 0),
    };
    let said = libc::seccomp_notif_resp { id, val: 0, error, flags };
    // SAFETY: the kernel reads one structure of this type.
    unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, &raw const said) };
}
