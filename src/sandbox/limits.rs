//! Limits of memory, processors and processes: what was asked, and what holds it.

use serde::{Deserialize, Serialize};

use crate::sandbox::cgroup::{Group, NoGroup};
use crate::size;

/// What a run may use. Without a number there is no limit but those hermes itself is under.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Limits {
    /// Bytes of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Thousandths of a processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millicpus: Option<u64>,
    /// Processes and threads at the same time.
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

/// What holds the limits of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AppliedLimits {
    /// A cgroup, for all processes of the run together.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub cgroup: Limits,
    /// What the kernel has for single processes: [`AppliedLimits::notes`] says what each means.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub process: Limits,
}

/// Has `limits` held by a cgroup, which is then the run's, as far as one can be had. With why not, for the rest.
#[must_use]
pub(crate) fn apply_limits(limits: Limits) -> (AppliedLimits, Option<Group>, Option<NoGroup>) {
    if limits.is_empty() {
        return (AppliedLimits::default(), None, None);
    }
    let why = match Group::new(limits) {
        Ok(group) => return (AppliedLimits { cgroup: limits, process: Limits::default() }, Some(group), None),
        Err(why) => why,
    };
    // Many systems delegate all but processors, which there is a good second choice for.
    let (others, cpus) = (Limits { millicpus: None, ..limits }, Limits { memory: None, pids: None, ..limits });
    let group = (!cpus.is_empty() && !others.is_empty()).then(|| Group::new(others).ok()).flatten();
    let held = if group.is_some() {
        AppliedLimits { cgroup: others, process: cpus }
    } else {
        AppliedLimits { cgroup: Limits::default(), process: limits }
    };
    (held, group, Some(why))
}

impl AppliedLimits {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What it means for the user that no cgroup holds the limits.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let Limits { memory, millicpus, pids } = self.process;
        let memory = memory.map(|memory| {
            format!("--memory {} is for the data of each process alone (RLIMIT_DATA)", size::bytes(memory))
        });
        let cpus = millicpus.map(|millicpus| {
            let asked = size::thousandths(millicpus);
            format!("--cpus {asked} binds the run to processors, {} of them", whole_cpus(millicpus))
        });
        let pids = pids.map(|pids| format!("--pids {pids} is held by RLIMIT_NPROC"));
        [memory, cpus, pids].into_iter().flatten().collect()
    }
}

/// The number of processors that so many thousandths need.
pub(super) fn whole_cpus(millicpus: u64) -> u64 {
    millicpus.div_ceil(1000)
}
