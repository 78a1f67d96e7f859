//! Installing a seccomp filter (seccomp(2)).

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use super::process::kernel_version;
use super::{Context as _, SysError};

/// One instruction of classic BPF (linux/filter.h).
pub(crate) type Instruction = libc::sock_filter;

/// Puts `program` before every system call of this process and of those it makes, for good.
///
/// Without the mitigation of speculative store bypass that kernels before 5.16 else add, and that slows the whole
/// process down: a filter here is a wall around the process, not within it (`SECCOMP_FILTER_FLAG_SPEC_ALLOW`).
///
/// # Errors
/// EINVAL where the kernel has no filters, or takes this one for malformed; EACCES without `no_new_privs`.
pub(crate) fn filter(program: &[Instruction]) -> Result<(), SysError> {
    match install(program, libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW) {
        // Before Linux 4.17.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => install(program, 0),
        result => result,
    }
    .map(drop)
    .call("seccomp", "")
}

/// What errors of [`filter_with_listener`] name.
pub(crate) const LISTENER: &str = "SECCOMP_FILTER_FLAG_NEW_LISTENER";

/// The same, for a program that answers some calls with `SECCOMP_RET_USER_NOTIF`: the descriptor on which
/// these calls are heard of (Linux 5.0).
///
/// # Errors
/// As above; EBUSY where this process has such a filter already.
pub(crate) fn filter_with_listener(program: &[Instruction]) -> Result<OwnedFd, SysError> {
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // A signal then does not make a process repeat a call that was answered already (Linux 5.19).
    let fd = install(program, flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
        .or_else(|_| install(program, flags))
        .call("seccomp", LISTENER)?;
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
    /// Its name between the kernel and who answers.
    pub id: u64,
    /// The thread, in this process's pid namespace.
    pub thread: u32,
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    /// The call's number there.
    pub number: u32,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// What is said to a call that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The kernel carries it out (Linux 5.5).
    Continue,
    /// It succeeded, and returns 0.
    Done,
    /// It failed with this errno.
    Failed(i32),
}

/// Whether this kernel knows [`Reply::Continue`]. Older ones refuse that answer, and who waits for one waits for ever.
#[must_use]
pub(crate) fn can_continue() -> bool {
    kernel_version() >= (5, 5)
}

/// Has the kernel run who asked and who answers on one processor, in turns (Linux 6.6). Else nothing changes.
pub(crate) fn answer_in_turns(listener: BorrowedFd<'_>) {
    // `SECCOMP_IOCTL_NOTIF_SET_FLAGS` and `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` (linux/seccomp.h).
    const SET_FLAGS: libc::c_ulong = 0x4008_2104;
    const SYNC_WAKE_UP: u64 = 1;
    // SAFETY: the request takes an integer, not a pointer.
    unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS as _, SYNC_WAKE_UP) };
}

/// The next call that waits. Does not block where poll(2) has said that there is one.
///
/// # Errors
/// ENOENT where it was killed meanwhile.
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

/// Whether a call still waits: if not, its thread's id may be another's by now, and what was read from it too.
#[must_use]
pub(crate) fn is_waiting(listener: BorrowedFd<'_>, id: u64) -> bool {
    const ID_VALID: libc::c_ulong = 0x4008_2102;
    // SAFETY: the kernel reads one integer of 64 bits.
    unsafe { libc::ioctl(listener.as_raw_fd(), ID_VALID as _, &raw const id) == 0 }
}

/// Answers a call. One that is gone needs no answer.
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
