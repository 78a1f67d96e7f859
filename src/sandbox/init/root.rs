//! The new root, and the move into it.
//!
//! Every target is a descriptor opened beneath the new root: an image's symbolic links lead nowhere
//! else (CVE-2021-30465 and its kin). System mounts do not follow links at all.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timestamps, mkdirat};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::skeleton::{self, Skeleton};
use super::streams::Streams;
use super::{Step as _, StepError, system};
use crate::fs::beneath::{self, Links};
use crate::rootfs::Rootfs;
use crate::sandbox::plan::{Mount, Plan, Root, Rung, Scratch};
use crate::sandbox::policy::{Bind, Network, Shared};
use crate::sys::mount::{Restriction, bind, detach, mount, overlay, path_of, restrict};
use crate::sys::{Context as _, SysError};

/// Builds the root of the plan and makes it this process's. In it `streams` are opened again.
pub(super) fn build(plan: &Plan, streams: &mut Streams) -> Result<(), StepError> {
    let sources = open_sources(plan)?;
    let Root { rootfs, files, scratch, rung } = &plan.root;
    let scratch = match scratch {
        Scratch::Memory(scratch) => {
            let quiet = MountFlags::NOSUID | MountFlags::NODEV;
            mount("tmpfs", scratch, quiet, "mode=0755").step("mounting scratch space")?;
            scratch
        }
        Scratch::Disk(scratch) => scratch,
    };
    let (mode, mtime) = rootfs.root_attributes().call("statx", &rootfs.base).step("preparing scratch space")?;
    let mut root = match rung {
        Rung::Overlay => NewRoot { fd: overlaid(rootfs, scratch, mode)?, skeleton: None },
        Rung::Copy => NewRoot { fd: private(&scratch.join(Scratch::TREE)).step("mounting the copy")?, skeleton: None },
        Rung::Merged => {
            let (fd, mut skeleton) = skeleton::compose(rootfs, scratch).step("mounting the merged layers")?;
            let home = plan.environment.iter().find(|(name, _)| name == "HOME").map(|(_, home)| Path::new(home));
            skeleton.open_places(&fd, home).step("making room for what is written")?;
            NewRoot { fd, skeleton: Some(skeleton) }
        }
    };
    for file in files {
        write_file(&mut root, Path::new(file.path), file.content.as_bytes(), 0o644).step("writing files under /etc")?;
    }
    let mut sources = sources.into_iter();
    for step in &plan.mounts {
        match step {
            Mount::Directory { path, mode } => {
                make_directory(&mut root, path, *mode).step("making a directory")?;
            }
            Mount::Proc => {
                system::proc(&root.fd, plan.network == Network::None).step("mounting /proc")?;
            }
            Mount::Sys => {
                system::sys(&root.fd).step("mounting /sys")?;
                if plan.caller.0 == 0 {
                    system::withhold_from_root(&root.fd).step("covering parts of /proc and /sys")?;
                }
            }
            Mount::Dev(devices) => {
                system::dev(&root.fd, devices).step("mounting /dev")?;
                if plan.caller.0 == 0 {
                    system::keep_devices(&root.fd, devices).step("mounting /dev")?;
                }
                streams.open_in(&root.fd, plan.terminal, plan.caller.0 == 0).step("opening the standard streams")?;
                if let Some(count) = plan.nproc {
                    system::show_cpus(&root.fd, count).step("choosing processors")?;
                }
            }
            Mount::Bind(wanted) | Mount::Shared(Shared { bind: wanted, .. }) => {
                if let Some(source) = sources.next() {
                    bind_into(&mut root, &source, wanted).step("mounting a directory of the host")?;
                }
            }
            Mount::Again { source, target } => {
                bind_again(&mut root, source, target).step("putting a tool into its place")?;
            }
            Mount::Link { path, target } => make_link(&mut root, path, target).step("making a link")?,
            Mount::Program { path, content } => {
                write_file(&mut root, path, content, 0o755).step("writing a program")?;
            }
        }
    }
    let times = Timestamps { last_access: mtime, last_modification: mtime };
    rustix::fs::utimensat(CWD, path_of(root.fd.as_fd()), &times, AtFlags::empty())
        .call("utimensat", "/")
        .step("making a directory")?;
    enter(&root.fd).step("entering the new root")
}

/// The step that fails where overlays are refused.
pub(in crate::sandbox) const OVERLAY_STEP: &str = "mounting the image's layers";

/// The step that fails where something of the host is not there any more, or not the same.
pub(in crate::sandbox) const SOURCES_STEP: &str = "opening a directory of the host";

/// A root that is being furnished.
struct NewRoot {
    fd: OwnedFd,
    /// What a read-only one can be opened with.
    skeleton: Option<Skeleton>,
}

impl NewRoot {
    /// Where something failed because `here`, the directory at `path`, is read-only: the same, opened.
    fn opened(&mut self, here: &OwnedFd, path: &Path) -> Result<OwnedFd, SysError> {
        let skeleton = self.skeleton.as_mut().ok_or(Errno::ROFS).call("open", path)?;
        skeleton.open(&self.fd, here, path)
    }
}

/// The layers, with what is written to them in `scratch`.
fn overlaid(rootfs: &Rootfs, scratch: &Path, mode: Mode) -> Result<OwnedFd, StepError> {
    let [root, upper, work] = ["root", "upper", "work"].map(|name| scratch.join(name));
    for directory in [&root, &upper, &work] {
        rustix::fs::mkdir(directory, Mode::from_raw_mode(0o755))
            .call("mkdir", directory)
            .step("preparing scratch space")?;
    }
    // The mode of the overlay's root is that of the upper directory, which the umask must not touch.
    rustix::fs::chmod(&upper, mode).call("chmod", &upper).step("preparing scratch space")?;
    overlay(&rootfs.base, &rootfs.lower, &upper, &work, &root).step(OVERLAY_STEP)?;
    open_root(&root).step("opening the new root")
}

/// A tree that is this run's alone.
fn private(tree: &Path) -> Result<OwnedFd, SysError> {
    let own = open_root(tree)?;
    bind(own.as_fd(), own.as_fd(), tree)?;
    let root = open_root(tree)?;
    restrict(root.as_fd(), Restriction { read_only: false, no_devices: true }, tree)?;
    Ok(root)
}

fn open_root(path: &Path) -> Result<OwnedFd, SysError> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).call("open", path)
}

/// Opens what will be bound, before any mount could hide it. What the caller shares was opened before, in the caller's
/// mount namespace, and must still be what its path leads to.
fn open_sources(plan: &Plan) -> Result<Vec<OwnedFd>, StepError> {
    let open = |mount: &Mount| match mount {
        Mount::Bind(Bind { source, .. }) => {
            Some(rustix::fs::open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call("open", source))
        }
        Mount::Shared(shared) => Some(shared.source.again().call("open", &shared.bind.source)),
        _ => None,
    };
    plan.mounts.iter().filter_map(open).collect::<Result<_, _>>().step(SOURCES_STEP)
}

/// Opens a directory inside, made if it is missing together with its parents.
fn make_directory(root: &mut NewRoot, path: &Path, mode: u32) -> Result<OwnedFd, SysError> {
    let path = Path::new("/").join(beneath::plain(path));
    match (beneath::find(&root.fd, &path, Links::Follow), path.parent(), path.file_name()) {
        (Err(Errno::NOENT), Some(above), Some(name)) => {
            let parent = make_directory(root, above, 0o755)?;
            let bits = Mode::from_raw_mode(mode);
            match mkdirat(&parent, name, bits) {
                Err(Errno::ROFS) => mkdirat(root.opened(&parent, above)?, name, bits),
                result => result,
            }
            .call("mkdir", &path)?;
            let new = beneath::find(&root.fd, &path, Links::Follow).call("open", &path)?;
            // The umask took its part; the sticky bit of /tmp is not its business.
            rustix::fs::chmod(path_of(new.as_fd()), bits).call("chmod", &path)?;
            Ok(new)
        }
        (found, ..) => found.call("open", &path),
    }
}

/// Makes a link at `path`, unless something is there, in a directory that is.
fn make_link(root: &mut NewRoot, path: &Path, target: &Path) -> Result<(), SysError> {
    let (parent, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
    let directory = beneath::find(&root.fd, parent, Links::Follow).call("open", parent)?;
    let made = match rustix::fs::symlinkat(target, &directory, name) {
        Err(Errno::ROFS) => rustix::fs::symlinkat(target, root.opened(&directory, parent)?, name),
        made => made,
    };
    match made {
        Err(Errno::EXIST) => Ok(()),
        made => made.call("symlink", path),
    }
}

/// An empty file to bind a file over.
pub(super) fn make_file(parent: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644))
}

/// Puts a file of the run in the place of the image's, which may be a link to anywhere.
fn write_file(root: &mut NewRoot, path: &Path, content: &[u8], bits: u32) -> Result<(), SysError> {
    let (parent, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
    let mut directory = make_directory(root, parent, 0o755)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let create = |directory: &OwnedFd| match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(bits)),
        Err(errno) => Err(errno),
    };
    let made = match create(&directory) {
        Err(Errno::ROFS) => {
            directory = root.opened(&directory, parent)?;
            create(&directory)
        }
        made => made,
    };
    let made = match made {
        // The image's own is bound here.
        Err(Errno::BUSY) => {
            let bound = rustix::fs::openat(&directory, name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty());
            detach(path_of(bound.call("open", path)?.as_fd()))?;
            create(&directory)
        }
        made => made,
    };
    File::from(made.call("open", path)?).write_all(content).call("write", path)
}

fn bind_into(root: &mut NewRoot, source: &OwnedFd, wanted: &Bind) -> Result<(), SysError> {
    let Bind { source: path, target, read_only } = wanted;
    let is_directory =
        rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(source).call("stat", path)?.st_mode).is_dir();
    let onto = match find_target(&root.fd, target) {
        Ok(found) => found,
        Err(Errno::NOENT) if is_directory => make_directory(root, target, 0o755)?,
        Err(Errno::NOENT) => {
            let (above, name) = (target.parent().unwrap_or(Path::new("/")), target.file_name().unwrap_or_default());
            let parent = make_directory(root, above, 0o755)?;
            match make_file(&parent, name) {
                Err(Errno::ROFS) => make_file(&root.opened(&parent, above)?, name),
                made => made,
            }
            .call("open", target)?
        }
        Err(errno) => return Err(errno).call("open", target),
    };
    bind(source.as_fd(), onto.as_fd(), path)?;
    restrict_at(&root.fd, target, Restriction { read_only: *read_only, no_devices: true })
}

/// What a mount at `target` covers. Links of the image count, but not where they lead to what the sandbox itself rests on:
/// with a project for its `/proc`, init would read and write files of the project.
fn find_target(root: &OwnedFd, target: &Path) -> Result<OwnedFd, Errno> {
    const SYSTEM: [&str; 3] = ["/proc", "/sys", "/dev"];
    match beneath::find(root, target, Links::Refuse) {
        Err(Errno::LOOP) => {}
        found => return found,
    }
    let found = beneath::find(root, target, Links::Follow)?;
    let [top, place] = [root, &found].map(|fd| rustix::fs::readlink(path_of(fd.as_fd()), Vec::new()));
    let (top, place) = (top?.into_bytes(), place?.into_bytes());
    let inside = Path::new(OsStr::from_bytes(&place)).strip_prefix(OsStr::from_bytes(&top)).map_err(|_| Errno::XDEV)?;
    let inside = Path::new("/").join(inside);
    let is_system = inside == Path::new("/") || SYSTEM.iter().any(|system| inside.starts_with(system));
    if is_system { Err(Errno::LOOP) } else { Ok(found) }
}

/// Has what is in the root at `source` at `target` too.
fn bind_again(root: &mut NewRoot, source: &Path, target: &Path) -> Result<(), SysError> {
    let found = beneath::find(&root.fd, source, Links::Follow).call("open", source)?;
    bind_into(root, &found, &Bind { source: source.to_owned(), target: target.to_owned(), read_only: true })
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
