//! Standard streams of the command that are devices or files of the host.
//!
//! A descriptor gives access to more than the bytes: fchmod(2) changes the mode of the file, `O_NONBLOCK` is a flag that
//! the caller's shell shares. For the caller's terminal the command therefore gets a descriptor of its own from a
//! read-only mount: data can be written to a device there, while its inode is protected. A caller who is root owns the
//! host's devices, so the command gets the `/dev/null` of the sandbox and the like.
//!
//! Other streams can be opened by name (`/dev/stdout`, `/proc/self/fd/1`) for what their descriptors allow.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use landlock::{AccessFs, BitFlags};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, major, minor};
use rustix::io::Errno;
use rustix::termios::isatty;

use super::mount_point::{make_file, restrict_at};
use crate::fs::beneath::{self, Links};
use crate::sys::file::path_of;
use crate::sys::mount::{Restriction, bind, detach};
use crate::sys::terminal::{is_controlling, reopen};
use crate::sys::{Context as _, SysError};

/// Minor numbers and names of the memory devices that every sandbox has (Documentation/admin-guide/devices.txt).
const MEMORY: [(u32, &str); 5] = [(3, "null"), (5, "zero"), (7, "full"), (8, "random"), (9, "urandom")];
const MEMORY_MAJOR: u32 = 1;
/// `/dev/ptmx`: every open(2) of it makes a new terminal.
const PTMX: (u32, u32) = (5, 2);

/// Access modes of open(2), without `O_PATH`, which musl counts among them.
const ACCESS_MODE: u32 = 0o3;

/// Name of the caller's terminal inside, as of docker and podman.
const CONSOLE: &str = "console";

/// Streams of the caller, and the descriptors that replace some of them for the command.
pub(in crate::sandbox) struct Streams {
    streams: [Option<Stream>; 3],
    replaced: [Option<OwnedFd>; 3],
}

/// A stream that is not a path descriptor (`O_PATH`).
struct Stream {
    fd: BorrowedFd<'static>,
    stat: Stat,
    flags: OFlags,
    /// Of a terminal, whether it controls this process's session.
    terminal: Option<bool>,
}

impl Stream {
    fn of(fd: BorrowedFd<'static>) -> Option<Self> {
        let flags = rustix::fs::fcntl_getfl(fd).ok().filter(|flags| !flags.contains(OFlags::PATH))?;
        let mut stream = Self { fd, stat: rustix::fs::fstat(fd).ok()?, flags, terminal: None };
        let number = (major(stream.stat.st_rdev), minor(stream.stat.st_rdev));
        if stream.kind().is_char_device() && stream.memory().is_none() && number != PTMX && isatty(fd) {
            stream.terminal = Some(is_controlling(fd));
        }
        Some(stream)
    }

    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    fn access(&self) -> OFlags {
        OFlags::from_bits_retain(self.flags.bits() & ACCESS_MODE)
    }

    /// Name under `/dev`, if it is a device that every sandbox has.
    fn memory(&self) -> Option<&'static str> {
        let (device, number) = (major(self.stat.st_rdev), minor(self.stat.st_rdev));
        let known = MEMORY.iter().find(|(minor, _)| device == MEMORY_MAJOR && *minor == number);
        known.filter(|_| self.kind().is_char_device()).map(|(_, name)| *name)
    }

    fn is_same(&self, other: &Stat) -> bool {
        let id = |stat: &Stat| (stat.st_dev, stat.st_ino, stat.st_rdev);
        id(&self.stat) == id(other)
    }

    /// Access to the file when it is opened by name: what the descriptor allows already. None to a directory, which would
    /// include everything beneath it, nor to devices other than memory and, if `open`, terminals.
    fn rights(&self, open: bool) -> Option<BitFlags<AccessFs>> {
        let device = match self.kind() {
            FileType::RegularFile | FileType::Fifo => BitFlags::EMPTY,
            FileType::CharacterDevice if self.memory().is_some() || self.terminal.is_some() && open => {
                AccessFs::IoctlDev.into()
            }
            _ => return None,
        };
        let written = AccessFs::WriteFile | AccessFs::Truncate;
        match self.access() {
            OFlags::RDONLY => Some(device | AccessFs::ReadFile),
            OFlags::WRONLY => Some(device | written),
            OFlags::RDWR => Some(device | written | AccessFs::ReadFile),
            _ => None,
        }
    }
}

impl Streams {
    /// Makes `/dev/null` the streams of this process, and so of the command.
    pub(in crate::sandbox) fn replace_by_null() -> Result<(), SysError> {
        let path = Path::new("/dev/null");
        let null = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).call("open", path)?;
        rustix::stdio::dup2_stdin(&null).call("dup2", "standard input")?;
        rustix::stdio::dup2_stdout(&null).call("dup2", "standard output")?;
        rustix::stdio::dup2_stderr(&null).call("dup2", "standard error")
    }

    /// Inspects the streams of the caller, while this process is in the caller's session.
    pub(in crate::sandbox) fn of_the_caller() -> Self {
        let standard = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        Self { streams: standard.map(Stream::of), replaced: [const { None }; 3] }
    }

    /// Reopens devices in the `/dev` of the new root: terminals, unless the command gets one of its own, and all devices
    /// for a caller who `is_root` and could change the host's.
    pub(in crate::sandbox) fn open_in(
        &mut self,
        root: &OwnedFd,
        own_terminal: bool,
        is_root: bool,
    ) -> Result<(), SysError> {
        for (stream, replaced) in self.streams.iter().zip(&mut self.replaced) {
            let Some(stream) = stream else { continue };
            if let Some(name) = stream.memory().filter(|_| is_root) {
                let path = Path::new("/dev").join(name);
                let flags = stream.access() | OFlags::CLOEXEC;
                let dev = beneath::find(root, Path::new("/dev"), Links::Refuse).call("open", "/dev")?;
                *replaced = Some(rustix::fs::openat(dev, name, flags, Mode::empty()).call("open", path)?);
            } else if let Some(controlling) = stream.terminal.filter(|_| !own_terminal) {
                *replaced = match named(stream) {
                    Some(source) => Some(mounted(root, &source, stream, controlling)?),
                    None => again(stream.fd, stream)?,
                };
            }
        }
        Ok(())
    }

    /// Reopens terminals where there are no mounts: they get flags of their own, and no other protection.
    pub(in crate::sandbox) fn open_again(&mut self) -> Result<(), SysError> {
        for (stream, replaced) in self.streams.iter().zip(&mut self.replaced) {
            if let Some(stream) = stream.as_ref().filter(|stream| stream.terminal.is_some()) {
                *replaced = again(stream.fd, stream)?;
            }
        }
        Ok(())
    }

    /// Replaces the streams of this process by the reopened ones.
    pub(in crate::sandbox) fn attach(&self) -> Result<(), SysError> {
        let [input, output, error] = &self.replaced;
        if let Some(fd) = input {
            rustix::stdio::dup2_stdin(fd).call("dup2", "standard input")?;
        }
        if let Some(fd) = output {
            rustix::stdio::dup2_stdout(fd).call("dup2", "standard output")?;
        }
        if let Some(fd) = error {
            rustix::stdio::dup2_stderr(fd).call("dup2", "standard error")?;
        }
        Ok(())
    }

    /// Attached streams that the command may open by name, and the access to them. A terminal without a session would
    /// become the controlling terminal of the process that opens it, so it is left out; the command's `own` has a
    /// session.
    pub(in crate::sandbox) fn by_name(&self, own: bool) -> Vec<(BorrowedFd<'static>, BitFlags<AccessFs>)> {
        let rights = |stream: &Stream| Some((stream.fd, stream.rights(own || stream.terminal == Some(true))?));
        self.streams.iter().flatten().filter_map(rights).collect()
    }
}

/// Opens the terminal of `stream` by a name in this mount namespace, which mounting it requires: a container may have
/// been given its terminal from outside.
fn named(stream: &Stream) -> Option<OwnedFd> {
    let link = rustix::fs::readlink(path_of(stream.fd), Vec::new()).unwrap_or_default();
    let names = [Path::new(OsStr::from_bytes(link.as_bytes())), Path::new("/dev/console")];
    names.into_iter().find_map(|name| {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(name, flags, Mode::empty()).ok()?;
        rustix::fs::fstat(&fd).is_ok_and(|stat| stream.is_same(&stat)).then_some(fd)
    })
}

/// Opens the terminal `source` from a read-only mount at `/dev/console` of the new root.
///
/// The mount stays, for ttyname(3) and `/dev/stdout`, if the terminal has a session. A terminal without one would become
/// the controlling terminal of the process that opens it by name.
fn mounted(root: &OwnedFd, source: &OwnedFd, stream: &Stream, controlling: bool) -> Result<OwnedFd, SysError> {
    let directory = Path::new("/dev");
    let path = directory.join(CONSOLE);
    let find = || beneath::find(root, &path, Links::Refuse).call("open", &path);
    let there = find().ok().filter(|fd| rustix::fs::fstat(fd).is_ok_and(|stat| stream.is_same(&stat)));
    let is_there = there.is_some();
    let dev = beneath::find(root, directory, Links::Refuse).call("open", directory)?;
    let console = if let Some(there) = there {
        there
    } else {
        let file = make_file(&dev, OsStr::new(CONSOLE)).call("open", &path)?;
        bind(source.as_fd(), file.as_fd(), &path)?;
        restrict_at(root, &path, Restriction { read_only: true, no_devices: false })?;
        find()?
    };
    let opened = again(console.as_fd(), stream)?.ok_or(Errno::ACCESS).call("open", &path)?;
    if !is_there && !controlling {
        detach(path_of(console.as_fd()))?;
        rustix::fs::unlinkat(&dev, CONSOLE, AtFlags::empty()).call("unlink", &path)?;
    }
    Ok(opened)
}

/// Reopens a terminal with the flags of its stream. `None` if it belongs to another user.
fn again(terminal: BorrowedFd<'_>, stream: &Stream) -> Result<Option<OwnedFd>, SysError> {
    let Some(fd) = reopen(terminal, stream.access()) else { return Ok(None) };
    rustix::fs::fcntl_setfl(&fd, stream.flags).call("fcntl", "terminal")?;
    Ok(Some(fd))
}
