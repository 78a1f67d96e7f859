//! What init and the command say to each other while the command is being confined: only init may map a range of ids,
//! and only the command can put a filter before its own calls.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::io::Errno;
use rustix::process::Pid;

use crate::sandbox::fakeroot::Keeper;
use crate::sandbox::plan::Plan;
use crate::sandbox::policy::FakeRoot;
use crate::sandbox::wire::{self, Message};
use crate::sys::{Context as _, SysError};

/// Init's end and the command's, where the plan needs them.
pub(super) fn open(plan: &Plan) -> Result<Option<(OwnedFd, OwnedFd)>, SysError> {
    let needed = plan.sub_ids.is_some() || plan.fake_root == FakeRoot::Stateful;
    needed.then(wire::channel).transpose()
}

/// Waits until the supervisor has had the ids mapped; false where it ends instead. The caller's other groups, which
/// are nobody's inside, are given up.
pub(super) fn wait_for_ids(channel: &OwnedFd) -> Result<bool, SysError> {
    if !matches!(wire::receive(channel)?, Some((Message::Mapped, _))) {
        return Ok(false);
    }
    nix::unistd::setgroups(&[nix::unistd::Gid::from_raw(0)]).call("setgroups", "")?;
    Ok(true)
}

/// Has init map the ids of the user namespace that this process has just entered.
pub(super) fn ask_for_ids(init: &OwnedFd) -> Result<(), SysError> {
    wire::send(init.as_fd(), &Message::Entered, None);
    match wire::receive(init)? {
        Some((Message::Mapped, _)) => Ok(()),
        Some((Message::Failed { error, .. }, _)) => Err(error),
        _ => Err(SysError::new("recvmsg", "init", Errno::PIPE)),
    }
}

/// Does what `command` asks for until it is confined. What it needs of init afterwards is answered by the keeper.
pub(super) fn attend(plan: &Plan, command: Pid, link: &OwnedFd) -> Result<Option<Keeper>, SysError> {
    while let Some((message, fd)) = wire::receive(link)? {
        match (message, fd, plan.sub_ids) {
            (Message::Entered, _, Some(ids)) => {
                let said = match ids.map_below(command).call("write", "uid_map of the command") {
                    Ok(()) => Message::Mapped,
                    Err(error) => Message::Failed { step: String::new(), error },
                };
                wire::send(link.as_fd(), &said, None);
                if plan.fake_root != FakeRoot::Stateful {
                    // Not until the command has begun: where init is its tracer, that is something to be seen to.
                    return Ok(None);
                }
            }
            (Message::Listener, Some(listener), _) => return Ok(Some(Keeper::new(listener))),
            _ => {}
        }
    }
    // It has begun, or ended.
    Ok(None)
}
