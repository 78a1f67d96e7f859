//! Opening of regular files, by the one function that all of hermes uses for files that a command or another user may have
//! put in place of its own: opening a FIFO waits for a writer, a device has no end, and a symbolic link shows a file that
//! somebody else chose.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;

use crate::fs::beneath::Links;

/// The type that a file should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    File,
    Directory,
}

/// A file of another type than expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is {found}, not {wanted}")]
pub struct WrongType {
    found: &'static str,
    wanted: &'static str,
}

impl WrongType {
    fn not_regular(found: &'static str) -> Self {
        Self { found, wanted: "a regular file" }
    }
}

impl From<WrongType> for io::Error {
    fn from(error: WrongType) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

fn name_of(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "of an unknown type",
    }
}

/// Checks the type of a file.
pub(crate) fn check_type(stat: &Stat, wanted: Type) -> Result<(), WrongType> {
    let found = FileType::from_raw_mode(stat.st_mode);
    match wanted {
        Type::File if !found.is_file() => Err(WrongType::not_regular(name_of(found))),
        Type::Directory if !found.is_dir() => Err(WrongType { found: name_of(found), wanted: "a directory" }),
        _ => Ok(()),
    }
}

/// Flags that keep `open` from waiting for the other end of a FIFO, and a terminal from becoming this process's own.
pub(crate) const NO_WAIT: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Opens the regular file at `path` from `directory` for reading. Links on the way are followed; `links` is for the last
/// name. Never waits.
///
/// # Errors
/// [`WrongType`], with the kind `InvalidInput`.
pub(crate) fn open(directory: impl AsFd, path: &Path, links: Links) -> io::Result<File> {
    let links = if links == Links::Refuse { OFlags::NOFOLLOW } else { OFlags::empty() };
    checked(openat(directory, path, OFlags::RDONLY | NO_WAIT | links, Mode::empty()))
}

/// Opens the regular file at `path` from `directory` as [`open`] does, with `access` such as `OFlags::RDWR | OFlags::CREATE`. A
/// file that this makes gets `mode`. The last name must not be a link.
pub(crate) fn open_with(directory: impl AsFd, path: &Path, access: OFlags, mode: Mode) -> io::Result<File> {
    checked(openat(directory, path, access | NO_WAIT | OFlags::NOFOLLOW, mode))
}

/// What was opened, if it is a regular file.
pub(crate) fn checked(opened: Result<OwnedFd, Errno>) -> io::Result<File> {
    let file = match opened {
        Err(Errno::LOOP) => return Err(WrongType::not_regular("a symbolic link").into()),
        Err(Errno::ISDIR) => return Err(WrongType::not_regular("a directory").into()),
        // A FIFO without a reader that is opened for writing, a socket, a device without a driver.
        Err(Errno::NXIO) => return Err(WrongType::not_regular("a FIFO or a socket").into()),
        opened => opened?,
    };
    check_type(&fstat(&file)?, Type::File)?;
    Ok(file.into())
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// `InvalidData` for a longer file.
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
            for (name, what) in [("directory", "a directory"), ("fifo", "a FIFO"), ("socket", "a FIFO or a socket")] {
                assert_eq!(said(name, links), Err(format!("it is {what}, not a regular file")), "{name}");
            }
        }
        assert_eq!(said("link", Links::Follow), Ok(()));
        assert_eq!(said("link", Links::Refuse), Err("it is a symbolic link, not a regular file".into()));
        assert_eq!(said("zero", Links::Follow), Err("it is a device, not a regular file".into()));
        assert_eq!(open(CWD, &at("none"), Links::Refuse).unwrap_err().kind(), io::ErrorKind::NotFound);
        for name in ["link", "zero", "directory", "fifo", "socket"] {
            assert!(open_with(CWD, &at(name), OFlags::WRONLY | OFlags::CREATE, Mode::RUSR).is_err(), "{name}");
        }
        open_with(CWD, &at("new"), OFlags::WRONLY | OFlags::CREATE, Mode::RUSR | Mode::WUSR).unwrap();
        open_with(CWD, &at("new"), OFlags::WRONLY | OFlags::CREATE, Mode::RUSR | Mode::WUSR).unwrap();
        assert_eq!(read(&File::open(at("file")).unwrap(), 5).unwrap(), b"12345");
        assert_eq!(read(&File::open(at("file")).unwrap(), 4).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
