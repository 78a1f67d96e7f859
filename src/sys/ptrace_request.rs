//! The system call ptrace(2) itself.

use std::ffi::{c_long, c_uint};
use std::io;

use rustix::process::Pid;

pub(super) fn request(request: c_uint, pid: Pid, address: usize, data: usize) -> io::Result<c_long> {
    // SAFETY: requests by which the kernel writes here get the address of a buffer, alive for the call, and its length
    // from the callers; the others take integers.
    let result = unsafe { libc::ptrace(request as _, pid.as_raw_nonzero().get(), address, data) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
