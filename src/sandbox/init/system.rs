//! Mounts `/proc`, `/sys` and `/dev` in the root.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::limits::allowed_cpus;
use super::mount_point::{make_file, restrict_at};
use super::privileges::limit_user_namespaces;
use crate::fs::beneath::{self, Links};
use crate::sandbox::plan::Device;
use crate::sys::file::path_of;
use crate::sys::mount::{Restriction, bind, mount};
use crate::sys::net::open_low_ports;
use crate::sys::{Context as _, SysError};

/// Files of the kernel that user 0 of the host may write because of their owner, without a capability; most settings
/// check no more (`core_pattern` is a program that the kernel starts as root). An ordinary caller may not, so these
/// mounts are made for root alone. The list is podman's.
const READ_ONLY: [&str; 5] = ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"];
/// Files hidden from root by an empty directory or `/dev/null`.
const HIDDEN: [&str; 21] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/mtrr",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/slabinfo",
    "/proc/timer_list",
    "/proc/vmallocinfo",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/bpf",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
];

/// Sets the host name, and the part after its first dot as the domain name.
pub(super) fn name_host(name: &str) -> Result<(), SysError> {
    rustix::system::sethostname(name.as_bytes()).call("sethostname", name)?;
    match name.split_once('.') {
        Some((_, domain)) => rustix::system::setdomainname(domain.as_bytes()).call("setdomainname", domain),
        None => Ok(()),
    }
}

/// Withholds from a caller who is root what the kernel grants to user 0 without a capability. After `/proc` and `/sys`
/// are mounted, before a bind could copy them.
pub(super) fn withhold_from_root(root: &OwnedFd) -> Result<(), SysError> {
    for path in READ_ONLY.map(Path::new) {
        if let Some(there) = existing(root, path)? {
            bind(there.as_fd(), there.as_fd(), path)?;
            restrict_at(root, path, Restriction { read_only: true, no_devices: true })?;
        }
    }
    let null =
        rustix::fs::open("/dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call("open", "/dev/null")?;
    for path in HIDDEN.map(Path::new) {
        let Some(there) = existing(root, path)? else { continue };
        if rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&there).call("stat", path)?.st_mode).is_dir() {
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
            mount("tmpfs", path_of(there.as_fd()), flags, "mode=0755,size=4k")?;
        } else {
            bind(null.as_fd(), there.as_fd(), path)?;
            restrict_at(root, path, KEPT)?;
        }
    }
    Ok(())
}

/// Restriction for a device of the host: its data can be written, its mode, owner and times cannot (EROFS).
const KEPT: Restriction = Restriction { read_only: true, no_devices: false };

/// Protects the nodes of the host's devices from a caller who is root and owns them. The kernel protects them from all
/// others.
pub(super) fn keep_devices(root: &OwnedFd, devices: &[Device]) -> Result<(), SysError> {
    devices.iter().try_for_each(|device| restrict_at(root, &Path::new("/dev").join(device.name()), KEPT))
}

/// Opens `path`, which not every kernel has.
fn existing(root: &OwnedFd, path: &Path) -> Result<Option<OwnedFd>, SysError> {
    match beneath::find(root, path, Links::Refuse) {
        Err(Errno::NOENT) => Ok(None),
        found => found.map(Some).call("open", path),
    }
}

/// Makes a directory for a system mount: a link of that name is not followed.
fn system_directory(root: &OwnedFd, path: &'static str) -> Result<OwnedFd, SysError> {
    beneath::find(root, Path::new(path), Links::Refuse).call("open", path)
}

/// Mounts `/proc` of the new pid namespace, and makes the settings in it before it is covered. Those of the network are
/// made only if the network namespace is the sandbox's `own`.
pub(super) fn proc(root: &OwnedFd, own_network: bool) -> Result<(), SysError> {
    let target = system_directory(root, "/proc")?;
    mount("proc", path_of(target.as_fd()), MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, "")?;
    let proc = system_directory(root, "/proc")?;
    if own_network {
        open_low_ports(proc.as_fd());
    }
    limit_user_namespaces(proc.as_fd())
}

/// Mounts `/sys`. A new sysfs shows the new network namespace; with the host's network, or where a new one is not
/// allowed, the host's is shown. It is read-only in any case.
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

/// Makes `/sys` show at most `count` processors, which is where glibc looks. After `/dev`, in which the file for that is
/// made.
pub(super) fn show_cpus(root: &OwnedFd, count: u32) -> Result<(), SysError> {
    const NAME: &str = ".online";
    let path = Path::new("/sys/devices/system/cpu/online");
    let Some(there) = existing(root, path)? else { return Ok(()) };
    let shown = allowed_cpus()?.len().min(usize::try_from(count).unwrap_or(usize::MAX));
    let text = if shown > 1 { format!("0-{}\n", shown - 1) } else { "0\n".to_owned() };
    let dev = system_directory(root, "/dev")?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&dev, NAME, flags, Mode::from_raw_mode(0o444)).call("open", NAME)?;
    rustix::io::write(&file, text.as_bytes()).call("write", NAME)?;
    bind(file.as_fd(), there.as_fd(), path)?;
    restrict_at(root, path, Restriction { read_only: true, no_devices: true })?;
    rustix::fs::unlinkat(&dev, NAME, AtFlags::empty()).call("unlink", NAME)
}

pub(super) fn dev(root: &OwnedFd, devices: &[Device]) -> Result<(), SysError> {
    let target = system_directory(root, "/dev")?;
    // As large as a tmpfs is by default, half of the memory: programs that share memory need more than the 64 MB of
    // docker, and the root can take as much.
    mount("tmpfs", path_of(target.as_fd()), MountFlags::NOSUID | MountFlags::NOEXEC, "mode=0755")?;
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
