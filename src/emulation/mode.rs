//! The ways in which foreign programs come to their emulator.

use serde::{Deserialize, Serialize};

/// How a run's foreign programs come to their emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmulationMode {
    /// A `binfmt_misc` of the sandbox's own, with the locked emulator in it (Linux 6.7).
    Binfmt,
    /// A handler that is registered on the host, with the emulator it was registered with.
    Host,
    /// Init has each call that would execute a foreign program execute the locked emulator (Linux 4.8).
    Ptrace,
}

impl EmulationMode {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Binfmt => "binfmt",
            Self::Host => "host",
            Self::Ptrace => "ptrace",
        }
    }
}
