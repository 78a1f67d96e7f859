//! Probes of what this host allows: each tries the step itself and never compares kernel versions.

use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, XattrFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use rustix::process::WaitOptions;
use rustix::thread::UnshareFlags;
use serde::Serialize;

use crate::emulation::Handler;
use crate::hint::Hint;
use crate::platform::Platform;
use crate::sandbox::cgroup;
use crate::sandbox::channel;
use crate::sandbox::error::SandboxError;
use crate::sandbox::init;
use crate::sandbox::limits::Limits;
use crate::sandbox::message::Message;
use crate::sandbox::outcome::Ended;
use crate::sandbox::seccomp;
use crate::sandbox::step::{AtStep as _, Step, StepError};
use crate::sandbox::tracer;
use crate::sys::process::{Forked, clone_namespaces, exit_now, single_threaded};
use crate::sys::{self, Context as _, SysError};

/// Result of a probe.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    /// Name of the step.
    pub name: String,
    /// Whether it works here.
    pub ok: bool,
    /// Whether no run works without it.
    pub needed: bool,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    pub remedies: Vec<String>,
}

impl Finding {
    /// A finding from a result; of an error its text and hints.
    pub(crate) fn of(name: impl Into<String>, needed: bool, result: Result<String, impl Hint>) -> Self {
        let name = name.into();
        match result {
            Ok(detail) => Self { name, ok: true, needed, detail, remedies: vec![] },
            Err(error) => {
                let cause = error.source().map(|source| format!(" ({source})")).unwrap_or_default();
                Self { name, ok: false, needed, detail: format!("{error}{cause}"), remedies: error.hints() }
            }
        }
    }
}

/// Name of the probe of a step that a run can do without, by another root ([`crate::sandbox::RootStrategy`]).
pub(crate) const OVERLAY: &str = "overlay";

/// Probes of the steps that every sandbox needs; `scratch` is a directory on the store's file system.
#[must_use]
pub(crate) fn sandbox(scratch: &Path) -> Vec<Finding> {
    let namespaces = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    let found = |result: Result<(), SandboxError>, detail: &str| result.map(|()| detail.to_owned());
    vec![
        Finding::of(
            "user namespace",
            true,
            found(attempt(Step::MapUser, namespaces, || Ok(())), "an ordinary user may make one"),
        ),
        Finding::of(
            "network namespace",
            true,
            found(
                attempt(
                    Step::BringLoopbackUp,
                    UnshareFlags::NEWUSER | UnshareFlags::NEWNET,
                    sys::net::bring_loopback_up,
                ),
                "loopback only, the host's on request",
            ),
        ),
        Finding::of(
            "/proc",
            true,
            found(
                attempt(Step::MountProc, namespaces, || sys::mount::mount("proc", scratch, MountFlags::NOSUID, "")),
                "a new one can be mounted",
            ),
        ),
        Finding::of(OVERLAY, false, found(overlay(scratch), "mounts, writes, renames and hides files over the store")),
        Finding::of("merged tree", true, merged(scratch)),
    ]
}

/// Probe of a `binfmt_misc` of the sandbox's own.
#[must_use]
pub(crate) fn handlers() -> Finding {
    let result = attempt(Step::RegisterEmulator, UnshareFlags::NEWUSER | UnshareFlags::NEWNS, || {
        let handler = Handler { platform: Platform::S390x, interpreter: "/proc/self/exe".into() };
        init::register(&[handler]).map(drop)
    });
    Finding::of(
        "private binfmt_misc",
        false,
        result.map(|()| "emulators are registered in the sandbox, not on the host".to_owned()),
    )
}

/// Probe of emulation by ptrace.
#[must_use]
pub(crate) fn tracing() -> Finding {
    let detail = "nothing needs to be registered to run foreign programs";
    Finding::of(
        "emulation by ptrace",
        false,
        attempt(Step::AttachTracer, UnshareFlags::NEWUSER, tracer::probe).map(|()| detail.to_owned()),
    )
}

/// Whether the upper layer of an overlay can be in memory: that needs a tmpfs with `user.*` extended attributes (Linux
/// 6.6), by which overlayfs marks a directory that replaces a removed one. Tried on `/dev/shm`; without it the answer is
/// no.
#[must_use]
pub(crate) fn memory_takes_overlays() -> bool {
    rustix::fs::getxattr("/dev/shm", "user.overlay.opaque", &mut [0; 1]) == Err(Errno::NODATA)
}

/// Whether the upper layer of an overlay can be in `directory`: whether extended attributes of overlayfs can be set
/// there.
#[must_use]
pub(crate) fn takes_overlays(directory: &Path) -> bool {
    rustix::fs::setxattr(directory, "user.overlay.opaque", b"n", XattrFlags::empty()).is_ok()
}

/// Probe of landlock.
#[must_use]
pub(crate) fn landlock() -> Finding {
    let abi = sys::process::landlock_abi();
    let (detail, remedies) = match abi {
        0 => (
            "not in this kernel, or switched off at its start".to_owned(),
            vec!["Linux 5.19 with 'landlock' in the kernel's lsm= list adds a second line of defence; runs work without it".to_owned()],
        ),
        1 => (
            "ABI 1, which would refuse builds to move files from one directory to another: only --isolation landlock \
             uses it"
                .to_owned(),
            vec!["Linux 5.19 adds a second line of defence; runs work without it".to_owned()],
        ),
        abi => (format!("ABI {abi}"), vec![]),
    };
    Finding { name: "landlock".into(), ok: abi > 1, needed: false, detail, remedies }
}

/// Probe of the system call filter, with a call that it forbids.
#[must_use]
pub(crate) fn seccomp() -> Finding {
    let result = attempt(Step::FilterCalls, UnshareFlags::NEWUSER, || {
        rustix::thread::set_no_new_privs(true).call("prctl", "PR_SET_NO_NEW_PRIVS")?;
        sys::seccomp::filter(&seccomp::program(&seccomp::rules(false)))?;
        match sys::process::unshare_user() {
            Err(error) if error.is(Errno::PERM) => Ok(()),
            _ => Err(SysError::new("seccomp", "a forbidden call succeeded", Errno::INVAL)),
        }
    });
    Finding::of("seccomp", false, result.map(|()| "system calls are filtered".to_owned()))
}

/// Probe of core dumps: whether a command that crashes leaves none.
#[must_use]
pub(crate) fn core_dumps() -> Finding {
    let pattern = std::fs::read("/proc/sys/kernel/core_pattern").unwrap_or_default();
    // Without a handler, 0 is as good as 1.
    let ok = init::allow_no_core_handler() || !pattern.starts_with(b"|");
    let (detail, remedies) = if ok {
        ("a command that crashes leaves none", vec![])
    } else {
        let remedy = "have the administrator raise the hard limit of core files (limits.conf: 'hard core unlimited'); \
                      hermes sets it to 1, with which the kernel starts no handler";
        (
            "a command that crashes starts this host's core handler: the hard limit of core files is 0",
            vec![remedy.into()],
        )
    };
    Finding { name: "core dumps".into(), ok, needed: false, detail: detail.into(), remedies }
}

/// Probe of cgroups: whether one enforces `--memory`, `--cpus` and `--pids`.
#[must_use]
pub(crate) fn limits() -> Finding {
    let all = Limits { memory: Some(1 << 30), millicpus: Some(1000), pids: Some(100) };
    let (held, group, why) = cgroup::apply_limits(all);
    drop(group);
    let result = match why {
        Some(why) if held.cgroup.is_empty() => Err(why),
        Some(_) => Ok("a cgroup holds --memory and --pids, single processes --cpus".to_owned()),
        None => Ok("a cgroup holds --memory, --cpus and --pids".to_owned()),
    };
    Finding::of("limits by cgroup", false, result)
}

/// Probe of free space. Toolchains take 200 MB to 2 GB each.
#[must_use]
pub(crate) fn space(store: &Path) -> Finding {
    let name = format!("store {}", store.display());
    match rustix::fs::statvfs(store).call("statvfs", store) {
        Ok(fs) => {
            let (bytes, inodes) = (fs.f_bavail.saturating_mul(fs.f_frsize), fs.f_favail);
            // File systems without a fixed number of inodes report 0 of 0.
            let ok = bytes >= 2 << 30 && (fs.f_files == 0 || inodes >= 100_000);
            let remedies =
                if ok { vec![] } else { vec!["free space, or put the store elsewhere: HERMES_STORE".into()] };
            Finding {
                name,
                ok,
                needed: false,
                detail: format!("{} GB and {inodes} inodes free", bytes / 1_000_000_000),
                remedies,
            }
        }
        Err(error) => Finding { name, ok: false, needed: false, detail: error.to_string(), remedies: vec![] },
    }
}

/// Does `work`, which is the `step` of a run, as root of new namespaces, in a child.
fn attempt(
    step: Step,
    namespaces: UnshareFlags,
    work: impl FnOnce() -> Result<(), SysError>,
) -> Result<(), SandboxError> {
    let caller = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let proof = single_threaded().map_err(SandboxError::Supervise)?.ok_or(SandboxError::Threads)?;
    let (ours, theirs) = channel::pair().map_err(SandboxError::Supervise)?;
    match clone_namespaces(&proof, namespaces).map_err(SandboxError::refused)? {
        Forked::Child(_) => {
            // Ubuntu's AppArmor lets the namespace be made and then forbids its use.
            let message = match init::map_root(caller).at(Step::MapUser).and_then(|()| work().at(step)) {
                Ok(()) => Message::Ended(Ended::Code(0)),
                Err(StepError { step, error }) => Message::Failed { step, error },
            };
            channel::send(theirs.as_fd(), &message, None);
            exit_now(0)
        }
        Forked::Parent(child) => {
            drop(theirs);
            let message = channel::receive(&ours);
            let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(child), WaitOptions::empty()));
            match message.map_err(SandboxError::Supervise)? {
                Some((Message::Ended(_), _)) => Ok(()),
                Some((Message::Failed { step: Step::MapUser, error }, _)) => Err(SandboxError::Namespaces(error)),
                Some((Message::Failed { step, error }, _)) => Err(SandboxError::Setup { step, source: error }),
                _ => Err(SandboxError::Vanished("probe".into())),
            }
        }
    }
}

/// Mounts an overlay as a run does, over a directory on the store's file system, and does in it what builds do.
fn overlay(scratch: &Path) -> Result<(), SandboxError> {
    let namespaces = UnshareFlags::NEWUSER | UnshareFlags::NEWNS;
    let lower = tempfile::Builder::new().prefix("probe-").tempdir_in(scratch);
    let lower = lower.call("mkdir", scratch).map_err(SandboxError::Supervise)?;
    attempt(Step::MountOverlay, namespaces, || {
        let (lower, file) = (lower.path(), "file");
        std::fs::write(lower.join(file), "lower").call("write", lower)?;
        let lower = rustix::fs::open(lower, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call("open", lower)?;
        sys::mount::make_all_private()?;
        sys::mount::mount("tmpfs", scratch, MountFlags::NOSUID, "")?;
        let [upper, work, root] = ["upper", "work", "root"].map(|name| scratch.join(name));
        for directory in [&upper, &work, &root] {
            std::fs::create_dir(directory).call("mkdir", directory)?;
        }
        let lower = [sys::file::path_of(lower.as_fd())];
        let options = sys::mount::overlay_options(&lower, &upper, &work).ok_or(Errno::TOOBIG);
        sys::mount::overlay(Path::new("/"), &options.call("mount", "overlay")?, &root)?;
        std::fs::write(root.join(file), "upper").call("write", "a file of an overlay")?;
        std::fs::rename(root.join(file), root.join("renamed")).call("rename", "a file of an overlay")?;
        std::fs::remove_file(root.join("renamed")).call("unlink", "a file of an overlay")
    })
}

/// Tries a root without an overlay: binds a directory of the store read-only. Reports whether files of the tree are
/// clones, hard links or copies, which decides its cost.
fn merged(scratch: &Path) -> Result<String, SandboxError> {
    let tree = tempfile::Builder::new().prefix("probe-").tempdir_in(scratch);
    let tree = tree.call("mkdir", scratch).map_err(SandboxError::Supervise)?;
    let [file, other] = ["file", "other"].map(|name| tree.path().join(name));
    let written = std::fs::write(&file, "x").call("write", &file);
    written.map_err(SandboxError::Supervise)?;
    attempt(Step::MountMergedTree, UnshareFlags::NEWUSER | UnshareFlags::NEWNS, || {
        let open = |path| rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call("open", path);
        sys::mount::make_all_private()?;
        let source = open(tree.path())?;
        sys::mount::bind(source.as_fd(), source.as_fd(), tree.path())?;
        let shown = open(tree.path())?;
        let restriction = sys::mount::Restriction { read_only: true, no_devices: true };
        sys::mount::restrict(shown.as_fd(), restriction, tree.path())?;
        match std::fs::write(&file, "y").call("write", &file) {
            Err(error) if error.is(Errno::ROFS) => sys::mount::mount("tmpfs", scratch, MountFlags::NOSUID, ""),
            Err(error) => Err(error),
            Ok(()) => Err(SysError::new("mount", "a directory stays writable", Errno::PERM)),
        }
    })?;
    let clones = || -> std::io::Result<()> {
        Ok(rustix::fs::ioctl_ficlone(std::fs::File::create(&other)?, std::fs::File::open(&file)?)?)
    };
    let copy = if clones().is_ok() { "clones, which share their blocks" } else { "copies" };
    let _ = std::fs::remove_file(&other);
    let tree = if std::fs::hard_link(&file, &other).is_ok() { "hard links" } else { copy };
    Ok(format!("read-only, with memory over the usual writable places; its files are {tree}, with --root {copy}"))
}
