//! Answers calls that change or query the owners of files, and those that change the root directory.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid};
use rustix::io::Errno;

use super::files::{Caller, is_inside};
use super::layout::{Attributes, Layout};
use super::rules::{DEVICES, KEEP, OWNERS, QUESTIONS, ROOT};
use super::table::{Faked, FirstOwners, MASK, Table};
use crate::sandbox::outcome::FakedFile;
use crate::sandbox::seccomp::{Arch, number};
use crate::sys::file::statx;
use crate::sys::seccomp::{Notification, Reply, answer_in_turns, is_waiting, next_call, reply};

/// Maximum number of calls that are answered before init looks after its children.
const AT_ONCE: usize = 1000;

/// How a call names its file.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// By a path, whose last component is followed if it is a link, or not.
    Path { follow: bool },
    /// By a descriptor.
    Descriptor,
    /// By a directory and a path, with flags in this argument.
    At { flags: usize },
}

/// Operation of a call.
#[derive(Debug, Clone, Copy)]
enum Op {
    /// Changes the owner. `user` is the argument with the user; `short` is set for ids of 16 bits.
    Own { user: usize, short: bool },
    /// Queries attributes; the structure is in the argument `buffer`.
    Stat { buffer: usize, call: &'static str, arch: Arch },
    /// Queries attributes by statx(2).
    Statx,
    /// Makes a device; the mode is in this argument.
    Make { mode: usize },
    /// Changes the root directory.
    Root,
}

fn place(call: &str) -> Place {
    match call {
        "fchownat" => Place::At { flags: 4 },
        "newfstatat" | "fstatat64" => Place::At { flags: 3 },
        "statx" => Place::At { flags: 2 },
        "fchown" | "fchown32" | "fstat" | "fstat64" => Place::Descriptor,
        _ => Place::Path { follow: !call.starts_with('l') },
    }
}

/// Calls that wait for an answer, by architecture and number.
fn calls() -> HashMap<(u32, u32), (Place, Op)> {
    let mut calls = HashMap::new();
    for arch in Arch::NATIVE {
        let mut add = |call: &'static str, wish| {
            if let Some(number) = number(call, arch) {
                calls.insert((arch.audit(), number), (place(call), wish));
            }
        };
        for (call, user) in OWNERS {
            // The names without 32 are older than ids of 32 bits.
            let short = matches!(arch, Arch::I386 | Arch::Arm) && matches!(*call, "chown" | "lchown" | "fchown");
            add(call, Op::Own { user: usize::from(*user), short });
        }
        for (call, buffer) in QUESTIONS {
            let stat = Op::Stat { buffer: usize::from(*buffer), call, arch };
            add(call, if *call == "statx" { Op::Statx } else { stat });
        }
        for (call, mode) in DEVICES {
            add(call, Op::Make { mode: usize::from(*mode) });
        }
        add(ROOT, Op::Root);
    }
    calls
}

/// Answers the calls of a command about owners, and keeps the owners that files seem to have.
pub(in crate::sandbox) struct OwnershipHandler {
    listener: OwnedFd,
    calls: HashMap<(u32, u32), (Place, Op)>,
    /// Whether owners are kept. Otherwise only files that no user inside can own get an answer.
    stateful: bool,
    table: Table,
}

impl OwnershipHandler {
    /// A handler of the calls on `listener`, with or without state. With state, files begin with the owners of `first`.
    pub(in crate::sandbox) fn new(listener: OwnedFd, stateful: bool, first: FirstOwners) -> Self {
        answer_in_turns(listener.as_fd());
        // The process that makes a file determines its mode, not init.
        rustix::process::umask(Mode::empty());
        Self { listener, calls: calls(), stateful, table: Table::new(first) }
    }

    /// All files that seem to have another owner, or to be devices.
    pub(in crate::sandbox) fn files(&self) -> impl Iterator<Item = FakedFile> {
        self.table.files()
    }

    /// Descriptor that is ready when a call waits, or when no process is left that could make one.
    pub(in crate::sandbox) fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Answers the waiting calls, of which there is at least one.
    pub(in crate::sandbox) fn answer(&mut self) {
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        for _ in 0..AT_ONCE {
            if let Ok(call) = next_call(self.listener.as_fd()) {
                let said = self.consider(&call).unwrap_or_else(|errno| Reply::Failed(errno.raw_os_error()));
                reply(self.listener.as_fd(), call.id, said);
            }
            let mut fds = [PollFd::new(&self.listener, PollFlags::IN)];
            if !poll(&mut fds, Some(&now)).is_ok_and(|_| fds[0].revents().contains(PollFlags::IN)) {
                return;
            }
        }
    }

    fn consider(&mut self, call: &Notification) -> Result<Reply, Errno> {
        let Some((place, wish)) = self.calls.get(&(call.arch, call.number)).copied() else {
            return Ok(Reply::Continue);
        };
        let caller = Caller { thread: call.thread };
        match wish {
            Op::Root => self.change_root(&caller, call, place),
            Op::Own { .. } if !self.stateful => self.own(&caller, call, place),
            Op::Own { user, short } => {
                let file = match locate(&caller, call, place) {
                    // Only the kernel can follow this link.
                    Err(Errno::LOOP) => return Ok(Reply::Continue),
                    // kernel.yama.ptrace_scope is 3: init may not read another process. Answers as without state.
                    Err(Errno::PERM) => return Ok(Reply::Done),
                    file => file?,
                };
                let id = |at: usize| match argument(call, at) {
                    id if short && id & 0xffff == 0xffff => KEEP,
                    id if short => id & 0xffff,
                    id => id,
                };
                self.still_waits(call)?;
                self.give(file, (id(user), id(user + 1)))
            }
            Op::Stat { .. } | Op::Statx if self.table.is_empty() => Ok(Reply::Continue),
            Op::Stat { buffer, call: name, arch } => {
                let Some(attributes) = self.faked(&caller, call, place, 0) else {
                    return Ok(Reply::Continue);
                };
                let Some(bytes) = Layout::of(name, arch).bytes(&attributes) else { return Ok(Reply::Continue) };
                self.still_waits(call)?;
                caller.write(call.arguments[buffer], &bytes).map(|()| Reply::Done)
            }
            Op::Statx => {
                let Some(attributes) = self.faked(&caller, call, place, argument(call, 3)) else {
                    return Ok(Reply::Continue);
                };
                self.still_waits(call)?;
                caller.write(call.arguments[4], &attributes.0).map(|()| Reply::Done)
            }
            Op::Make { mode } => {
                let path = caller.path(call.arguments[mode - 1])?;
                let from = if mode == 2 { argument(call, 0).cast_signed() } else { libc::AT_FDCWD };
                self.make(&caller, call, (from, &path), (argument(call, mode), argument(call, mode + 1)))
            }
        }
    }

    /// Checks that the process still waits: only then was everything that was read from it its own.
    fn still_waits(&self, call: &Notification) -> Result<(), Errno> {
        if is_waiting(self.listener.as_fd(), call.id) { Ok(()) } else { Err(Errno::SRCH) }
    }

    /// Attributes of the file, if they differ from the real ones: those of `mask`, and those that stat(2) returns.
    fn faked(&self, caller: &Caller, call: &Notification, place: Place, mask: u32) -> Option<Attributes> {
        let file = locate(caller, call, place).ok()?;
        let mut attributes = Attributes(statx(&file, mask | MASK).ok()?);
        let faked = self.table.get(&attributes)?;
        attributes.set_owner(faked.owner);
        if let Some((kind, number)) = faked.device {
            attributes.set_device(kind, number);
        }
        Some(attributes)
    }

    /// Changes the owner without state: the kernel does it, unless the file is one of the kernel's own.
    fn own(&self, caller: &Caller, call: &Notification, place: Place) -> Result<Reply, Errno> {
        // If the file is not found, for whatever reason, the kernel looks for it.
        let seems_given = locate(caller, call, place).is_ok_and(|file| is_of_the_kernel(&file));
        self.still_waits(call)?;
        Ok(if seems_given { Reply::Done } else { Reply::Continue })
    }

    /// Allows chroot(2) to the current root directory, and refuses any other as the filter would.
    fn change_root(&self, caller: &Caller, call: &Notification, place: Place) -> Result<Reply, Errno> {
        let directory = match locate(caller, call, place) {
            // Links that only the kernel can follow, and processes that init may not read.
            Err(Errno::LOOP) => return Err(Errno::PERM),
            directory => rustix::fs::fstat(directory?)?,
        };
        if !FileType::from_raw_mode(directory.st_mode).is_dir() {
            return Err(Errno::NOTDIR);
        }
        let root = rustix::fs::stat("/")?;
        self.still_waits(call)?;
        if (directory.st_dev, directory.st_ino) == (root.st_dev, root.st_ino) {
            Ok(Reply::Done)
        } else {
            Err(Errno::PERM)
        }
    }

    fn give(&mut self, file: OwnedFd, (user, group): (u32, u32)) -> Result<Reply, Errno> {
        // Makes the real call, to the one user there is: it fails if it should, clears set-id bits, and copies the file
        // to the upper layer, as the requested call would.
        match rustix::fs::chownat(&file, "", Some(Uid::ROOT), Some(Gid::ROOT), AtFlags::EMPTY_PATH) {
            // A file of the host, such as /dev/null.
            Ok(()) | Err(Errno::PERM) => {}
            Err(Errno::ROFS) if is_of_the_kernel(&file) => {}
            Err(errno) => return Err(errno),
        }
        let attributes = Attributes(statx(&file, MASK).map_err(|_| Errno::IO)?);
        let real = attributes.owner();
        let known = self.table.get(&attributes).unwrap_or(Faked { owner: real, device: None });
        let choose = |new, old| if new == KEEP { old } else { new };
        let faked = Faked { owner: (choose(user, known.owner.0), choose(group, known.owner.1)), ..known };
        if faked == (Faked { owner: real, device: None }) {
            self.table.remove(attributes.key());
        } else if !self.table.insert(attributes.key(), file, faked) {
            return Err(Errno::NOMEM);
        }
        Ok(Reply::Done)
    }

    /// Makes an empty file in place of a device.
    fn make(
        &mut self,
        caller: &Caller,
        call: &Notification,
        (from, path): (i32, &[u8]),
        (mode, device): (u32, u32),
    ) -> Result<Reply, Errno> {
        let (directory, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&path[..=at], &path[at + 1..]),
            None => (&b"."[..], path),
        };
        if matches!(name, b"" | b"." | b"..") {
            // The kernel refuses it.
            return Ok(Reply::Continue);
        }
        let directory = caller.file(from, directory, true)?;
        if !is_inside(&directory) {
            return Err(Errno::ACCESS);
        }
        let permissions = mode & 0o7777 & !caller.umask().unwrap_or(0o077);
        self.still_waits(call)?;
        rustix::fs::mknodat(&directory, name, FileType::RegularFile, Mode::from_raw_mode(permissions), 0)?;
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, name, flags, Mode::empty())?;
        let attributes = Attributes(statx(&file, libc::STATX_BASIC_STATS).map_err(|_| Errno::IO)?);
        let faked = Faked { owner: attributes.owner(), device: Some((mode & libc::S_IFMT, device)) };
        if self.table.insert(attributes.key(), file, faked) { Ok(Reply::Done) } else { Err(Errno::NOMEM) }
    }
}

/// Whether a file is in `/proc` or `/sys`, which belong to root of the host and are read-only for others.
fn is_of_the_kernel(file: &OwnedFd) -> bool {
    // PROC_SUPER_MAGIC and SYSFS_MAGIC (linux/magic.h).
    rustix::fs::fstatfs(file).is_ok_and(|found| found.f_type == 0x9fa0 || found.f_type == 0x6265_6572)
}

/// The low 32 bits of an argument, which are all that the kernel uses of ids, flags, modes and descriptors.
fn argument(call: &Notification, at: usize) -> u32 {
    u32::try_from(call.arguments[at] & 0xffff_ffff).unwrap_or(0)
}

/// Opens the file that a call names.
fn locate(caller: &Caller, call: &Notification, place: Place) -> Result<OwnedFd, Errno> {
    match place {
        Place::Descriptor => caller.descriptor(argument(call, 0).cast_signed()),
        Place::Path { follow } => caller.file(libc::AT_FDCWD, &caller.path(call.arguments[0])?, follow),
        Place::At { flags } => {
            let (from, flags) = (argument(call, 0).cast_signed(), argument(call, flags));
            let has = |flag: i32| flags & flag.cast_unsigned() != 0;
            let path = caller.path(call.arguments[1])?;
            if path.is_empty() && has(libc::AT_EMPTY_PATH) {
                return if from == libc::AT_FDCWD { caller.file(from, b".", true) } else { caller.descriptor(from) };
            }
            caller.file(from, &path, !has(libc::AT_SYMLINK_NOFOLLOW))
        }
    }
}
