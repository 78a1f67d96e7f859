//! Messages between init and the command while the command is being confined: only init may map a range of ids, and only
//! the command can install its own filter.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::process::Pid;

use crate::sandbox::channel;
use crate::sandbox::fakeroot::{FirstOwners, OwnershipHandler};
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

/// Handling of the calls about owners by init, for a command that asks for it.
pub(in crate::sandbox) struct Ownership {
    /// Channel to the command, until it has installed its filter.
    link: Option<OwnedFd>,
    /// Whether owners are kept.
    stateful: bool,
    first: FirstOwners,
    handler: Option<OwnershipHandler>,
    /// Whether no process is left that could call.
    is_over: bool,
}

impl Ownership {
    /// Maximum number of files in a message, which has at most some 150 bytes for each.
    const CHUNK: usize = 64;

    /// The handling of calls by the command at the other end of `link`, with or without state.
    pub(super) fn new(link: OwnedFd, stateful: bool, first: FirstOwners) -> Self {
        Self { link: Some(link), stateful, first, handler: None, is_over: false }
    }

    /// Descriptor to wait for.
    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        let handler = self.handler.as_ref().filter(|_| !self.is_over);
        self.link.as_ref().map(OwnedFd::as_fd).or(handler.map(OwnershipHandler::as_fd))
    }

    /// Handles what the descriptor reported.
    pub(super) fn proceed(&mut self, ready: PollFlags) {
        if let Some(link) = self.link.take() {
            // The last message of the command. Init does not wait for it, because a command that init traces stops on its
            // way there.
            if let Ok(Some((Message::Listener, Some(listener)))) = channel::receive(&link) {
                let first = std::mem::take(&mut self.first);
                self.handler = Some(OwnershipHandler::new(listener, self.stateful, first));
            }
        } else if ready.contains(PollFlags::IN) {
            self.handler.iter_mut().for_each(OwnershipHandler::answer);
        } else {
            self.is_over = true;
        }
    }

    /// Sends the files that seem to have another owner to the supervisor.
    pub(super) fn report(&self, channel: &OwnedFd) {
        let files: Vec<_> = self.handler.iter().flat_map(OwnershipHandler::files).collect();
        for files in files.chunks(Self::CHUNK) {
            channel::send(channel.as_fd(), &Message::Faked(files.to_vec()), None);
        }
    }
}
