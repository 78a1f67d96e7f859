//! Removal of a tree that another process may be changing, or whose directories deny access.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

const OPEN_DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes `path`, whatever it is; see [`tree`].
pub fn path(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    tree(File::open(parent)?.as_fd(), name.as_encoded_bytes())
}

/// Removes `name` in the directory `parent`, whatever it is, with all below it; nothing there is
/// success. Works by descriptors only, so that a directory swapped for a symlink is not
/// followed (RUSTSEC-2023-0018, CVE-2022-21658), and holds two of them however deep the tree is: a
/// directory found within a directory is first moved up into the tree's top.
pub(crate) fn tree(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // EPERM is what POSIX says of a directory, EISDIR what Linux says.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let top = open(parent, name)?;
    let mut moved = 0_u64;
    loop {
        let children = list(top.as_fd())?;
        if children.is_empty() {
            break;
        }
        for (child, kind) in children {
            if !unlink(top.as_fd(), &child, kind)? {
                lift(top.as_fd(), &child, &mut moved)?;
            }
        }
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes the directory `child` of `top` after moving the directories in it up into `top`.
fn lift(top: BorrowedFd<'_>, child: &[u8], moved: &mut u64) -> io::Result<()> {
    let directory = match open(top, child) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for (name, kind) in list(directory.as_fd())? {
        if unlink(directory.as_fd(), &name, kind)? {
            continue;
        }
        // A directory that denies writing cannot be moved, since its ".." changes.
        drop(open(directory.as_fd(), &name)?);
        loop {
            *moved += 1;
            match rustix::fs::renameat(&directory, name.as_slice(), top, format!(".{moved}")) {
                Ok(()) => break,
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    match rustix::fs::unlinkat(top, child, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes what can be removed in one call; `false` for a directory with something in it.
fn unlink(directory: BorrowedFd<'_>, name: &[u8], kind: FileType) -> io::Result<bool> {
    let flags = if kind == FileType::Directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    match rustix::fs::unlinkat(directory, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ISDIR) => Ok(false),
        // The kind was not known, or was another a moment ago.
        Err(Errno::PERM | Errno::NOTDIR) if kind != FileType::RegularFile => {
            match rustix::fs::unlinkat(directory, name, flags ^ AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => Ok(true),
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ISDIR) => Ok(false),
                Err(error) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Opens a directory and makes sure that its owner may list and change it.
fn open(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let directory = match rustix::fs::openat(parent, name, OPEN_DIR, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // Without read permission only O_PATH opens it, and that descriptor takes no fchmod:
            // its magic link in /proc does, and cannot be swapped.
            let path = rustix::fs::openat(parent, name, OPEN_DIR | OFlags::PATH, Mode::empty())?;
            let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&path));
            rustix::fs::chmod(link, Mode::RWXU)?;
            rustix::fs::openat(parent, name, OPEN_DIR, Mode::empty())?
        }
        other => other?,
    };
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&directory)?.st_mode);
    if !mode.contains(Mode::RWXU) {
        rustix::fs::fchmod(&directory, Mode::RWXU)?;
    }
    Ok(directory)
}

fn list(directory: BorrowedFd<'_>) -> io::Result<Vec<(Vec<u8>, FileType)>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((name.to_owned(), entry.file_type()));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn remove(directory: &std::path::Path, name: &str) -> io::Result<()> {
        tree(fs::File::open(directory).unwrap().as_fd(), name.as_bytes())
    }

    #[test]
    fn everything_goes_and_nothing_is_followed() {
        let temp = tempfile::tempdir().unwrap();
        let canary = temp.path().join("canary");
        fs::create_dir(&canary).unwrap();
        fs::write(canary.join("file"), "alive").unwrap();
        let victim = temp.path().join("victim");
        fs::create_dir_all(victim.join("a/b/c")).unwrap();
        fs::create_dir_all(victim.join("a/.1/x")).unwrap();
        fs::write(victim.join(".2"), "in the way").unwrap();
        fs::write(victim.join("a/b/c/f"), "").unwrap();
        symlink(&canary, victim.join("a/link")).unwrap();
        symlink(&canary, victim.join("link")).unwrap();
        for (path, mode) in [("a/b/c", 0o000), ("a/b", 0o500), ("a/.1", 0o100)] {
            fs::set_permissions(victim.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        remove(temp.path(), "victim").unwrap();
        assert!(!victim.exists());
        assert_eq!(fs::read_to_string(canary.join("file")).unwrap(), "alive");
        remove(temp.path(), "victim").unwrap();
        symlink(&canary, temp.path().join("victim")).unwrap();
        remove(temp.path(), "victim").unwrap();
        assert!(canary.join("file").exists() && !victim.exists());
    }

    #[test]
    fn depth_costs_no_descriptors() {
        let temp = tempfile::tempdir().unwrap();
        let mut directory = OwnedFd::from(fs::File::open(temp.path()).unwrap());
        for _ in 0..3000 {
            rustix::fs::mkdirat(&directory, "d", Mode::RWXU).unwrap();
            directory = rustix::fs::openat(&directory, "d", OPEN_DIR, Mode::empty()).unwrap();
        }
        remove(temp.path(), "d").unwrap();
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }
}
