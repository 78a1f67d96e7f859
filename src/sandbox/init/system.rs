//! What the system mounts into every root: `/proc`, `/sys` and `/dev`.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::root::{make_file, restrict_at};
use crate::fs::beneath::{self, Links};
use crate::sandbox::plan::Device;
use crate::sys::mount::{Restriction, bind, mount, path_of};
use crate::sys::{Context as _, SysError};

/// A directory that the system will be mounted over: itself, not what a link leads to.
fn system_directory(root: &OwnedFd, path: &'static str) -> Result<OwnedFd, SysError> {
    beneath::find(root, Path::new(path), Links::Refuse).call("open", path)
}

pub(super) fn proc(root: &OwnedFd) -> Result<(), SysError> {
    let target = system_directory(root, "/proc")?;
    mount("proc", path_of(target.as_fd()), MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, "")
}

/// A new sysfs shows the new network namespace; with the host's network, or where a new one is not
/// allowed, the host's own is shown. Read-only in any case.
pub(super) fn sys(root: &OwnedFd) -> Result<(), SysError> {
    let target = system_directory(root, "/sys")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    match mount("sysfs", path_of(target.as_fd()), flags, "") {
        Err(error) if error.is(Errno::PERM) => {
            let host = rustix::fs::open("/sys", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call("open", "/sys")?;
            bind(host.as_fd(), target.as_fd(), Path::new("/sys"))?;
            restrict_at(root, Path::new("/sys"), Restriction { read_only: true, no_devices: true })
        }
        result => result,
    }
}

pub(super) fn dev(root: &OwnedFd, devices: &[Device]) -> Result<(), SysError> {
    let target = system_directory(root, "/dev")?;
    mount("tmpfs", path_of(target.as_fd()), MountFlags::NOSUID, "mode=0755,size=64m")?;
    let dev = system_directory(root, "/dev")?;
    for device in devices {
        let name = device.name();
        let host = Path::new("/dev").join(name);
        let source = rustix::fs::open(&host, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call("open", &host)?;
        let target = make_file(&dev, OsStr::new(name)).call("open", &host)?;
        bind(source.as_fd(), target.as_fd(), &host)?;
    }
    for (name, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
        ("ptmx", "pts/ptmx"),
        ("core", "/proc/kcore"),
    ] {
        rustix::fs::symlinkat(to, &dev, name).call("symlink", Path::new("/dev").join(name))?;
    }
    for (name, mode) in [("pts", 0o755), ("shm", 0o1777)] {
        mkdirat(&dev, name, Mode::from_raw_mode(0o755)).call("mkdir", Path::new("/dev").join(name))?;
        rustix::fs::chmodat(&dev, name, Mode::from_raw_mode(mode), AtFlags::empty())
            .call("chmod", Path::new("/dev").join(name))?;
    }
    let pts = system_directory(root, "/dev/pts")?;
    mount(
        "devpts",
        path_of(pts.as_fd()),
        MountFlags::NOSUID | MountFlags::NOEXEC,
        "newinstance,ptmxmode=0666,mode=0620",
    )
}
