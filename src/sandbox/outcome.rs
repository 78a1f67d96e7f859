//! Outcome of a run.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::hint::Hint;
use crate::lock::Feature;
use crate::sandbox::explanation::Explanation;
use crate::size;

/// Time between the request to end a command (SIGTERM) and its kill.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// With an exit code.
    Code(u8),
    /// By a signal.
    Signal(i32),
}

impl Ended {
    /// Exit code as a shell reports it: the command's own, or 128 plus the number of the signal. After a timeout it is
    /// 124, as of timeout(1).
    #[must_use]
    pub fn exit_code(self, cause: Option<&Cause>) -> u8 {
        match self {
            _ if matches!(cause, Some(Cause::Timeout(_))) => 124,
            Self::Code(code) => code,
            Self::Signal(signal) => u8::try_from(128_i32.saturating_add(signal)).unwrap_or(255),
        }
    }
}

/// Why a run ended, if it did not end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It exceeded its time.
    #[error("the command timed out (--timeout {})", size::duration(*.0))]
    Timeout(#[serde(serialize_with = "size::seconds", deserialize_with = "size::from_seconds")] Duration),
    /// A second interrupt came soon after the first.
    #[error("the command was killed by a second interrupt")]
    Interrupted,
    /// It did not end in time after SIGTERM.
    #[error("the command did not end within {} s of SIGTERM and was killed", GRACE.as_secs())]
    Terminated,
    /// Its cgroup ran out of memory.
    #[error("the command exceeded --memory {}: the kernel killed {killed} of its processes", size::bytes(*.limit))]
    Memory {
        /// Limit in bytes.
        limit: u64,
        /// Number of processes that were killed.
        killed: u64,
    },
    /// Its cgroup reached its number of processes.
    #[error("the command exceeded --pids {limit}: the kernel refused {refused} processes")]
    Pids {
        /// Limit.
        limit: u64,
        /// How often a further process was refused.
        refused: u64,
    },
}

impl Hint for Cause {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Timeout(_) => vec!["raise --timeout, or omit it for no limit".into()],
            Self::Memory { .. } => {
                vec!["raise --memory, or use less memory: fewer parallel jobs (make -j)".into()]
            }
            Self::Pids { .. } => vec!["raise --pids".into()],
            Self::Interrupted | Self::Terminated => vec![],
        }
    }
}

/// What was in force while the command ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforced {
    /// Landlock ABI; 0 without landlock.
    pub landlock_abi: u32,
    /// Whether calls were filtered.
    pub seccomp: bool,
    /// Whether the command had a network of its own, which is loopback only.
    pub netns: bool,
}

impl Enforced {
    /// Whether `feature` was in force.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        match feature {
            Feature::Netns => self.netns,
            Feature::Seccomp => self.seccomp,
            Feature::Landlock => self.landlock_abi > 0,
        }
    }
}

/// The features in force, as a list in words.
impl fmt::Display for Enforced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let landlock = format!("landlock {}", self.landlock_abi);
        let features = [
            (self.netns, "a network of its own"),
            (self.seccomp, "system call filter"),
            (self.landlock_abi > 0, &landlock),
        ];
        let names: Vec<_> =
            features.into_iter().filter_map(|(is_in_force, name)| is_in_force.then_some(name)).collect();
        if names.is_empty() { f.write_str("nothing") } else { f.write_str(&names.join(", ")) }
    }
}

/// A file that seems to have another owner than the real one, or to be a device (`FakeRoot::Stateful`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FakedFile {
    /// Device of the file system, in the form of stat(2).
    pub device: u64,
    /// Number of the inode.
    pub inode: u64,
    /// Time at which the file was made, in seconds since 1970 and nanoseconds after them. A file with this number that was
    /// made at another time is a later one. `None` if the file system does not know.
    pub born: Option<(i64, u32)>,
    /// User and group.
    pub owner: (u32, u32),
    /// `S_IFCHR` or `S_IFBLK`, and the device's number in the form of mknod(2).
    pub special: Option<(u32, u32)>,
}

/// Outcome of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// How the command ended.
    pub ended: Ended,
    /// What was in force.
    pub enforced: Enforced,
    /// Why hermes ended it, or which limit may have made it fail.
    pub cause: Option<Cause>,
    /// What was denied to the command, if it ran with `--explain`.
    pub explanation: Option<Explanation>,
    /// Owners of files at the end, if the policy says those of the start.
    pub faked: Vec<FakedFile>,
}

impl Outcome {
    /// The outcome if init was killed, so that it could not report how the command ended.
    pub(super) fn killed() -> Self {
        Self { ended: Ended::Signal(9), enforced: Enforced::default(), cause: None, explanation: None, faked: vec![] }
    }

    /// Exit code as of [`Ended::exit_code`].
    #[must_use]
    pub(crate) fn exit_code(&self) -> u8 {
        self.ended.exit_code(self.cause.as_ref())
    }
}
