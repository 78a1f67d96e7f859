//! Channel for messages: a socket pair that sends each message as one datagram.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};

use crate::sandbox::message::Message;
use crate::sandbox::step::StepError;
use crate::sys::process::exit_now;
use crate::sys::{Context as _, SysError};

/// Maximum size of a message in bytes. Paths in errors are cut to fit.
const MAX_MESSAGE: usize = 16 << 10;

/// Creates both ends of a channel; exec closes them.
pub(super) fn pair() -> Result<(OwnedFd, OwnedFd), SysError> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .call("socketpair", "")
}

/// Sends `message`, with a descriptor if there is one. If the receiver is gone, nobody needs the message.
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

/// Ends this process, which runs as init or as the subreaper, after it has reported the step that failed, if one did.
/// Skips the exit handlers that it inherited.
pub(super) fn report_and_exit(channel: BorrowedFd<'_>, done: Result<(), StepError>) -> ! {
    if let Err(StepError { step, error }) = done {
        send(channel, &Message::Failed { step, error }, None);
    }
    exit_now(0)
}

/// Whether the other end is closed.
pub(super) fn is_abandoned(channel: BorrowedFd<'_>) -> bool {
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::from_borrowed_fd(channel, PollFlags::empty())];
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}

/// Receives a message; `None` at the end of the channel.
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
