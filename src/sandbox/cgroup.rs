//! A cgroup for each run, in a part of the hierarchy that was delegated to the user (cgroups(7), version 2 only).
//!
//! It is made beside or below the cgroup of hermes or of one of its ancestors: in the lowest one in which the user may
//! make a cgroup with the controllers needed. The limits of a cgroup that the run leaves this way are set on the new one
//! too, so that the run escapes no limit.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::fs::orphans;
use crate::hint::Hint;
use crate::sandbox::limits::{AppliedLimits, Limits};
use crate::sandbox::outcome::Cause;

/// Prefix of the names of cgroups that hermes makes.
const PREFIX: &str = "hermes-";

/// How to get a delegated cgroup where systemd has a user manager.
pub(super) const DELEGATE: &str =
    "for limits on all processes of a run together: systemd-run --user --scope -p Delegate=yes hermes run …";

/// Period of `cpu.max` in microseconds: the kernel's default.
const PERIOD: u64 = 100_000;

/// Why no cgroup can be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoGroup {
    /// This process is in no cgroup of version 2 that is visible here.
    #[error("no cgroup of version 2 is visible to this process")]
    NotMounted,
    /// No cgroup is delegated to the user.
    #[error("no cgroup with the controllers {0} is delegated to this user")]
    NotDelegated(String),
    /// The system refused it.
    #[error("cannot create the cgroup {path}")]
    Refused {
        /// Directory of the cgroup.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
}

impl Hint for NoGroup {
    fn hints(&self) -> Vec<String> {
        vec![DELEGATE.into()]
    }
}

/// A cgroup that is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Group {
    path: PathBuf,
    limits: Limits,
    /// The open `cgroup.procs`.
    entry: OwnedFd,
    /// The cgroup that this process left to make room; it returns when the group is dropped.
    #[expect(dead_code, reason = "held for its Drop")]
    left: Option<Left>,
}

/// The cgroup that this process left, because a cgroup with controllers for its children may hold no process.
#[derive(Debug)]
struct Left {
    path: PathBuf,
    /// Where the process is in the meantime.
    leaf: PathBuf,
    /// Controllers that were enabled.
    controllers: Vec<&'static str>,
}

impl Group {
    /// Makes a cgroup with `limits`.
    pub(super) fn new(limits: Limits) -> Result<Self, NoGroup> {
        let (mount, own) = own_cgroup().ok_or(NoGroup::NotMounted)?;
        let mut all = Inherited { limits, high: None };
        for parent in own.ancestors().take_while(|parent| parent.starts_with(&mount)) {
            let wanted = all.controllers();
            if let Some(left) = usable(parent, parent == own, &wanted) {
                sweep(parent);
                return Self::within(parent, &all, limits, left);
            }
            all.leave(parent);
        }
        Err(NoGroup::NotDelegated(all.controllers().join(", ")))
    }

    fn within(parent: &Path, all: &Inherited, limits: Limits, left: Option<Left>) -> Result<Self, NoGroup> {
        let path = parent.join(format!("{PREFIX}{}run", orphans::prefix()));
        let refused = |source| NoGroup::Refused { path: path.clone(), source };
        fs::create_dir(&path).map_err(refused)?;
        let made = all.set(&path).and_then(|()| fs::OpenOptions::new().write(true).open(path.join("cgroup.procs")));
        match made {
            Ok(entry) => Ok(Self { path, limits, entry: entry.into(), left }),
            Err(source) => {
                let _ = fs::remove_dir(&path);
                drop(left);
                Err(refused(source))
            }
        }
    }

    /// File to which a process writes 0 to enter.
    pub(super) fn entry(&self) -> &OwnedFd {
        &self.entry
    }

    /// The limit that was reached, if it may have made the command fail.
    pub(super) fn reached(&self) -> Option<Cause> {
        let killed = self.event("memory.events", "oom_kill ");
        let refused = self.event("pids.events", "max ");
        let memory = self.limits.memory.filter(|_| killed > 0).map(|limit| Cause::Memory { limit, killed });
        memory.or_else(|| self.limits.pids.filter(|_| refused > 0).map(|limit| Cause::Pids { limit, refused }))
    }

    fn event(&self, file: &str, name: &str) -> u64 {
        let text = fs::read_to_string(self.path.join(file)).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        // In this order: a cgroup that has controllers for its children may hold no process.
        let off: Vec<_> = self.controllers.iter().map(|name| format!("-{name}")).collect();
        let _ = write(&self.path, "cgroup.subtree_control", &off.join(" "));
        let _ = write(&self.path, "cgroup.procs", "0");
        remove(&self.leaf);
    }
}

/// Removes a cgroup, whose last process may still be exiting.
fn remove(path: &Path) {
    for _ in 0..200 {
        match fs::remove_dir(path) {
            Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            _ => return,
        }
    }
}

/// Removes cgroups of runs whose hermes was killed. The processes died with it.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let left = name.to_str().and_then(|name| orphans::is_orphaned(name.strip_prefix(PREFIX)?));
        if left == Some(true) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn write(directory: &Path, file: &str, text: &str) -> io::Result<()> {
    // A single write: the kernel reads each write as a whole.
    fs::OpenOptions::new().write(true).open(directory.join(file))?.write_all(text.as_bytes())
}

fn words(directory: &Path, file: &str) -> Vec<String> {
    let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Mount point of version 2, and the directory of this process's cgroup below it.
fn own_cgroup() -> Option<(PathBuf, PathBuf)> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let cgroups = fs::read_to_string("/proc/self/cgroup").ok()?;
    find_own(&mounts, &cgroups)
}

/// As [`own_cgroup`], from the content of the two files (proc(5), cgroups(7)).
fn find_own(mounts: &str, cgroups: &str) -> Option<(PathBuf, PathBuf)> {
    let path = Path::new(cgroups.lines().find_map(|line| line.strip_prefix("0::"))?);
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut fields = left.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        // No system uses a mount point here that needs an octal escape.
        if right.split(' ').next() != Some("cgroup2") || point.contains('\\') {
            return None;
        }
        // A cgroup outside the mounted part begins with '..', or not with the root of the mount.
        let below = path.strip_prefix(root).ok()?;
        let normal = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        normal.then(|| (point.into(), Path::new(point).join(below)))
    })
}

/// Whether children of `parent` can have the controllers `wanted`. Enables them where that is allowed, and returns the
/// place that this process left for that.
#[expect(clippy::option_option, reason = "whether it is usable, and what was done for it")]
fn usable(parent: &Path, is_own: bool, wanted: &[&'static str]) -> Option<Option<Left>> {
    let writable = |file: &str| access(parent.join(file), Access::WRITE_OK).is_ok();
    if !writable("") || !writable("cgroup.procs") {
        return None;
    }
    let enabled = words(parent, "cgroup.subtree_control");
    let missing: Vec<_> = wanted.iter().copied().filter(|name| !enabled.iter().any(|has| has == name)).collect();
    if missing.is_empty() {
        return Some(None);
    }
    let available = words(parent, "cgroup.controllers");
    if !missing.iter().all(|name| available.iter().any(|has| has == name)) || !writable("cgroup.subtree_control") {
        return None;
    }
    let switch_on = || {
        let on: Vec<_> = missing.iter().map(|name| format!("+{name}")).collect();
        write(parent, "cgroup.subtree_control", &on.join(" ")).is_ok()
    };
    let inside = words(parent, "cgroup.procs");
    if inside.is_empty() {
        return switch_on().then_some(None);
    }
    if !is_own || inside != [std::process::id().to_string()] {
        return None;
    }
    let leaf = parent.join(format!("{PREFIX}{}self", orphans::prefix()));
    fs::create_dir(&leaf).ok()?;
    let left = Left { path: parent.to_owned(), leaf, controllers: missing.clone() };
    (write(&left.leaf, "cgroup.procs", "0").is_ok() && switch_on()).then_some(Some(left))
}

/// Limits of a new cgroup: the requested ones and those of the cgroups that the run leaves.
struct Inherited {
    limits: Limits,
    /// `memory.high`, which cannot be requested.
    high: Option<u64>,
}

impl Inherited {
    fn controllers(&self) -> Vec<&'static str> {
        let wanted = [
            ("memory", self.limits.memory.is_some() || self.high.is_some()),
            ("cpu", self.limits.millicpus.is_some()),
            ("pids", self.limits.pids.is_some()),
        ];
        wanted.into_iter().filter_map(|(name, wanted)| wanted.then_some(name)).collect()
    }

    /// Adopts the limits of `cgroup`.
    fn leave(&mut self, cgroup: &Path) {
        let number = |file: &str| words(cgroup, file).first().and_then(|word| word.parse::<u64>().ok());
        let least = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        self.limits.memory = least(self.limits.memory, number("memory.max"));
        self.high = least(self.high, number("memory.high"));
        self.limits.pids = least(self.limits.pids, number("pids.max"));
        if let [quota, period] = &words(cgroup, "cpu.max")[..]
            && let (Ok(quota), Ok(period)) = (quota.parse::<u64>(), period.parse::<u64>())
        {
            let millicpus = quota.saturating_mul(1000) / period.max(1);
            self.limits.millicpus = least(self.limits.millicpus, Some(millicpus.max(1)));
        }
    }

    fn set(&self, cgroup: &Path) -> io::Result<()> {
        if let Some(memory) = self.limits.memory {
            write(cgroup, "memory.max", &memory.to_string())?;
            // Without it the limit would be one of memory without swap. The file is missing without swap accounting.
            let _ = write(cgroup, "memory.swap.max", "0");
        }
        if let Some(high) = self.high {
            write(cgroup, "memory.high", &high.to_string())?;
        }
        if let Some(millicpus) = self.limits.millicpus {
            // The kernel accepts no less than a millisecond.
            let quota = millicpus.saturating_mul(PERIOD / 1000).max(1000);
            write(cgroup, "cpu.max", &format!("{quota} {PERIOD}"))?;
        }
        if let Some(pids) = self.limits.pids {
            // Init is one more process.
            write(cgroup, "pids.max", &pids.saturating_add(1).to_string())?;
        }
        Ok(())
    }
}

/// Enforces `limits` by a new cgroup as far as the host allows it. Returns the cgroup and, for the rest, why there is
/// none.
#[must_use]
pub(crate) fn apply_limits(limits: Limits) -> (AppliedLimits, Option<Group>, Option<NoGroup>) {
    if limits.is_empty() {
        return (AppliedLimits::default(), None, None);
    }
    let why = match Group::new(limits) {
        Ok(group) => return (AppliedLimits { cgroup: limits, process: Limits::default() }, Some(group), None),
        Err(why) => why,
    };
    // Many systems delegate everything but processors, for which there is a good second choice.
    let (others, cpus) = (Limits { millicpus: None, ..limits }, Limits { memory: None, pids: None, ..limits });
    let group = (!cpus.is_empty() && !others.is_empty()).then(|| Group::new(others).ok()).flatten();
    let held = if group.is_some() {
        AppliedLimits { cgroup: others, process: cpus }
    } else {
        AppliedLimits { cgroup: Limits::default(), process: limits }
    };
    (held, group, Some(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_this_process_is() {
        let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let hybrid = "40 31 0:37 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n41 31 0:38 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";
        let inner = "30 23 0:26 /a/b /sys/fs/cgroup ro - cgroup2 cgroup ro\n";
        for (mounts, cgroups, want) in [
            (unified, "0::/user.slice/x.scope\n", Some(("/sys/fs/cgroup", "/sys/fs/cgroup/user.slice/x.scope"))),
            (unified, "0::/\n", Some(("/sys/fs/cgroup", "/sys/fs/cgroup/"))),
            (hybrid, "8:pids:/\n0::/me\n", Some(("/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified/me"))),
            (inner, "0::/a/b/c\n", Some(("/sys/fs/cgroup", "/sys/fs/cgroup/c"))),
            (inner, "0::/a/bc\n", None),
            (unified, "0::/../outside\n", None),
            (unified, "8:pids:/\n", None),
            ("", "0::/\n", None),
        ] {
            let want = want.map(|(mount, own)| (PathBuf::from(mount), PathBuf::from(own)));
            assert_eq!(find_own(mounts, cgroups), want, "{mounts} {cgroups}");
        }
    }

    #[test]
    fn limits_of_cgroups_that_are_left_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { memory: Some(2 << 30), millicpus: None, pids: Some(100) };
        let mut all = Inherited { limits, high: None };
        for (file, text) in [("memory.max", "max\n"), ("pids.max", "500\n"), ("cpu.max", "max 100000\n")] {
            fs::write(dir.path().join(file), text).unwrap();
        }
        all.leave(dir.path());
        assert_eq!((all.limits, all.high), (limits, None));
        assert_eq!(all.controllers(), ["memory", "pids"]);
        for (file, text) in [("memory.max", "1073741824\n"), ("memory.high", "4096\n"), ("cpu.max", "150000 100000\n")]
        {
            fs::write(dir.path().join(file), text).unwrap();
        }
        all.leave(dir.path());
        assert_eq!(all.limits, Limits { memory: Some(1 << 30), millicpus: Some(1500), pids: Some(100) });
        assert_eq!((all.high, all.controllers()), (Some(4096), vec!["memory", "cpu", "pids"]));
    }
}
