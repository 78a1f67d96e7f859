//! `--emulation`: how foreign programs are emulated.

use serde::{Deserialize, Serialize};

/// How the kernel runs the emulator for a foreign program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmulationMode {
    /// A private `binfmt_misc` instance with the locked emulator (Linux 6.7).
    Binfmt,
    /// A handler of the host, with the emulator that it was registered with.
    Host,
    /// Init traces the command and replaces a foreign program by the locked emulator in each execve (Linux 4.8).
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
