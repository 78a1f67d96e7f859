//! Messages between init and the command while the command is being confined: only init may map a range of ids, and only
//! the command can install its own filter.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::io::Errno;
use rustix::process::Pid;

use crate::sandbox::channel;
use crate::sandbox::fakeroot::OwnershipHandler;
use crate::sandbox::message::Message;
use crate::sandbox::plan::Plan;
use crate::sandbox::step::Step;
use crate::sys::{Context as _, SysError};

/// Opens the channel between init and the command, if the plan needs one.
pub(super) fn open(plan: &Plan) -> Result<Option<(OwnedFd, OwnedFd)>, SysError> {
    let needed = plan.policy.sub_ids.is_some() || plan.needs_listener();
    needed.then(channel::pair).transpose()
}

/// Waits until the supervisor has mapped the ids; false if it ended instead. Drops the supplementary groups of the
/// caller, which are mapped to nobody.
pub(super) fn wait_for_ids(channel: &OwnedFd) -> Result<bool, SysError> {
    if !matches!(channel::receive(channel)?, Some((Message::Mapped, _))) {
        return Ok(false);
    }
    nix::unistd::setgroups(&[nix::unistd::Gid::from_raw(0)]).call("setgroups", "")?;
    Ok(true)
}

/// Asks init to map the ids of the user namespace that this process has just entered.
pub(super) fn request_id_maps(init: &OwnedFd) -> Result<(), SysError> {
    channel::send(init.as_fd(), &Message::Entered, None);
    match channel::receive(init)? {
        Some((Message::Mapped, _)) => Ok(()),
        Some((Message::Failed { error, .. }, _)) => Err(error),
        _ => Err(SysError::new("recvmsg", "init", Errno::PIPE)),
    }
}

/// Maps the ids of the user namespace that `command` has entered, if it asks for that.
pub(super) fn map_requested_ids(plan: &Plan, command: Pid, link: &OwnedFd) -> Result<(), SysError> {
    let Some(ids) = plan.policy.sub_ids else { return Ok(()) };
    if let Some((Message::Entered, _)) = channel::receive(link)? {
        let said = match ids.map_below(command).call("write", "uid_map of the command") {
            Ok(()) => Message::Mapped,
            Err(error) => Message::Failed { step: Step::MapCommandUsers, error },
        };
        channel::send(link.as_fd(), &said, None);
    }
    Ok(())
}

/// Receives the last message of the command, once it has installed its filter: the handler for the calls that the filter
/// passes on. Not waited for, because a command that init traces stops on its way there.
pub(super) fn receive_handler(link: &OwnedFd, stateful: bool) -> Option<OwnershipHandler> {
    match channel::receive(link) {
        Ok(Some((Message::Listener, Some(listener)))) => Some(OwnershipHandler::new(listener, stateful)),
        _ => None,
    }
}
