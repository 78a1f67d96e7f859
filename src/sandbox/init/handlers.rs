//! Registers handlers of foreign programs in a `binfmt_misc` of the sandbox's own.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use crate::emulation::Handler;
use crate::sys::{Context as _, SysError, mount};

/// Registers the handlers in a new instance that is mounted nowhere: the command cannot see or change it, and it lives as
/// long as the returned descriptor. Without handlers no instance is made, and the host's is in force.
pub(in crate::sandbox) fn register(handlers: &[Handler]) -> Result<Option<OwnedFd>, SysError> {
    if handlers.is_empty() {
        return Ok(None);
    }
    let instance = mount::detached("binfmt_misc")?;
    let register = rustix::fs::openat(&instance, "register", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .call("open", "binfmt_misc/register")?;
    for handler in handlers {
        // One write for each handler: the kernel parses each write as a whole.
        rustix::io::write(&register, &handler.registration())
            .call("write", format!("binfmt_misc/register for {}", handler.interpreter))?;
    }
    Ok(Some(instance))
}
