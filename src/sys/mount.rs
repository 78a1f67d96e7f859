//! Mounts. Targets are descriptors that were opened beneath the new root, so that an image cannot redirect them.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags,
};

use super::file::path_of;
use super::process::kernel_version;
use super::{Context as _, SysError, remount};

/// Mounts a new instance of a file system.
pub(crate) fn mount(
    kind: &'static str,
    target: impl AsRef<Path>,
    flags: MountFlags,
    data: &str,
) -> Result<(), SysError> {
    let data = CString::new(data).map_err(std::io::Error::from).call("mount", kind)?;
    rustix::mount::mount(kind, target.as_ref(), kind, flags, data.as_c_str()).call("mount", kind)
}

/// Binds `source` and all mounts below it.
pub(crate) fn bind(source: BorrowedFd<'_>, target: BorrowedFd<'_>, subject: &Path) -> Result<(), SysError> {
    rustix::mount::mount_bind_recursive(path_of(source), path_of(target)).call("mount", subject)
}

/// Makes all mounts of this namespace private: no mount propagates to the host or from it.
pub(crate) fn make_all_private() -> Result<(), SysError> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).call("mount", "/")
}

/// Unmounts `target`, at once for this namespace, and completely when its last user is gone.
pub(crate) fn detach(target: impl AsRef<Path>) -> Result<(), SysError> {
    rustix::mount::unmount(target.as_ref(), UnmountFlags::DETACH).call("umount", target)
}

/// Restrictions of a whole mount tree.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Restriction {
    /// Whether nothing can be written.
    pub read_only: bool,
    /// Whether device files have no function.
    pub no_devices: bool,
}

/// Restricts the mount at `target` and all below it; set-user-id bits are always ignored.
///
/// By `mount_setattr(2)` (Linux 5.12), or mount by mount.
pub(crate) fn restrict(target: BorrowedFd<'_>, restriction: Restriction, subject: &Path) -> Result<(), SysError> {
    /// Whether the call was found to be missing.
    static LACKING: AtomicBool = AtomicBool::new(false);
    if !LACKING.load(Ordering::Relaxed) {
        match set_attributes(target, restriction, subject) {
            // Older container engines answer EPERM to calls that they do not know.
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

/// Options of mount(2) for an overlay of the directories `lower`, uppermost first. `None` where they do not fit into the page
/// that mount(2) takes.
#[must_use]
pub(crate) fn overlay_options(lower: &[PathBuf], upper: &Path, work: &Path) -> Option<String> {
    let names: Vec<_> = lower.iter().map(|path| escape(path)).collect();
    let options = format!("userxattr,lowerdir={},upperdir={},workdir={}", names.join(":"), escape(upper), escape(work));
    (options.len() < rustix::param::page_size()).then_some(options)
}

/// Mounts an overlay over the directory `target` by mount(2). Relative paths in [`overlay_options`] start at `base`.
///
/// # Errors
/// EINVAL or EPERM where overlays are not for user namespaces (before Linux 5.11).
pub(crate) fn overlay(base: &Path, options: &str, target: &Path) -> Result<(), SysError> {
    rustix::process::chdir(base).call("chdir", base)?;
    mount("overlay", target, MountFlags::NODEV | MountFlags::NOSUID, options)
}

/// Mounts an overlay whose options do not fit into a page, by the newer mount calls, which take the lower directories one by
/// one (`lowerdir+`, Linux 6.8).
///
/// # Errors
/// As [`overlay`]; EINVAL before Linux 6.8.
pub(crate) fn overlay_of_many(
    base: &Path,
    lower: &[PathBuf],
    upper: &Path,
    work: &Path,
    target: &Path,
) -> Result<(), SysError> {
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

/// Whether an overlay can have that many lower directories: the kernel accepts 500, and before Linux 6.8 only as many as
/// fit into its page of options, a quarter of which is left for the other options.
#[must_use]
pub(crate) fn overlay_takes(lower: &[PathBuf]) -> bool {
    let names: usize = lower.iter().map(|path| escape(path).len() + 1).sum();
    lower.len() <= 500 && (names < rustix::param::page_size() / 4 * 3 || kernel_version() >= (6, 8))
}

/// Escapes a path for the options of an overlay, in which a comma ends an option and a colon a directory.
fn escape(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace(',', "\\,").replace(':', "\\:")
}

/// Creates an instance of a file system that is mounted nowhere: it lives as long as the descriptor, and no path leads to
/// it.
///
/// # Errors
///
/// ENOSYS before Linux 5.2.
pub(crate) fn detached(kind: &'static str) -> Result<OwnedFd, SysError> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).call("fsopen", kind)?;
    create(&context, kind, MountAttrFlags::MOUNT_ATTR_NOSUID)
}

fn create(context: &OwnedFd, kind: &'static str, attributes: MountAttrFlags) -> Result<OwnedFd, SysError> {
    rustix::mount::fsconfig_create(context).call("fsconfig", kind)?;
    rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).call("fsmount", kind)
}
