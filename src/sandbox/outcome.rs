//! What a run came to.

use serde::{Deserialize, Serialize};

use crate::sandbox::policy::Feature;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// With an exit code.
    Code(u8),
    /// By a signal.
    Signal(i32),
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
pub struct Outcome {
    /// How the command ended.
    pub ended: Ended,
    /// What confined it.
    pub enforced: Enforced,
}

impl Outcome {
    /// The exit code a shell would give: the command's own, or 128 and the signal's number.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.ended {
            Ended::Code(code) => code,
            Ended::Signal(signal) => u8::try_from(128 + signal).unwrap_or(255),
        }
    }
}
