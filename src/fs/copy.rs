//! Copies of directories that a build cannot tell from the original: modes, times, links and hard links are the same, and no
//! link is followed out of the directory.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, seek};
use rustix::io::Errno;

use crate::fs::beneath::{self, Links};
use crate::fs::entries;

/// What was copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Files and links, each once however many names it has.
    pub files: u64,
    /// Bytes in the files.
    pub bytes: u64,
    /// What there is no copy of: sockets, devices and directories that were to be left out.
    pub left_out: Vec<PathBuf>,
}

/// Something that cannot be copied.
#[derive(Debug, thiserror::Error)]
#[error("cannot copy {path}")]
pub(crate) struct CopyError {
    /// In the original, from its top.
    pub path: PathBuf,
    pub source: io::Error,
}

/// Copies the content of the directory `from` into the existing, empty directory `into`, which becomes like it. The
/// directories `except`, by device and inode, are left out. `advance` gets the number of bytes of each file.
///
/// # Errors
/// The first thing that cannot be read or made. `into` is then in any state.
pub(crate) fn tree(
    from: &Path,
    into: &Path,
    except: &[(u64, u64)],
    advance: &mut dyn FnMut(u64),
) -> Result<Copied, CopyError> {
    let at_top = |source: rustix::io::Errno| CopyError { path: from.to_owned(), source: source.into() };
    let open = |path: &Path| rustix::fs::open(path, DIRECTORY, Mode::empty()).map_err(at_top);
    let roots = Roots { from: open(from)?, into: open(into)? };
    let mut copied = Copied::default();
    let mut names = HashMap::new();
    let mut directories = vec![(Vec::new(), rustix::fs::fstat(&roots.from).map_err(at_top)?)];
    let mut next = 0;
    while let Some((directory, _)) = directories.get(next) {
        let directory = directory.clone();
        next += 1;
        let inside = roots.directory(&directory, except, &mut names, &mut copied, advance);
        let inside = inside.map_err(|(path, source)| CopyError { path: OsStr::from_bytes(&path).into(), source })?;
        directories.extend(inside);
    }
    // What is made in a directory changes its time, and one that may not be written to takes nothing.
    for (directory, stat) in directories.into_iter().rev() {
        roots
            .finish(&directory, &stat)
            .map_err(|source| CopyError { path: OsStr::from_bytes(&directory).into(), source })?;
    }
    Ok(copied)
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

struct Roots {
    from: OwnedFd,
    into: OwnedFd,
}

type Failed = (Vec<u8>, io::Error);

impl Roots {
    /// Copies what is in a directory, and gives the directories in it, which are made and empty.
    fn directory(
        &self,
        path: &[u8],
        except: &[(u64, u64)],
        names: &mut HashMap<(u64, u64), Vec<u8>>,
        copied: &mut Copied,
        advance: &mut dyn FnMut(u64),
    ) -> Result<Vec<(Vec<u8>, Stat)>, Failed> {
        let here = |source: io::Error| (path.to_owned(), source);
        let open = |root: &OwnedFd| {
            beneath::open(root, Path::new(OsStr::from_bytes(path)), DIRECTORY, Links::Refuse).map_err(io::Error::from)
        };
        let (from, into) = (open(&self.from).map_err(here)?, open(&self.into).map_err(here)?);
        let mut directories = Vec::new();
        for (name, stat) in entries::of(&from).map_err(here)? {
            let child = entries::join(path, &name);
            let failed = |source: io::Error| (child.clone(), source);
            let kind = FileType::from_raw_mode(stat.st_mode);
            let identity = (stat.st_dev, stat.st_ino);
            if except.contains(&identity)
                || !matches!(kind, FileType::Directory | FileType::RegularFile | FileType::Symlink | FileType::Fifo)
            {
                copied.left_out.push(OsStr::from_bytes(&child).into());
                continue;
            }
            if kind == FileType::Directory {
                rustix::fs::mkdirat(&into, name.as_slice(), Mode::RWXU).map_err(|error| failed(error.into()))?;
                directories.push((child, stat));
                continue;
            }
            if stat.st_nlink > 1 {
                if let Some(first) = names.get(&identity)
                    && self.link(first, into.as_fd(), &name)
                {
                    continue;
                }
                names.insert(identity, child.clone());
            }
            copied.files += 1;
            copied.bytes += one(&from, &into, &name, &stat).map_err(failed)?;
            advance(u64::try_from(stat.st_size).unwrap_or(0));
        }
        Ok(directories)
    }

    /// Gives the copy `first` another name, if the file system will have it.
    fn link(&self, first: &[u8], into: impl AsFd, name: &[u8]) -> bool {
        let path = Path::new(OsStr::from_bytes(first));
        let parent = path.parent().unwrap_or(Path::new(""));
        let Ok(parent) = beneath::find(&self.into, parent, Links::Refuse) else { return false };
        let Some(old) = path.file_name() else { return false };
        rustix::fs::linkat(&parent, old, into, name, AtFlags::empty()).is_ok()
    }

    fn finish(&self, path: &[u8], stat: &Stat) -> io::Result<()> {
        let directory = beneath::open(&self.into, Path::new(OsStr::from_bytes(path)), DIRECTORY, Links::Refuse)?;
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        Ok(rustix::fs::futimens(&directory, &times(stat))?)
    }
}

/// Copies what is no directory, and gives the bytes that are in it.
fn one(from: &OwnedFd, into: &OwnedFd, name: &[u8], stat: &Stat) -> io::Result<u64> {
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(target, into, name)?;
        }
        FileType::Fifo => {
            rustix::fs::mknodat(into, name, FileType::Fifo, Mode::RWXU, 0)?;
            rustix::fs::chmodat(into, name, mode, AtFlags::empty())?;
        }
        _ => {
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let original = File::from(rustix::fs::openat(from, name, OFlags::RDONLY | flags, Mode::empty())?);
            let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | flags;
            let copy = File::from(rustix::fs::openat(into, name, create, Mode::RUSR | Mode::WUSR)?);
            content(original, &copy)?;
            rustix::fs::fchmod(&copy, mode)?;
            rustix::fs::futimens(&copy, &times(stat))?;
            return Ok(copy.metadata()?.len());
        }
    }
    rustix::fs::utimensat(into, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(0)
}

/// Makes the empty file `to` have what `from` has: its blocks, or where the file system shares none, a copy of them.
/// Holes stay holes.
pub(crate) fn content(mut from: File, mut to: &File) -> io::Result<()> {
    if rustix::fs::ioctl_ficlone(to, &from).is_ok() {
        return Ok(());
    }
    let mut at = 0;
    loop {
        let data = match seek(&from, SeekFrom::Data(at)) {
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => return to.set_len(from.metadata()?.len()),
            data => data?,
        };
        at = seek(&from, SeekFrom::Hole(data))?;
        for mut file in [&from, to] {
            file.seek(io::SeekFrom::Start(data))?;
        }
        io::copy(&mut (&mut from).take(at - data), &mut to)?;
    }
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanos: u64| Timespec { tv_sec: seconds, tv_nsec: nanos.try_into().unwrap_or(0) };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn holes_stay_holes() {
        let dir = tempfile::tempdir().unwrap();
        let [from, into] = ["from", "into"].map(|name| dir.path().join(name));
        for path in [&from, &into] {
            fs::create_dir(path).unwrap();
        }
        let sparse = fs::File::create(from.join("sparse")).unwrap();
        sparse.write_all_at(b"begin", 0).unwrap();
        sparse.write_all_at(b"middle", 1 << 40).unwrap();
        sparse.set_len(3 << 40).unwrap();
        tree(&from, &into, &[], &mut |_| {}).unwrap();
        let copy = fs::File::open(into.join("sparse")).unwrap();
        let meta = copy.metadata().unwrap();
        assert!(meta.len() == 3 << 40 && meta.blocks() < 1000, "{meta:?}");
        for (place, want) in [(0, b"begin\0"), (1 << 40, b"middle")] {
            let mut found = [0; 6];
            copy.read_exact_at(&mut found, place).unwrap();
            assert_eq!(&found, want);
        }
    }

    #[test]
    fn a_copy_is_like_the_original() {
        let dir = tempfile::tempdir().unwrap();
        let (from, into) = (dir.path().join("from"), dir.path().join("into"));
        for path in ["from/a/deep/er", "from/store", "into", "outside"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        fs::write(dir.path().join("outside/secret"), "outside").unwrap();
        fs::write(from.join("store/blob"), "not copied").unwrap();
        fs::write(from.join("a/file"), vec![7; 300_000]).unwrap();
        fs::hard_link(from.join("a/file"), from.join("a/deep/same")).unwrap();
        fs::write(from.join("script"), "#!/bin/sh\n").unwrap();
        symlink("../outside", from.join("out")).unwrap();
        symlink("/nowhere", from.join("dangling")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, from.join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        drop(UnixListener::bind(from.join("socket")).unwrap());
        let old = Timespec { tv_sec: 1_000_000_000, tv_nsec: 123_456_789 };
        let old = Timestamps { last_access: old, last_modification: old };
        for (path, mode) in [("script", 0o755), ("fifo", 0o620), ("a/file", 0o440), ("a/deep", 0o555), ("a", 0o2770)] {
            fs::set_permissions(from.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        for path in ["script", "fifo", "a/file", "dangling", "a/deep", "a", ""] {
            rustix::fs::utimensat(rustix::fs::CWD, from.join(path), &old, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        }
        let store = fs::metadata(from.join("store")).unwrap();
        let mut told = 0;
        let copied = tree(&from, &into, &[(store.dev(), store.ino())], &mut |bytes| told += bytes).unwrap();
        assert_eq!(copied.left_out, [Path::new("socket"), Path::new("store")]);
        assert_eq!((copied.files, copied.bytes), (5, 300_010));
        assert!(told >= copied.bytes);
        for path in ["", "script", "fifo", "a", "a/file", "a/deep", "a/deep/same", "a/deep/er", "dangling", "out"] {
            let [was, is] = [&from, &into].map(|root| fs::symlink_metadata(root.join(path)).unwrap());
            assert_eq!(was.mode(), is.mode(), "{path}");
            assert_eq!(was.modified().unwrap(), is.modified().unwrap(), "{path}");
            assert!(!was.is_file() || was.len() == is.len(), "{path}");
        }
        assert_eq!(fs::read(into.join("a/file")).unwrap(), vec![7; 300_000]);
        let [one, other] = ["a/file", "a/deep/same"].map(|path| fs::metadata(into.join(path)).unwrap().ino());
        assert_eq!(one, other);
        assert_ne!(one, fs::metadata(from.join("a/file")).unwrap().ino());
        assert_eq!(fs::read_link(into.join("out")).unwrap(), Path::new("../outside"));
        assert!(fs::symlink_metadata(into.join("fifo")).unwrap().file_type().is_fifo());
        assert!(!into.join("store").exists() && !into.join("socket").exists());
    }

    #[test]
    fn what_cannot_be_copied_is_named() {
        if rustix::process::getuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (from, into) = (dir.path().join("from"), dir.path().join("into"));
        fs::create_dir_all(from.join("a")).unwrap();
        fs::create_dir(&into).unwrap();
        fs::write(from.join("a/private"), "").unwrap();
        fs::set_permissions(from.join("a/private"), fs::Permissions::from_mode(0o000)).unwrap();
        let error = tree(&from, &into, &[], &mut |_| {}).unwrap_err();
        assert_eq!(error.path, Path::new("a/private"));
        assert_eq!(error.source.kind(), io::ErrorKind::PermissionDenied);
    }
}
