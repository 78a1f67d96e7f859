//! Tracing of other processes (ptrace(2)): the requests in use, and the meaning of stops.
//!
//! nix lacks `PTRACE_LISTEN`, and signals beyond the named ones.

use std::ffi::c_uint;
use std::io;

use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use rustix::process::{Pid, WaitStatus};

use super::ptrace_request::request;
use super::registers::Registers;
use super::{Context as _, SysError};

/// Why a traced thread stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Before a call that the filter answered with `SECCOMP_RET_TRACE`.
    Seccomp,
    /// After a call into which the thread was resumed by [`Resume::ToExit`].
    CallExit,
    /// After the execution of a program.
    Exec,
    /// A signal stopped its process, which waits for SIGCONT.
    Group,
    /// A child was made, this is the first stop of a child, or SIGCONT arrived.
    Passing,
    /// Before the thread receives this signal.
    Signal(i32),
}

/// `PTRACE_EVENT_STOP` (linux/ptrace.h).
const EVENT_STOP: i32 = 128;

/// Meaning of a status of wait(2); `None` if the process ended.
#[must_use]
pub(crate) fn stop_of(status: WaitStatus) -> Option<Stop> {
    let raw = status.as_raw();
    if !libc::WIFSTOPPED(raw) {
        return None;
    }
    let signal = libc::WSTOPSIG(raw);
    Some(match raw >> 16 {
        0 if signal == libc::SIGTRAP | 0x80 => Stop::CallExit,
        0 => Stop::Signal(signal),
        libc::PTRACE_EVENT_SECCOMP => Stop::Seccomp,
        libc::PTRACE_EVENT_EXEC => Stop::Exec,
        EVENT_STOP if [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&signal) => Stop::Group,
        _ => Stop::Passing,
    })
}

/// Attaches to `pid` and all its future descendants without stopping it; with [`Stop::Exec`] if `execs`. The kernel kills
/// them if this process ends.
///
/// # Errors
///
/// EPERM if it may not be traced or is traced already.
pub(crate) fn seize(pid: Pid, execs: bool) -> Result<(), SysError> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | if execs { libc::PTRACE_O_TRACEEXEC } else { 0 }
        | libc::PTRACE_O_TRACESECCOMP
        | libc::PTRACE_O_EXITKILL;
    let options = usize::try_from(options).unwrap_or(0);
    request(libc::PTRACE_SEIZE as _, pid, 0, options).map(drop).call("ptrace", "PTRACE_SEIZE")
}

/// How a thread is resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Until the next stop, with this signal if it is not 0.
    Freely(i32),
    /// Until the next stop, or until the end of its current call.
    ToExit,
    /// Not at all: it stays stopped until SIGCONT.
    Listen,
}

/// Resumes a thread.
///
/// # Errors
///
/// ESRCH if it was killed a moment ago.
pub(crate) fn resume(pid: Pid, how: Resume) -> io::Result<()> {
    let (kind, signal) = match how {
        Resume::Freely(signal) => (libc::PTRACE_CONT as c_uint, signal),
        Resume::ToExit => (libc::PTRACE_SYSCALL as c_uint, 0),
        Resume::Listen => (libc::PTRACE_LISTEN as c_uint, 0),
    };
    request(kind, pid, 0, usize::try_from(signal).unwrap_or(0)).map(drop)
}

/// Message of a stop; of [`Stop::Exec`] it is the id that the thread had before.
///
/// # Errors
///
/// ESRCH if the thread was killed a moment ago.
pub(crate) fn event_message(pid: Pid) -> io::Result<u64> {
    let mut message: libc::c_ulong = 0;
    request(libc::PTRACE_GETEVENTMSG as _, pid, 0, (&raw mut message).addr())?;
    Ok(message)
}

/// A system call as the filter saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    /// Number on that architecture.
    pub number: u32,
    /// Arguments.
    pub arguments: [u64; 6],
}

impl Call {
    /// Whether addresses of its architecture have 64 bits (`__AUDIT_ARCH_64BIT`).
    #[must_use]
    pub(crate) fn is_wide(&self) -> bool {
        self.arch & 0x8000_0000 != 0
    }
}

/// `struct ptrace_syscall_info` (linux/ptrace.h) as words, low byte first.
fn syscall_info(pid: Pid) -> io::Result<[u64; 11]> {
    const GET_SYSCALL_INFO: c_uint = 0x420e;
    let mut words = [0_u64; 11];
    request(GET_SYSCALL_INFO, pid, size_of_val(&words), words.as_mut_ptr().addr())?;
    Ok(words)
}

/// The call of a thread at [`Stop::Seccomp`].
///
/// # Errors
///
/// EIO before Linux 5.3, or at another stop; ESRCH if the thread was killed a moment ago.
pub(crate) fn call(pid: Pid) -> io::Result<Call> {
    const OF_SECCOMP: u64 = 3; // PTRACE_SYSCALL_INFO_SECCOMP
    let words = syscall_info(pid)?;
    if words[0] & 0xff != OF_SECCOMP {
        return Err(io::Error::from_raw_os_error(libc::EIO));
    }
    Ok(Call {
        arch: u32::try_from(words[0] >> 32).unwrap_or(0),
        number: u32::try_from(words[3] & 0xffff_ffff).unwrap_or(0),
        arguments: [words[4], words[5], words[6], words[7], words[8], words[9]],
    })
}

/// A call that the filter answered with `SECCOMP_RET_TRAP`, so that it was not executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trapped {
    /// The call.
    pub call: Call,
    /// Data of the answer.
    pub data: u16,
}

/// The call for which a thread is about to receive SIGSYS, at [`Stop::Signal`]; `None` for any other SIGSYS. A process
/// can send itself such a signal without a call.
///
/// # Errors
///
/// ESRCH if the thread was killed a moment ago.
pub(crate) fn trapped(pid: Pid) -> io::Result<Option<Trapped>> {
    const SYS_SECCOMP: u32 = 1;
    // `siginfo_t` (asm-generic/siginfo.h): signal, errno, code, padding on 64 bits, and for SIGSYS an address, the number
    // of the call and its architecture.
    let mut info = [0_u32; 32];
    request(libc::PTRACE_GETSIGINFO as _, pid, 0, info.as_mut_ptr().addr())?;
    let [signal, data, code, _, _, _, number, arch, ..] = info;
    if signal != libc::SIGSYS.cast_unsigned() || code != SYS_SECCOMP {
        return Ok(None);
    }
    let registers = Registers::read(pid)?;
    let mut call = Call { arch, number, arguments: [0; 6] };
    call.arguments = registers.arguments(!call.is_wide());
    Ok(Some(Trapped { call, data: u16::try_from(data & 0xffff).unwrap_or(0) }))
}

/// Result of a call at [`Stop::CallExit`]; an errno if negative.
///
/// # Errors
///
/// As for [`call`].
pub(crate) fn call_result(pid: Pid) -> io::Result<i64> {
    Ok(syscall_info(pid)?[3].cast_signed())
}

/// Makes a call fail with `errno` without executing it, at [`Stop::Seccomp`] or if the filter [`trapped`] it.
///
/// # Errors
///
/// ESRCH if the thread was killed a moment ago.
pub(crate) fn refuse(pid: Pid, errno: u16) -> io::Result<()> {
    answer(pid, -i64::from(errno))
}

/// Makes a call return `result` without executing it, at [`Stop::Seccomp`]; an errno if negative.
///
/// # Errors
///
/// ESRCH if the thread was killed a moment ago.
pub(crate) fn answer(pid: Pid, result: i64) -> io::Result<()> {
    let mut registers = Registers::read(pid)?;
    registers.set_number(u32::MAX);
    registers.set_result(result);
    registers.write(pid)
}

/// Reads the memory of `pid` from `address` on into `to` (`process_vm_readv(2)`), and returns the number of bytes read.
#[must_use]
pub(crate) fn read_memory(pid: Pid, address: u64, to: &mut [u8]) -> usize {
    let Ok(base) = usize::try_from(address) else { return 0 };
    let remote = [RemoteIoVec { base, len: to.len() }];
    let pid = nix::unistd::Pid::from_raw(pid.as_raw_nonzero().get());
    process_vm_readv(pid, &mut [std::io::IoSliceMut::new(to)], &remote).unwrap_or(0)
}

/// Writes all of `from` to the memory of `pid` from `address` on (`process_vm_writev(2)`); false if it cannot be written.
#[must_use]
pub(crate) fn write_memory(pid: Pid, address: u64, from: &[u8]) -> bool {
    let Ok(base) = usize::try_from(address) else { return false };
    let remote = [RemoteIoVec { base, len: from.len() }];
    let pid = nix::unistd::Pid::from_raw(pid.as_raw_nonzero().get());
    process_vm_writev(pid, &[std::io::IoSlice::new(from)], &remote) == Ok(from.len())
}
