//! Gate that holds the command back until init has attached to it, so that init misses none of its calls.

use std::os::fd::OwnedFd;

use crate::sandbox::channel;
use crate::sys::{Context as _, SysError};

/// Channel of which init and the command have both ends, from before the fork.
pub(in crate::sandbox) struct Gate {
    inits: OwnedFd,
    commands: OwnedFd,
}

impl Gate {
    pub(in crate::sandbox) fn new() -> Result<Self, SysError> {
        let (inits, commands) = channel::pair()?;
        Ok(Self { inits, commands })
    }

    /// Tells init that it can attach, and waits until it has; false if it could not. Called by the command.
    pub(in crate::sandbox) fn pass(self) -> Result<bool, SysError> {
        drop(self.inits);
        rustix::io::write(&self.commands, &[1]).call("write", "")?;
        let said = rustix::io::retry_on_intr(|| rustix::io::read(&self.commands, &mut [0])).call("read", "")?;
        Ok(said > 0)
    }

    /// Waits for the command, attaches by `watch`, and releases the command. Called by init.
    pub(in crate::sandbox) fn open<T>(self, watch: impl FnOnce() -> Result<T, SysError>) -> Result<T, SysError> {
        drop(self.commands);
        rustix::io::retry_on_intr(|| rustix::io::read(&self.inits, &mut [0])).call("read", "")?;
        let watching = watch()?;
        rustix::io::write(&self.inits, &[1]).call("write", "")?;
        Ok(watching)
    }
}
