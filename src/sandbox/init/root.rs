//! Builds the new root and enters it.
//!
//! Every target is a descriptor that was opened beneath the new root, so that symbolic links of an image cannot lead
//! elsewhere (CVE-2021-30465 and similar). System mounts follow no links at all.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timestamps, mkdirat};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::mount_point::{make_file, restrict_at};
use super::skeleton::{self, Skeleton};
use super::streams::Streams;
use super::system;
use crate::fs::beneath::{self, Links};
use crate::rootfs::Rootfs;
use crate::sandbox::plan::{Mount, Plan, Root, RootStrategy, Scratch};
use crate::sandbox::policy::{Bind, Network, Shared};
use crate::sandbox::step::{AtStep as _, Step, StepError};
use crate::sys::file::path_of;
use crate::sys::mount::{Restriction, bind, detach, mount, overlay, overlay_of_many, overlay_options, restrict};
use crate::sys::{Context as _, SysError};

/// Builds the root of the plan and enters it. `streams` are reopened in it.
pub(super) fn build(plan: &Plan, streams: &mut Streams) -> Result<(), StepError> {
    let sources = open_sources(plan)?;
    let Root { rootfs, files, scratch, strategy } = &plan.root;
    let scratch = match scratch {
        Scratch::Memory(scratch) => {
            let quiet = MountFlags::NOSUID | MountFlags::NODEV;
            mount("tmpfs", scratch, quiet, "mode=0755").at(Step::MountScratch)?;
            scratch
        }
        Scratch::Disk(scratch) => scratch,
    };
    let (mode, mtime) = rootfs.root_attributes().call("statx", &rootfs.base).at(Step::PrepareScratch)?;
    let mut root = match strategy {
        RootStrategy::Overlay => NewRoot { fd: overlaid(rootfs, scratch, mode)?, skeleton: None },
        RootStrategy::Copy => {
            NewRoot { fd: private(&scratch.join(Scratch::TREE)).at(Step::MountCopy)?, skeleton: None }
        }
        RootStrategy::Merged => {
            let (fd, mut skeleton) = skeleton::compose(rootfs, scratch).at(Step::MountMergedTree)?;
            let home = plan.policy.environment.iter().find(|(name, _)| name == "HOME").map(|(_, home)| Path::new(home));
            skeleton.open_places(&fd, home).at(Step::OpenWritablePlaces)?;
            NewRoot { fd, skeleton: Some(skeleton) }
        }
    };
    for file in files {
        write_file(&mut root, Path::new(file.path), file.content.as_bytes(), 0o644).at(Step::WriteFiles)?;
    }
    let mut sources = sources.into_iter();
    for step in &plan.mounts {
        match step {
            Mount::Directory { path, mode } => {
                make_directory(&mut root, path, *mode).at(Step::MakeDirectory)?;
            }
            Mount::Proc => {
                system::proc(&root.fd, plan.policy.network == Network::None).at(Step::MountProc)?;
            }
            Mount::Sys => {
                system::sys(&root.fd).at(Step::MountSys)?;
                if plan.caller.0 == 0 {
                    system::withhold_from_root(&root.fd).at(Step::CoverKernelFiles)?;
                }
            }
            Mount::Dev(devices) => {
                system::dev(&root.fd, devices).at(Step::MountDev)?;
                if plan.caller.0 == 0 {
                    system::keep_devices(&root.fd, devices).at(Step::MountDev)?;
                }
                streams.open_in(&root.fd, plan.policy.terminal, plan.caller.0 == 0).at(Step::OpenStreams)?;
                if let Some(count) = plan.policy.nproc {
                    system::show_cpus(&root.fd, count).at(Step::ChooseCpus)?;
                }
            }
            Mount::Bind(wanted) | Mount::Shared(Shared { bind: wanted, .. }) => {
                if let Some(source) = sources.next() {
                    bind_into(&mut root, &source, wanted).at(Step::BindHostPath)?;
                }
            }
            Mount::Again { source, target } => {
                bind_again(&mut root, source, target).at(Step::BindNativeTool)?;
            }
            Mount::Link { path, target } => make_link(&mut root, path, target).at(Step::MakeLink)?,
            Mount::Program { path, content } => {
                write_file(&mut root, path, content, 0o755).at(Step::WriteProgram)?;
            }
        }
    }
    let times = Timestamps { last_access: mtime, last_modification: mtime };
    rustix::fs::utimensat(CWD, path_of(root.fd.as_fd()), &times, AtFlags::empty())
        .call("utimensat", "/")
        .at(Step::MakeDirectory)?;
    enter(&root.fd).at(Step::EnterRoot)
}

/// A root that is being built.
struct NewRoot {
    fd: OwnedFd,
    /// How directories of a read-only root are opened for writing.
    skeleton: Option<Skeleton>,
}

impl NewRoot {
    /// Opens the read-only directory `here` at `path` for writing, after a call failed because of it.
    fn opened(&mut self, here: &OwnedFd, path: &Path) -> Result<OwnedFd, SysError> {
        let skeleton = self.skeleton.as_mut().ok_or(Errno::ROFS).call("open", path)?;
        skeleton.open(&self.fd, here, path)
    }
}

/// Mounts the overlay of the layers, with its upper directory in `scratch`.
fn overlaid(rootfs: &Rootfs, scratch: &Path, mode: Mode) -> Result<OwnedFd, StepError> {
    let [root, upper, work] = ["root", "upper", "work"].map(|name| scratch.join(name));
    for directory in [&root, &upper, &work] {
        rustix::fs::mkdir(directory, Mode::from_raw_mode(0o755)).call("mkdir", directory).at(Step::PrepareScratch)?;
    }
    // The root of the overlay has the mode of the upper directory, which the umask must not change.
    rustix::fs::chmod(&upper, mode).call("chmod", &upper).at(Step::PrepareScratch)?;
    let (base, lower) = (&rootfs.base, &rootfs.lower);
    match overlay_options(lower, &upper, &work) {
        Some(options) => overlay(base, &options, &root).at(Step::MountOverlay)?,
        None => overlay_of_many(base, lower, &upper, &work, &root).at(Step::MountManyLayers)?,
    }
    open_root(&root).at(Step::OpenRoot)
}

/// Binds the copied tree, which is this run's alone.
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

/// Opens the sources of all binds, before a mount could hide one. The caller's were opened before, in the caller's mount
/// namespace, and their paths must still lead to them.
fn open_sources(plan: &Plan) -> Result<Vec<OwnedFd>, StepError> {
    let open = |mount: &Mount| match mount {
        Mount::Bind(Bind { source, .. }) => {
            Some(rustix::fs::open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call("open", source))
        }
        Mount::Shared(shared) => Some(shared.source.again().call("open", &shared.bind.source)),
        _ => None,
    };
    plan.mounts.iter().filter_map(open).collect::<Result<_, _>>().at(Step::OpenHostPath)
}

/// Opens a directory inside; makes it and its parents if they are missing.
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
            // The umask removed bits, such as of the sticky /tmp.
            rustix::fs::chmod(path_of(new.as_fd()), bits).call("chmod", &path)?;
            Ok(new)
        }
        (found, ..) => found.call("open", &path),
    }
}

/// Makes a link at `path` in an existing directory, unless something is there.
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

/// Writes a file of the run in place of the image's, which may be a link to anywhere.
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
        // The file of the image is a mount of its own here.
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

/// Finds the mount point for `target`. Links of the image are followed, but not to the directories that the sandbox
/// itself relies on: with a project for its `/proc`, init would read and write files of the project.
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

/// Binds the file at `source` in the root at `target` too.
fn bind_again(root: &mut NewRoot, source: &Path, target: &Path) -> Result<(), SysError> {
    let found = beneath::find(&root.fd, source, Links::Follow).call("open", source)?;
    bind_into(root, &found, &Bind { source: source.to_owned(), target: target.to_owned(), read_only: true })
}

/// Enters the new root by `pivot_root(2)`, with the old root stacked on the new one and then detached.
fn enter(root: &OwnedFd) -> Result<(), SysError> {
    rustix::process::fchdir(root).call("fchdir", "the new root")?;
    rustix::process::pivot_root(".", ".").call("pivot_root", "the new root")?;
    detach(".")?;
    rustix::process::chdir("/").call("chdir", "/")
}
