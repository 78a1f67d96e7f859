//! Replacement of `mount_setattr(2)` for a tree of mounts before Linux 5.12: changes each mount of `/proc/self/mountinfo`
//! (`proc_pid_mountinfo(5)`) at and below a directory by a call of its own.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::file::path_of;
use super::{Context as _, SysError};

/// `MS_NOSYMFOLLOW` (linux/mount.h).
const NOSYMFOLLOW: MountFlags = MountFlags::from_bits_retain(0x100);
/// Options of a mount that a remount must repeat, since it clears them otherwise; the kernel refuses to clear those that
/// another user namespace has set. The options for access times stay without being repeated.
const OPTIONS: [(&str, MountFlags); 5] = [
    ("ro", MountFlags::RDONLY),
    ("nosuid", MountFlags::NOSUID),
    ("nodev", MountFlags::NODEV),
    ("noexec", MountFlags::NOEXEC),
    ("nosymfollow", NOSYMFOLLOW),
];

const MOUNTS: &str = "/proc/self/mountinfo";

/// A line of mountinfo.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    id: u64,
    parent: u64,
    origin: Origin,
    path: PathBuf,
    flags: MountFlags,
}

/// Adds `flags` to the mount at `target` and to all below it.
///
/// # Errors
///
/// The first mount that refuses them, unless it has the flags already, or it cannot be reached (the directory of an
/// automounter, a server that is gone) and was not to become read-only.
pub(super) fn add_flags(target: BorrowedFd<'_>, flags: MountFlags) -> Result<(), SysError> {
    let top = mount_id(target)?;
    let text = std::fs::read(MOUNTS).call("read", MOUNTS)?;
    let mounts: Vec<Mount> = text.split(|byte| *byte == b'\n').filter_map(parse).collect();
    if !mounts.iter().any(|mount| mount.id == top) {
        // Not reachable from this root, or hidden by the kernel: nothing is known about mounts below it.
        return Err(SysError::new("read", MOUNTS, Errno::NOENT));
    }
    let tree = tree(&mounts, top);
    for mount in tree.iter().filter(|mount| !mount.flags.contains(flags)) {
        let result = if mount.id == top { remount(target, mount, flags) } else { remount_at(mount, &tree, flags) };
        match result {
            Err(error) if is_unreachable(&error) && !flags.contains(MountFlags::RDONLY) => {}
            result => result?,
        }
    }
    Ok(())
}

/// Whether the error means that the mount cannot be reached: that of an automounter, a dead server, or another user.
fn is_unreachable(error: &SysError) -> bool {
    [Errno::ACCESS, Errno::NODEV, Errno::STALE, Errno::HOSTDOWN].iter().any(|errno| error.is(*errno))
}

/// Changes one mount of a tree by its path. A mount that another one of the tree covers stays as it is: nobody can reach
/// it, and it cannot be uncovered from an inner user namespace (`mount_namespaces(7)`).
fn remount_at(mount: &Mount, tree: &[&Mount], flags: MountFlags) -> Result<(), SysError> {
    let open = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let there: OwnedFd = match rustix::fs::openat(CWD, &mount.path, open, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) if is_covered(mount, tree) => return Ok(()),
        there => there.call("open", &mount.path)?,
    };
    match mount_id(there.as_fd())? {
        id if id == mount.id => remount(there.as_fd(), mount, flags),
        id if tree.iter().any(|other| other.id == id) => Ok(()),
        // Another process moves mounts.
        _ => Err(Errno::BUSY).call("mount", &mount.path),
    }
}

/// Whether another mount of the tree covers it.
fn is_covered(mount: &Mount, tree: &[&Mount]) -> bool {
    let above = |id| tree.iter().find(|other| other.id == id);
    let ancestors: BTreeSet<u64> =
        std::iter::successors(Some(mount), |mount| above(mount.parent).copied()).map(|mount| mount.id).collect();
    tree.iter().any(|other| !ancestors.contains(&other.id) && mount.path.starts_with(&other.path))
}

fn remount(at: BorrowedFd<'_>, mount: &Mount, flags: MountFlags) -> Result<(), SysError> {
    rustix::mount::mount_remount(path_of(at), MountFlags::BIND | mount.flags | flags, c"").call("mount", &mount.path)
}

/// Id of the mount that a descriptor is in, as in mountinfo.
///
/// # Errors
///
/// `/proc/self/fdinfo` cannot be read.
pub(crate) fn mount_id(fd: BorrowedFd<'_>) -> Result<u64, SysError> {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let text = std::fs::read_to_string(&path).call("read", &path)?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    id.ok_or_else(|| SysError::new("read", path, Errno::NOENT))
}

/// Origin of the files of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Device number of the file system, as in mountinfo.
    pub device: String,
    /// Directory of that file system that is the root of the mount.
    pub root: PathBuf,
}

/// Origin of the mount that a descriptor is in.
///
/// # Errors
///
/// `/proc` cannot be read, or lacks the mount.
pub(crate) fn origin(fd: BorrowedFd<'_>) -> Result<Origin, SysError> {
    let id = mount_id(fd)?;
    let text = std::fs::read(MOUNTS).call("read", MOUNTS)?;
    let found = text.split(|byte| *byte == b'\n').filter_map(parse).find(|mount| mount.id == id);
    found.map(|mount| mount.origin).ok_or_else(|| SysError::new("read", MOUNTS, Errno::NOENT))
}

/// The mounts at and below the mount `top`, parents first.
fn tree(mounts: &[Mount], top: u64) -> Vec<&Mount> {
    let mut inside = BTreeSet::from([top]);
    let mut found: Vec<&Mount> = mounts.iter().filter(|mount| mount.id == top).collect();
    // Children may be listed before their parents.
    loop {
        let more: Vec<&Mount> =
            mounts.iter().filter(|mount| inside.contains(&mount.parent) && !inside.contains(&mount.id)).collect();
        if more.is_empty() {
            return found;
        }
        inside.extend(more.iter().map(|mount| mount.id));
        found.extend(more);
    }
}

/// `ID PARENT MAJOR:MINOR ROOT PATH OPTIONS …`
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut number = || str::from_utf8(fields.next()?).ok()?.parse::<u64>().ok();
    let (id, parent) = (number()?, number()?);
    let device = String::from_utf8_lossy(fields.next()?).into_owned();
    let (root, path) = (unescaped(fields.next()?), unescaped(fields.next()?));
    let options = str::from_utf8(fields.next()?).ok()?;
    let flags = OPTIONS.iter().filter(|(name, _)| options.split(',').any(|option| option == *name));
    let flags = flags.fold(MountFlags::empty(), |flags, (_, flag)| flags | *flag);
    Some(Mount { id, parent, origin: Origin { device, root: root.into() }, path: path.into(), flags })
}

/// Decodes space, tab, newline and backslash, which mountinfo has as `\` and three octal digits.
fn unescaped(text: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        match code {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn mounts_below_one() {
        let text = br"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
40 39 0:30 / /a/b\040c/d ro,nosuid,nodev,noexec master:3 - tmpfs none rw
39 21 0:29 /x /a/b\040c rw,nosymfollow - tmpfs none rw
50 21 0:31 / /z\134\011 rw - autofs auto rw
not a line
41 40 0:32 / /a/b\040c/d ro - tmpfs none rw";
        let mounts: Vec<Mount> = text.split(|byte| *byte == b'\n').filter_map(parse).collect();
        assert_eq!(mounts.len(), 5);
        let ids = |top| tree(&mounts, top).iter().map(|mount| mount.id).collect::<Vec<_>>();
        assert_eq!(ids(39), [39, 40, 41]);
        assert_eq!(ids(50), [50]);
        assert_eq!(ids(21), [21, 39, 50, 40, 41]);
        assert_eq!(mounts[1].path, Path::new("/a/b c/d"));
        assert_eq!(mounts[2].origin, Origin { device: "0:29".into(), root: "/x".into() });
        assert_eq!(mounts[3].path, Path::new("/z\\\t"));
        let all = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        assert_eq!(mounts[1].flags, all);
        assert_eq!(mounts[2].flags.bits(), NOSYMFOLLOW.bits());
    }

    #[test]
    fn the_mount_of_a_descriptor() {
        let [proc, also, dev] = ["/proc", "/proc/self", "/dev"].map(|path| std::fs::File::open(path).unwrap());
        let id = |file: &std::fs::File| mount_id(file.as_fd()).unwrap();
        assert_eq!(id(&proc), id(&also));
        assert_ne!(id(&proc), id(&dev));
    }
}
