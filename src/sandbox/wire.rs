//! What init tells the supervisor, and the command init: a closed set of messages, one a datagram.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize};

use crate::sandbox::explain::Refusal;
use crate::sandbox::outcome::{Ended, Enforced};
use crate::sandbox::policy::Feature;
use crate::sys::{Context as _, SysError};

/// Longest message, in bytes. Paths in errors are cut to fit.
const MAX_MESSAGE: usize = 16 << 10;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message {
    /// The command's terminal comes with this message.
    Terminal,
    /// To init: its ids are mapped; to the command: so are its own.
    Mapped,
    /// To init: the command has entered its user namespace, whose ids are to be mapped.
    Entered,
    /// The calls that init is to answer are heard of on the descriptor that comes with this message; on none without one.
    Listener,
    /// All is set up but for the program itself; what is enforced.
    Ready(Enforced),
    /// What `--require` asks for is not enforced here; nothing ran.
    Missing(Feature),
    /// A step failed; nothing ran.
    Failed {
        /// The step, in words.
        step: String,
        /// The call.
        error: SysError,
    },
    /// The program could not be started.
    NotStarted {
        /// The program.
        program: String,
        /// Its file exists.
        exists: bool,
        /// The call.
        error: SysError,
    },
    /// Something was refused to the command, which was watched.
    Refused(Refusal),
    /// So much more was refused to it.
    RefusedMore(u64),
    /// The command ended, and so has every process it left behind.
    Ended(Ended),
}

/// Both ends of a channel; closed by exec.
pub(super) fn channel() -> Result<(OwnedFd, OwnedFd), SysError> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .call("socketpair", "")
}

/// Sends `message`, with a descriptor where it has one. A supervisor that is gone needs no news.
pub(super) fn send(channel: BorrowedFd<'_>, message: &Message, fd: Option<BorrowedFd<'_>>) {
    let bytes = serde_json::to_vec(message).unwrap_or_default();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<_> = fd.into_iter().collect();
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    let _ = rustix::net::sendmsg(channel, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL);
}

/// Whether nobody is left at the other end.
pub(super) fn is_abandoned(channel: BorrowedFd<'_>) -> bool {
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::from_borrowed_fd(channel, PollFlags::empty())];
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}

/// Receives a message; `None` at the end.
pub(super) fn receive(channel: impl AsFd) -> Result<Option<(Message, Option<OwnedFd>)>, SysError> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(&channel, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
    });
    let received = received.call("recvmsg", "")?;
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    if received.bytes == 0 {
        return Ok(None);
    }
    let message = serde_json::from_slice(&bytes[..received.bytes]).map_err(std::io::Error::from).call("recvmsg", "")?;
    Ok(Some((message, fd)))
}
