//! Protects the hermes executable (CVE-2019-5736) by running a sealed copy in memory.
//!
//! An image can make hermes itself the command: `/proc/self/exe` is still hermes when the command is executed, and
//! `#!/proc/self/exe` says the same in a script's words. It then runs with the image's dynamic linker and variables,
//! and its file can be reached through `/proc` and changed (CVE-2019-5736), since that is the caller's as the command
//! is. Landlock forbids to execute or open what lies outside the root. Where there is none, hermes runs as a sealed
//! copy of itself, if its file is one that the caller may change.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::fs::{Access, MemfdFlags, SealFlags};

use crate::sys::process::landlock_abi_for_builds;

/// This program, even if its file was renamed or removed.
const SELF: &str = "/proc/self/exe";

/// Replaces this process by one that runs a sealed copy, where that is needed; returns where it is not, or is
/// impossible: without memory, or where files in memory may not be executed (`vm.memfd_noexec`).
pub(super) fn seal() -> io::Result<()> {
    if landlock_abi_for_builds() > 0 || !can_be_changed()? {
        return Ok(());
    }
    let copy = sealed_copy()?;
    let error = exec(&format!("/proc/self/fd/{}", copy.as_raw_fd()), &[]);
    Err(error)
}

/// Executes `program`, which is hermes, with the words of this process after `first`. Returns only the error.
fn exec(program: &str, first: &[&str]) -> io::Error {
    let mut words = std::env::args_os();
    let mut command = Command::new(program);
    command.arg0(words.next().unwrap_or_else(|| OsString::from("hermes")));
    command.args(first).args(words).exec()
}

/// Executes this program again, with the words of this process after `first`. Returns only the error.
pub(super) fn reexec(first: &[&str]) -> io::Error {
    exec(SELF, first)
}

/// Whether this user may change the file: its content, or, being its owner, its mode. A sealed copy belongs to its
/// user as well, but it is on no file system.
fn can_be_changed() -> io::Result<bool> {
    if fs::read_link(SELF)?.as_os_str().as_encoded_bytes().starts_with(b"/memfd:") {
        return Ok(false);
    }
    let owner = fs::metadata(SELF)?.uid();
    let user = rustix::process::getuid();
    Ok(owner == user.as_raw() || user.is_root() || rustix::fs::access(SELF, Access::WRITE_OK).is_ok())
}

fn sealed_copy() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Before Linux 6.3 there is no EXEC, which all files in memory are.
    let memory = rustix::fs::memfd_create("hermes", flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create("hermes", flags))?;
    let mut file = File::from(memory);
    io::copy(&mut File::open(SELF)?, &mut file)?;
    rustix::fs::fcntl_add_seals(
        file.as_fd(),
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    Ok(file.into())
}
