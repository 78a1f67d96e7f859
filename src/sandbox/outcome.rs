//! What a run came to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::hint::Hint;
use crate::sandbox::policy::Feature;
use crate::sandbox::termination::GRACE;
use crate::sandbox::tracer::explain::Explanation;
use crate::size;

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
    /// The exit code a shell would give: the command's own, or 128 and the signal's number; timeout(1)'s 124 where the
    /// time was up.
    #[must_use]
    pub fn exit_code(self, cause: Option<&Cause>) -> u8 {
        match self {
            _ if matches!(cause, Some(Cause::Timeout(_))) => 124,
            Self::Code(code) => code,
            Self::Signal(signal) => u8::try_from(128_i32.saturating_add(signal)).unwrap_or(255),
        }
    }
}

/// Why a run ended, where it did not end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It took longer than it was given.
    #[error("the command was ended: its time was up (--timeout {})", size::duration(*.0))]
    Timeout(#[serde(serialize_with = "size::seconds", deserialize_with = "size::from_seconds")] Duration),
    /// A second interrupt soon after the first.
    #[error("the command was killed by the second interrupt")]
    Interrupted,
    /// It did not end in time after SIGTERM.
    #[error("the command was killed: it had not ended {} s after SIGTERM", GRACE.as_secs())]
    Terminated,
    /// Its cgroup had no memory left.
    #[error("the command needed more than --memory {}: the kernel killed {killed} of its processes", size::bytes(*.limit))]
    Memory {
        /// In bytes.
        limit: u64,
        /// How many processes were killed.
        killed: u64,
    },
    /// Its cgroup had as many processes as it may.
    #[error("the command wanted more processes than --pids {limit}, {refused} times")]
    Pids {
        /// How many there may be.
        limit: u64,
        /// How often one more was refused.
        refused: u64,
    },
}

impl Hint for Cause {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Timeout(_) => vec!["give it more with --timeout, or none to let it take as long as it needs".into()],
            Self::Memory { .. } => {
                vec!["give it more with --memory, or let it need less: fewer jobs at a time (make -j)".into()]
            }
            Self::Pids { .. } => vec!["allow more with --pids".into()],
            Self::Interrupted | Self::Terminated => vec![],
        }
    }
}

/// What confines the command, as it really was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforced {
    /// The landlock ABI in force, 0 for none.
    pub landlock_abi: u32,
    /// The system call filter.
    pub seccomp: bool,
    /// A network of its own, which is loopback only.
    pub netns: bool,
}

impl Enforced {
    /// Whether `feature` was.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        match feature {
            Feature::Netns => self.netns,
            Feature::Seccomp => self.seccomp,
            Feature::Landlock => self.landlock_abi > 0,
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// How the command ended.
    pub ended: Ended,
    /// What confined it.
    pub enforced: Enforced,
    /// Why it ended, where it was ended by hermes, or what may have made it fail.
    pub cause: Option<Cause>,
    /// What was refused to it, where it was watched.
    pub explanation: Option<Explanation>,
}

impl Outcome {
    /// That of a run whose init was killed, so that nobody could say how the command ended.
    pub(super) fn killed() -> Self {
        Self { ended: Ended::Signal(9), enforced: Enforced::default(), cause: None, explanation: None }
    }

    /// As [`Ended::exit_code`].
    #[must_use]
    pub(crate) fn exit_code(&self) -> u8 {
        self.ended.exit_code(self.cause.as_ref())
    }
}
