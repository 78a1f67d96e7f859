//! Limits of memory, processors and processes.

use rustix::process::{Resource, getpriority_process, getrlimit};
use serde::{Deserialize, Serialize};

use crate::size;

/// Requested limits. `None` leaves the limits of hermes itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Limits {
    /// Memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Processor time in thousandths of a processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millicpus: Option<u64>,
    /// Number of processes and threads at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
}

impl Limits {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What enforces the limits of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AppliedLimits {
    /// Limits enforced by a cgroup, for all processes of the run together.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub cgroup: Limits,
    /// Limits enforced by the kernel for each process: [`AppliedLimits::notes`] says what that means.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub process: Limits,
}

impl AppliedLimits {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What it means for the user that no cgroup enforces the limits.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let Limits { memory, millicpus, pids } = self.process;
        let memory = memory.map(|memory| {
            format!("--memory {} limits the data of each process separately (RLIMIT_DATA)", size::bytes(memory))
        });
        let cpus = millicpus.map(|millicpus| {
            let asked = size::thousandths(millicpus);
            format!("--cpus {asked} binds the run to processors, {} of them", whole_cpus(millicpus))
        });
        let pids = pids.map(|pids| format!("--pids {pids} is enforced by RLIMIT_NPROC"));
        [memory, cpus, pids].into_iter().flatten().collect()
    }
}

/// The lowest nice value that the command may get on behalf of the caller: that of this process, unless the caller's
/// `RLIMIT_NICE` allows a lower one. Privileges of the caller do not count, since the command is in a user namespace.
#[must_use]
pub(crate) fn lowest_nice() -> i64 {
    let current = getpriority_process(None).map_or(0, i64::from);
    // The limit is 20 minus the nice value (getrlimit(2)).
    let allowed = getrlimit(Resource::Nice).current.map_or(-20, |limit| 20 - i64::try_from(limit).unwrap_or(40));
    current.min(allowed)
}

/// Number of processors that `millicpus` thousandths need.
pub(super) fn whole_cpus(millicpus: u64) -> u64 {
    millicpus.div_ceil(1000)
}
