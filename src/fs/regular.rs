//! Files that a command or a stranger may have put where hermes looks for its own: a FIFO would be waited for without end,
//! a device has no end, and a link shows what somebody else wanted to be seen.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::fs::beneath::Links;

/// What is at a path that a regular file was expected at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is {}, not a regular file", name(*.0))]
pub struct NotRegular(FileType);

fn name(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::RegularFile | FileType::Unknown => "something else",
    }
}

impl From<NotRegular> for io::Error {
    fn from(error: NotRegular) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

/// Opens the regular file at `path` from `directory`, to be read. Links on the way are followed; `links` is for the last
/// name. Never waits.
///
/// # Errors
/// The system's; [`NotRegular`] with the kind `InvalidInput`.
pub(crate) fn open(directory: impl AsFd, path: &Path, links: Links) -> io::Result<File> {
    with(directory, path, OFlags::RDONLY, links)
}

/// Opens the regular file at `path` as [`open`] does, to be written, and makes it where it is missing. No link is followed
/// at its end.
///
/// # Errors
/// As [`open`].
pub(crate) fn create(path: &Path, mode: Mode) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | SAFE | OFlags::NOFOLLOW;
    checked(rustix::fs::open(path, flags, mode))
}

/// No wait for whoever is at the other end of a FIFO, no terminal that becomes this process's.
const SAFE: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

fn with(directory: impl AsFd, path: &Path, flags: OFlags, links: Links) -> io::Result<File> {
    let links = if links == Links::Refuse { OFlags::NOFOLLOW } else { OFlags::empty() };
    checked(openat(directory, path, flags | SAFE | links, Mode::empty()))
}

/// What was opened, if it is a regular file.
///
/// # Errors
/// As [`open`].
pub(crate) fn checked(opened: Result<OwnedFd, Errno>) -> io::Result<File> {
    let file = match opened {
        Err(Errno::LOOP) => return Err(NotRegular(FileType::Symlink).into()),
        Err(Errno::ISDIR) => return Err(NotRegular(FileType::Directory).into()),
        // A FIFO that nobody reads is not opened for writing; a socket never.
        Err(Errno::NXIO) => return Err(NotRegular(FileType::Unknown).into()),
        opened => opened?,
    };
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file.into()),
        kind => Err(NotRegular(kind).into()),
    }
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// The system's; `InvalidData` for a longer file.
pub(crate) fn read(file: &File, limit: u64) -> io::Result<Vec<u8>> {
    // Room for all of it at once: reading into an empty vector begins with 32 bytes at a time.
    let length = file.metadata()?.len().min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, mknodat};

    use super::*;

    #[test]
    fn odd_files_are_named_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "12345").unwrap();
        symlink("file", at("link")).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        let said = |name: &str, links| open(CWD, &at(name), links).map(drop).map_err(|error| error.to_string());
        for links in [Links::Follow, Links::Refuse] {
            assert_eq!(said("file", links), Ok(()));
            for (name, what) in [("directory", "a directory"), ("fifo", "a FIFO"), ("socket", "something else")] {
                assert_eq!(said(name, links), Err(format!("it is {what}, not a regular file")), "{name}");
            }
        }
        assert_eq!(said("link", Links::Follow), Ok(()));
        assert_eq!(said("link", Links::Refuse), Err("it is a symbolic link, not a regular file".into()));
        assert_eq!(said("zero", Links::Follow), Err("it is a device, not a regular file".into()));
        assert_eq!(open(CWD, &at("none"), Links::Refuse).unwrap_err().kind(), io::ErrorKind::NotFound);
        for name in ["link", "zero", "directory", "fifo", "socket"] {
            assert!(create(&at(name), Mode::RUSR).is_err(), "{name}");
        }
        create(&at("new"), Mode::RUSR | Mode::WUSR).unwrap();
        create(&at("new"), Mode::RUSR | Mode::WUSR).unwrap();
        assert_eq!(read(&File::open(at("file")).unwrap(), 5).unwrap(), b"12345");
        assert_eq!(read(&File::open(at("file")).unwrap(), 4).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
