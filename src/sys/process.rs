//! Processes: namespaces, forks, capabilities, personality.

use std::ffi::c_ulong;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use rustix::thread::UnshareFlags;

use super::{Context as _, SysError};

/// Proof that this process has one thread. That makes a fork sound: the child may allocate, since no other thread held a
/// lock at the time of the fork.
#[derive(Debug)]
pub(crate) struct SingleThreaded(());

/// Side of a fork.
#[derive(Debug)]
pub(crate) enum Forked {
    /// The parent, with the child's process id.
    Parent(Pid),
    /// The child.
    Child(SingleThreaded),
}

/// Checks that this process has one thread; `None` where it has more. A thread that was joined may be listed a
/// moment longer, since the kernel wakes who waits for it before it takes it off, so this waits for a second.
///
/// # Errors
/// `/proc/self/task` cannot be read.
pub(crate) fn single_threaded() -> Result<Option<SingleThreaded>, SysError> {
    for _ in 0..1000 {
        let tasks = std::fs::read_dir("/proc/self/task").call("readdir", "/proc/self/task")?;
        if tasks.count() == 1 {
            return Ok(Some(SingleThreaded(())));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(None)
}

fn forked(result: libc::c_long, call: &'static str) -> Result<Forked, SysError> {
    if result < 0 {
        return Err(SysError::new(call, "", io::Error::last_os_error()));
    }
    let pid = i32::try_from(result).ok().and_then(Pid::from_raw);
    Ok(pid.map_or(Forked::Child(SingleThreaded(())), Forked::Parent))
}

/// A fork whose child starts in new namespaces of the given kinds (clone(2)). The child is pid 1 if
/// a pid namespace is among them, and is killed by nothing but its own end: see `pdeathsig`.
///
/// # Errors
/// The kernel's: EPERM or ENOSPC where user namespaces are not allowed or used up.
pub(crate) fn clone_namespaces(_proof: &SingleThreaded, namespaces: UnshareFlags) -> Result<Forked, SysError> {
    let flags = c_ulong::from(namespaces.bits()) | libc::SIGCHLD as c_ulong;
    // SAFETY: without CLONE_VM and with a null stack this is a fork: the child runs on a copy of all
    // memory. The proof says that no other thread existed, so no lock can be held by a lost thread.
    forked(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) }, "clone")
}

/// fork(2).
///
/// # Errors
/// The kernel's: EAGAIN where a limit of processes is reached.
pub(crate) fn fork(_proof: &SingleThreaded) -> Result<Forked, SysError> {
    // SAFETY: as above; the C library's fork also renews what it remembers of its thread.
    forked(libc::c_long::from(unsafe { libc::fork() }), "fork")
}

/// Sends SIGKILL to this process when its parent ends (prctl(2), `PR_SET_PDEATHSIG`). Cleared by
/// the kernel when credentials change, so it is set after they have.
///
/// # Errors
/// None in practice.
pub(crate) fn die_with_parent() -> Result<(), SysError> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .call("prctl", "PR_SET_PDEATHSIG")
}

/// Removes every capability but `keep` from the bounding set, those included that this program was
/// built before: the kernel says EINVAL after the last one it knows.
///
/// # Errors
/// EPERM without `CAP_SETPCAP`.
pub(crate) fn drop_bounding_set(keep: &[u8]) -> Result<(), SysError> {
    for capability in (0_u8..64).filter(|capability| !keep.contains(capability)) {
        // SAFETY: takes integers only.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, c_ulong::from(capability), 0, 0, 0) } < 0 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::EINVAL) => Ok(()),
                _ => Err(SysError::new("prctl", "PR_CAPBSET_DROP", error)),
            };
        }
    }
    Ok(())
}

/// Sets the personality (personality(2)): a 32-bit process to uname(2) (`PER_LINUX32`), fixed addresses
/// (`ADDR_NO_RANDOMIZE`).
pub(crate) fn set_personality(thirty_two: bool, fixed_addresses: bool) -> Result<(), SysError> {
    // include/uapi/linux/personality.h; not in libc
    const PER_LINUX32: c_ulong = 0x0008;
    const ADDR_NO_RANDOMIZE: c_ulong = 0x0004_0000;
    let bits = if thirty_two { PER_LINUX32 } else { 0 } | if fixed_addresses { ADDR_NO_RANDOMIZE } else { 0 };
    // SAFETY: takes an integer only.
    if bits != 0 && unsafe { libc::personality(bits) } < 0 {
        return Err(SysError::new("personality", format!("{bits:#x}"), io::Error::last_os_error()));
    }
    Ok(())
}

/// Makes the terminal of `fd` the controlling terminal of this session (ioctl `TIOCSCTTY`).
///
/// # Errors
/// EPERM if this process leads no session.
pub(crate) fn set_controlling_terminal(fd: std::os::fd::BorrowedFd<'_>) -> Result<(), SysError> {
    rustix::process::ioctl_tiocsctty(fd).call("ioctl", "TIOCSCTTY")
}

/// Makes every descriptor above standard error close on exec (`close_range(2)`, Linux 5.11; one by one on older kernels).
///
/// # Errors
/// `/proc/self/fd` cannot be read.
pub(crate) fn close_others_on_exec() -> Result<(), SysError> {
    // SAFETY: takes integers only, and changes a flag of descriptors, closing none.
    if unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) } == 0 {
        return Ok(());
    }
    let open = std::fs::read_dir("/proc/self/fd").call("readdir", "/proc/self/fd")?;
    for fd in open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok()).filter(|fd| *fd > 2) {
        // SAFETY: takes integers only; a descriptor that is not open is an error without effect.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// Leaves the caller's user namespace for a new one below it.
///
/// # Errors
/// ENOSPC or EPERM if that is not allowed; EINVAL in a process with several threads.
pub(crate) fn unshare_user() -> Result<(), SysError> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).call("unshare", "CLONE_NEWUSER")
}

/// Enters a cgroup namespace, whose root is the cgroup of this process.
///
/// # Errors
/// EPERM without `CAP_SYS_ADMIN`.
pub(crate) fn unshare_cgroup() -> Result<(), SysError> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP).call("unshare", "CLONE_NEWCGROUP")
}

/// Ignores SIGXFSZ, so that a file that reaches its maximum size (`ulimit -f`) makes write(2) fail instead of killing this
/// process without a message.
pub(crate) fn survive_file_size_limit() {
    // SAFETY: SIG_IGN runs no code of this program.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Removes the owner's bits from the umask, so that this process can enter the directories it makes.
pub(crate) fn leave_owner_bits() {
    let others = Mode::RWXG | Mode::RWXO;
    let mask = rustix::process::umask(others);
    if mask != others {
        rustix::process::umask(mask & others);
    }
}

/// Restores the default action of the signals that Rust's runtime and this program ignore: SIGPIPE and SIGXFSZ.
pub(crate) fn default_signals() {
    for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
        // SAFETY: SIG_DFL runs no code of this program.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Whether the kernel gave this process privileges for the file it was executed from (`AT_SECURE`, getauxval(3)):
/// set-user-id, set-group-id or capabilities.
#[must_use]
pub(crate) fn has_privileges_of_its_file() -> bool {
    // SAFETY: takes an integer only.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Overwrites the command line of this process in `/proc/PID/cmdline` by `name`, as far as it fits. Afterwards
/// `std::env::args` does not have the words either.
///
/// # Errors
/// `/proc/self/stat` cannot be read, or lacks the addresses of the words.
pub(crate) fn overwrite_command_line(name: &[u8]) -> Result<(), SysError> {
    const STAT: &str = "/proc/self/stat";
    let line = std::fs::read(STAT).call("read", STAT)?;
    let (start, end) = place_of_words(&line).ok_or(Errno::INVAL).call("read", STAT)?;
    let name = &name[..name.len().min((end - start).saturating_sub(1))];
    let words = std::ptr::with_exposed_provenance_mut::<u8>(start);
    // SAFETY: the kernel put the words there, below the environment, on the first stack, which stays and can be written;
    // no reference to them exists, because the standard library copies them out whenever it is asked.
    unsafe {
        words.write_bytes(0, end - start);
        words.copy_from_nonoverlapping(name.as_ptr(), name.len());
    }
    Ok(())
}

/// Start and end address of the command line, from a line of `/proc/PID/stat` (proc(5): fields 48 and 49).
fn place_of_words(line: &[u8]) -> Option<(usize, usize)> {
    // The second field is the name, in parentheses, which may contain any byte.
    let rest = &line[line.iter().rposition(|byte| *byte == b')')? + 1..];
    let mut fields = std::str::from_utf8(rest).ok()?.split_ascii_whitespace().skip(48 - 3);
    let mut address = || fields.next()?.parse::<usize>().ok();
    let (start, end) = (address()?, address()?);
    (start > 0 && start < end).then_some((start, end))
}

/// Ends this process without the exit handlers that it inherited.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Major and minor number of the kernel's release, from uname(2). Prefer to try a feature where that is possible.
#[must_use]
pub(crate) fn kernel_version() -> (u32, u32) {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Landlock ABI of the kernel, 0 without landlock (landlock(7), `LANDLOCK_CREATE_RULESET_VERSION`).
#[must_use]
pub fn landlock_abi() -> u32 {
    // SAFETY: with a null attribute and this flag the call only answers a number.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, 1_u32) };
    u32::try_from(abi).unwrap_or(0)
}

/// Landlock ABI for builds: 0 for ABI 1, whose rules on files refuse every rename and link from one
/// directory to another (EXDEV; Linux 5.13 to 5.18). It has no other rules.
#[must_use]
pub(crate) fn landlock_abi_for_builds() -> u32 {
    Some(landlock_abi()).filter(|abi| *abi > 1).unwrap_or(0)
}

/// Whether this kernel lets a process share the descriptors of its children ([`shared_descriptor`]).
pub(crate) fn can_share_descriptors() -> bool {
    // Of this process itself. The kernel reports that there is no such descriptor (EBADF); kernels without the call and
    // filters of container engines fail earlier.
    shared_descriptor(rustix::process::getpid(), i32::MAX).is_err_and(|error| error.is(Errno::BADF))
}

/// The open file behind descriptor `number` of a thread, shared with it (`pidfd_getfd(2)`, Linux 5.6), and the process that the
/// thread belongs to.
///
/// # Errors
/// EBADF where it has no such descriptor, ESRCH where it is gone, EPERM where this process may not look into it.
pub(crate) fn shared_descriptor(pid: Pid, number: i32) -> Result<(Pid, OwnedFd), SysError> {
    // Works for the first thread of a process, which most are. The error for another thread differs between kernels.
    let (process, handle) = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::INVAL | Errno::NOENT | Errno::SRCH) => {
            let process = process_of(pid).ok_or(Errno::SRCH).call("open", "status")?;
            (process, pidfd_open(process, PidfdFlags::empty()))
        }
        handle => (pid, handle),
    };
    let handle = handle.call("pidfd_open", "")?;
    Ok((process, pidfd_getfd(handle, number, PidfdGetfdFlags::empty()).call("pidfd_getfd", "")?))
}

fn process_of(thread: Pid) -> Option<Pid> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", thread.as_raw_nonzero())).ok()?;
    let number = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    Pid::from_raw(number.trim().parse().ok()?)
}
