//! The command's standard streams, where they are devices or files of the host.
//!
//! A descriptor leads to more than the bytes: by fchmod(2) to the mode of its file, by `O_NONBLOCK` to flags that the
//! caller's shell shares. So of the caller's terminal the command gets a descriptor of its own from a read-only mount:
//! devices are written to there all the same, and only their inodes are not. Where the caller is root, who owns the host's
//! devices, it gets the sandbox's own `/dev/null` and the like.
//!
//! What stays as it is can be opened by name (`/dev/stdout`, `/proc/self/fd/1`), for what its descriptor allows.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use landlock::{AccessFs, BitFlags};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, major, minor};
use rustix::io::Errno;
use rustix::termios::isatty;

use super::root::{make_file, restrict_at};
use crate::fs::beneath::{self, Links};
use crate::sys::mount::{Restriction, bind, detach, path_of};
use crate::sys::terminal::{is_controlling, reopen};
use crate::sys::{Context as _, SysError};

/// Character devices of the memory driver, by minor number, that every sandbox has (Documentation/admin-guide/devices.txt).
const MEMORY: [(u32, &str); 5] = [(3, "null"), (5, "zero"), (7, "full"), (8, "random"), (9, "urandom")];
const MEMORY_MAJOR: u32 = 1;
/// `/dev/ptmx`, of which every open(2) makes a new terminal.
const PTMX: (u32, u32) = (5, 2);

/// The access modes of open(2), without `O_PATH`, which musl counts among them.
const ACCESS_MODE: u32 = 0o3;

/// The name of the caller's terminal inside, as docker and podman have it.
const CONSOLE: &str = "console";

/// The caller's streams, and the descriptors that the command gets in the place of some.
pub(in crate::sandbox) struct Streams {
    streams: [Option<Stream>; 3],
    replaced: [Option<OwnedFd>; 3],
}

/// A stream that is more than a name (`O_PATH`).
struct Stream {
    fd: BorrowedFd<'static>,
    stat: Stat,
    flags: OFlags,
    /// A terminal, and whether it controls this process's session.
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

    /// Its name under `/dev`, if it is a device that every sandbox has.
    fn memory(&self) -> Option<&'static str> {
        let (device, number) = (major(self.stat.st_rdev), minor(self.stat.st_rdev));
        let known = MEMORY.iter().find(|(minor, _)| device == MEMORY_MAJOR && *minor == number);
        known.filter(|_| self.kind().is_char_device()).map(|(_, name)| *name)
    }

    fn is_same(&self, other: &Stat) -> bool {
        let id = |stat: &Stat| (stat.st_dev, stat.st_ino, stat.st_rdev);
        id(&self.stat) == id(other)
    }

    /// What may be done with its file when it is opened by name: what the descriptor allows already. Never a directory,
    /// since all beneath it would be allowed too; of devices only memory, and terminals if they are `open`.
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
    /// Looks at the streams of the caller, while this process is still in the caller's session.
    pub(in crate::sandbox) fn of_the_caller() -> Self {
        let standard = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        Self { streams: standard.map(Stream::of), replaced: [const { None }; 3] }
    }

    /// Opens devices again in the `/dev` of the new root: terminals, unless the command gets one of its own, and for a caller
    /// who `is_root`, and could change the host's, all that the sandbox has.
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

    /// Opens terminals again where there are no mounts: they get flags of their own, and no more.
    pub(in crate::sandbox) fn open_again(&mut self) -> Result<(), SysError> {
        for (stream, replaced) in self.streams.iter().zip(&mut self.replaced) {
            if let Some(stream) = stream.as_ref().filter(|stream| stream.terminal.is_some()) {
                *replaced = again(stream.fd, stream)?;
            }
        }
        Ok(())
    }

    /// Makes what was opened the streams of this process.
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

    /// The streams that the command may open by name, once they are attached, and for what. A terminal without a session
    /// would become the controlling one of who opens it, so that one is left out; the command's `own` has one.
    pub(in crate::sandbox) fn by_name(&self, own: bool) -> Vec<(BorrowedFd<'static>, BitFlags<AccessFs>)> {
        let rights = |stream: &Stream| Some((stream.fd, stream.rights(own || stream.terminal == Some(true))?));
        self.streams.iter().flatten().filter_map(rights).collect()
    }
}

/// The terminal of `stream` by a name in this mount namespace, without which it cannot be mounted: containers may have been
/// given one from outside.
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
/// The mount stays, for ttyname(3) and `/dev/stdout`, if the terminal has a session: whoever opens one that has none by name
/// would get it as the controlling one.
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

/// Opens a terminal again, with the flags that its stream has. `None` where it is another user's.
fn again(terminal: BorrowedFd<'_>, stream: &Stream) -> Result<Option<OwnedFd>, SysError> {
    let Some(fd) = reopen(terminal, stream.access()) else { return Ok(None) };
    rustix::fs::fcntl_setfl(&fd, stream.flags).call("fcntl", "terminal")?;
    Ok(Some(fd))
}
