//! The new root, and the move into it.
//!
//! Every target is a descriptor opened beneath the new root: an image's symbolic links lead nowhere
//! else (CVE-2021-30465 and its kin). System mounts do not follow links at all.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timestamps, mkdirat};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::{Step as _, StepError, system};
use crate::fs::beneath::{self, Links};
use crate::rootfs::InjectedFile;
use crate::sandbox::plan::{Mount, Plan, Root, Scratch};
use crate::sandbox::policy::Bind;
use crate::sys::mount::{Restriction, bind, detach, mount, overlay, path_of, restrict};
use crate::sys::{Context as _, SysError};

/// Builds the root of the plan and makes it this process's.
pub(super) fn build(plan: &Plan) -> Result<(), StepError> {
    let sources = open_sources(plan)?;
    let Root { rootfs, files, scratch } = &plan.root;
    let scratch = match scratch {
        Scratch::Memory(scratch) => {
            let quiet = MountFlags::NOSUID | MountFlags::NODEV;
            mount("tmpfs", scratch, quiet, "mode=0755").step("mounting scratch space")?;
            scratch
        }
        Scratch::Disk(scratch) => scratch,
    };
    let [root, upper, work] = ["root", "upper", "work"].map(|name| scratch.join(name));
    for directory in [&root, &upper, &work] {
        rustix::fs::mkdir(directory, Mode::from_raw_mode(0o755))
            .call("mkdir", directory)
            .step("preparing scratch space")?;
    }
    // The mode of the overlay's root is that of the upper directory, which the umask must not touch.
    let (mode, mtime) = rootfs.root_attributes().call("statx", &rootfs.base).step("preparing scratch space")?;
    rustix::fs::chmod(&upper, mode).call("chmod", &upper).step("preparing scratch space")?;
    overlay(&rootfs.base, &rootfs.lower, &upper, &work, &root).step("mounting the image's layers")?;
    let root = rustix::fs::open(&root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .call("open", &root)
        .step("opening the new root")?;
    for file in files {
        write_file(&root, file).step("writing files under /etc")?;
    }
    let mut sources = sources.into_iter();
    for step in &plan.mounts {
        match step {
            Mount::Directory { path, mode } => {
                make_directory(&root, path, *mode).step("making a directory")?;
            }
            Mount::Proc => system::proc(&root).step("mounting /proc")?,
            Mount::Sys => system::sys(&root).step("mounting /sys")?,
            Mount::Dev(devices) => system::dev(&root, devices).step("mounting /dev")?,
            Mount::Bind(wanted) => {
                if let Some(source) = sources.next() {
                    bind_into(&root, &source, wanted).step("mounting a directory of the host")?;
                }
            }
        }
    }
    let times = Timestamps { last_access: mtime, last_modification: mtime };
    rustix::fs::utimensat(CWD, path_of(root.as_fd()), &times, AtFlags::empty())
        .call("utimensat", "/")
        .step("making a directory")?;
    enter(&root).step("entering the new root")
}

/// Opens what will be bound, before any mount could hide it.
fn open_sources(plan: &Plan) -> Result<Vec<OwnedFd>, StepError> {
    let binds = plan.mounts.iter().filter_map(|mount| match mount {
        Mount::Bind(bind) => Some(&bind.source),
        _ => None,
    });
    let open =
        |source: &PathBuf| rustix::fs::open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call("open", source);
    binds.map(open).collect::<Result<_, _>>().step("opening a directory of the host")
}

/// Opens a directory inside, made if it is missing together with its parents.
fn make_directory(root: &OwnedFd, path: &Path, mode: u32) -> Result<OwnedFd, SysError> {
    let mut walked = PathBuf::new();
    let mut here = beneath::find(root, &walked, Links::Follow).call("open", "/")?;
    let names: Vec<&OsStr> = path
        .components()
        .filter_map(|part| if let Component::Normal(name) = part { Some(name) } else { None })
        .collect();
    for (position, name) in names.iter().enumerate() {
        walked.push(name);
        let last = position + 1 == names.len();
        here = match beneath::find(root, &walked, Links::Follow) {
            Err(Errno::NOENT) => {
                let bits = if last { mode } else { 0o755 };
                mkdirat(&here, *name, Mode::from_raw_mode(bits)).call("mkdir", &walked)?;
                let new = beneath::find(root, &walked, Links::Follow).call("open", &walked)?;
                // The umask took its part; the sticky bit of /tmp is not its business.
                rustix::fs::chmod(path_of(new.as_fd()), Mode::from_raw_mode(bits)).call("chmod", &walked)?;
                new
            }
            found => found.call("open", &walked)?,
        };
    }
    Ok(here)
}

/// An empty file to bind a file over.
pub(super) fn make_file(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    drop(rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644))?);
    rustix::fs::openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Puts a file of the run in the place of the image's, which may be a link to anywhere.
fn write_file(root: &OwnedFd, file: &InjectedFile) -> Result<(), SysError> {
    let path = Path::new(file.path);
    let (parent, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
    let parent = make_directory(root, parent, 0o755)?;
    match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno).call("unlink", path),
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let made = rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644)).call("open", path)?;
    File::from(made).write_all(file.content.as_bytes()).call("write", path)
}

fn bind_into(root: &OwnedFd, source: &OwnedFd, wanted: &Bind) -> Result<(), SysError> {
    let Bind { source: path, target, read_only } = wanted;
    let is_directory =
        rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(source).call("stat", path)?.st_mode).is_dir();
    let onto = match beneath::find(root, target, Links::Follow) {
        Ok(found) => found,
        Err(Errno::NOENT) if is_directory => make_directory(root, target, 0o755)?,
        Err(Errno::NOENT) => {
            let parent = make_directory(root, target.parent().unwrap_or(Path::new("/")), 0o755)?;
            make_file(&parent, target.file_name().unwrap_or_default()).call("open", target)?
        }
        Err(errno) => return Err(errno).call("open", target),
    };
    bind(source.as_fd(), onto.as_fd(), path)?;
    restrict_at(root, target, Restriction { read_only: *read_only, no_devices: true })
}

/// Restricts what is mounted at `path`: the mount that lies there now, not the directory beneath it.
pub(super) fn restrict_at(root: &OwnedFd, path: &Path, restriction: Restriction) -> Result<(), SysError> {
    let mounted: OwnedFd = beneath::find(root, path, Links::Follow).call("open", path)?;
    let fd: BorrowedFd<'_> = mounted.as_fd();
    restrict(fd, restriction, path)
}

/// `pivot_root(2)` with the old root stacked on the new one, then dropped.
fn enter(root: &OwnedFd) -> Result<(), SysError> {
    rustix::process::fchdir(root).call("fchdir", "the new root")?;
    rustix::process::pivot_root(".", ".").call("pivot_root", "the new root")?;
    detach(".")?;
    rustix::process::chdir("/").call("chdir", "/")
}
