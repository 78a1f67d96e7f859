//! The command waits before init watches it: not a moment of it is to be missed.

use std::os::fd::OwnedFd;

use crate::sandbox::channel;
use crate::sys::{Context as _, SysError};

/// Two ends that init and the command have both, from before the fork.
pub(in crate::sandbox) struct Gate {
    inits: OwnedFd,
    commands: OwnedFd,
}

impl Gate {
    pub(in crate::sandbox) fn new() -> Result<Self, SysError> {
        let (inits, commands) = channel::pair()?;
        Ok(Self { inits, commands })
    }

    /// The command's side: says that it can be watched by now, and waits until it is; false where it is not.
    pub(in crate::sandbox) fn pass(self) -> Result<bool, SysError> {
        drop(self.inits);
        rustix::io::write(&self.commands, &[1]).call("write", "")?;
        let said = rustix::io::retry_on_intr(|| rustix::io::read(&self.commands, &mut [0])).call("read", "")?;
        Ok(said > 0)
    }

    /// Init's side: waits for the command, and lets it go on as soon as `watch` has begun, or has failed.
    pub(in crate::sandbox) fn open<T>(self, watch: impl FnOnce() -> Result<T, SysError>) -> Result<T, SysError> {
        drop(self.commands);
        rustix::io::retry_on_intr(|| rustix::io::read(&self.inits, &mut [0])).call("read", "")?;
        let watching = watch()?;
        rustix::io::write(&self.inits, &[1]).call("write", "")?;
        Ok(watching)
    }
}
