//! Mounts. Targets are named by a descriptor that was opened beneath the new root, so that nothing
//! an image contains can redirect them.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags,
};

use super::process::kernel_version;
use super::{Context as _, SysError, remount};

/// The name by which mount(2), which takes no descriptor, reaches `fd`.
#[must_use]
pub(crate) fn path_of(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Mounts a new instance of a file system.
///
/// # Errors
/// The kernel's.
pub(crate) fn mount(
    kind: &'static str,
    target: impl AsRef<Path>,
    flags: MountFlags,
    data: &str,
) -> Result<(), SysError> {
    let data = CString::new(data).map_err(std::io::Error::from).call("mount", kind)?;
    rustix::mount::mount(kind, target.as_ref(), kind, flags, data.as_c_str()).call("mount", kind)
}

/// Binds `source` and all that is mounted below it.
///
/// # Errors
/// The kernel's.
pub(crate) fn bind(source: BorrowedFd<'_>, target: BorrowedFd<'_>, subject: &Path) -> Result<(), SysError> {
    rustix::mount::mount_bind_recursive(path_of(source), path_of(target)).call("mount", subject)
}

/// Cuts this mount namespace off: nothing mounted here shows outside, nor the other way round.
///
/// # Errors
/// The kernel's.
pub(crate) fn make_all_private() -> Result<(), SysError> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).call("mount", "/")
}

/// Unmounts `target`, at once for this namespace, for good when the last user is gone.
///
/// # Errors
/// The kernel's.
pub(crate) fn detach(target: impl AsRef<Path>) -> Result<(), SysError> {
    rustix::mount::unmount(target.as_ref(), UnmountFlags::DETACH).call("umount", target)
}

/// Flags for a whole mount tree.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Restriction {
    /// Nothing can be written.
    pub read_only: bool,
    /// Device files do nothing.
    pub no_devices: bool,
}

/// Restricts the mount at `target` and all below it; set-user-id bits are always ignored.
///
/// By `mount_setattr(2)` (Linux 5.12), else mount by mount.
///
/// # Errors
/// The kernel's.
pub(crate) fn restrict(target: BorrowedFd<'_>, restriction: Restriction, subject: &Path) -> Result<(), SysError> {
    /// Whether the call was found to be missing.
    static LACKING: AtomicBool = AtomicBool::new(false);
    if !LACKING.load(Ordering::Relaxed) {
        match set_attributes(target, restriction, subject) {
            // EPERM is what older container engines answer to calls they do not know.
            Err(error) if error.is(Errno::NOSYS) || error.is(Errno::PERM) => LACKING.store(true, Ordering::Relaxed),
            result => return result,
        }
    }
    let mut flags = MountFlags::NOSUID;
    flags.set(MountFlags::RDONLY, restriction.read_only);
    flags.set(MountFlags::NODEV, restriction.no_devices);
    remount::add_flags(target, flags)
}

fn set_attributes(target: BorrowedFd<'_>, restriction: Restriction, subject: &Path) -> Result<(), SysError> {
    let mut attributes =
        libc::mount_attr { attr_set: libc::MOUNT_ATTR_NOSUID, attr_clr: 0, propagation: 0, userns_fd: 0 };
    if restriction.read_only {
        attributes.attr_set |= libc::MOUNT_ATTR_RDONLY;
    }
    if restriction.no_devices {
        attributes.attr_set |= libc::MOUNT_ATTR_NODEV;
    }
    let path = CString::new(path_of(target).into_os_string().into_encoded_bytes()).unwrap_or_default();
    // SAFETY: the path is a C string and the attributes a struct of the size given, both alive for
    // the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 { Err(std::io::Error::last_os_error()).call("mount_setattr", subject) } else { Ok(()) }
}

/// Mounts an overlay over the directory `target`.
///
/// `base` is the directory that holds the lower directories, which are given relative to it,
/// uppermost first: short names, because mount(2) takes one page of options. Where they do not fit
/// into it the new mount calls take them one by one (`lowerdir+`, Linux 6.8).
///
/// # Errors
/// The kernel's: EINVAL or EPERM where overlays are not for user namespaces (before Linux 5.11).
pub(crate) fn overlay(
    base: &Path,
    lower: &[PathBuf],
    upper: &Path,
    work: &Path,
    target: &Path,
) -> Result<(), SysError> {
    let names: Vec<_> = lower.iter().map(|path| escape(path)).collect();
    let data = format!("userxattr,lowerdir={},upperdir={},workdir={}", names.join(":"), escape(upper), escape(work));
    let page = rustix::param::page_size();
    if data.len() < page {
        rustix::process::chdir(base).call("chdir", base)?;
        return mount("overlay", target, MountFlags::NODEV | MountFlags::NOSUID, &data);
    }
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).call("fsopen", "overlay")?;
    let set =
        |key: &str, value: &Path| rustix::mount::fsconfig_set_string(&context, key, value).call("fsconfig", value);
    rustix::mount::fsconfig_set_flag(&context, "userxattr").call("fsconfig", "userxattr")?;
    for path in lower {
        set("lowerdir+", &base.join(path))?;
    }
    set("upperdir", upper)?;
    set("workdir", work)?;
    let mount = create(&context, "overlay", MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID)?;
    rustix::mount::move_mount(mount.as_fd(), "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .call("move_mount", target)
}

/// Whether [`overlay`] can mount that many lower directories: the kernel takes 500 of them, and before
/// Linux 6.8 only what fits into its page of options, of which a quarter is left for the other ones.
#[must_use]
pub(crate) fn overlay_takes(lower: &[PathBuf]) -> bool {
    let names: usize = lower.iter().map(|path| escape(path).len() + 1).sum();
    lower.len() <= 500 && (names < rustix::param::page_size() / 4 * 3 || kernel_version() >= (6, 8))
}

/// In the option string of an overlay a comma ends an option and a colon a directory.
fn escape(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace(',', "\\,").replace(':', "\\:")
}

/// A new instance of a file system that is mounted nowhere: it lives while the descriptor does, and
/// no path leads to it.
///
/// # Errors
/// The kernel's: ENOSYS before Linux 5.2.
pub(crate) fn detached(kind: &'static str) -> Result<OwnedFd, SysError> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).call("fsopen", kind)?;
    create(&context, kind, MountAttrFlags::MOUNT_ATTR_NOSUID)
}

fn create(context: &OwnedFd, kind: &'static str, attributes: MountAttrFlags) -> Result<OwnedFd, SysError> {
    rustix::mount::fsconfig_create(context).call("fsconfig", kind)?;
    rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).call("fsmount", kind)
}
