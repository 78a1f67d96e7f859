//! Exit codes.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | success |
//! | 1 | failure |
//! | 2 | wrong usage, or a project asks for what the user has not allowed |
//! | 3 | integrity: bytes are not what their digest, size or format promised |
//! | 4 | not available offline, or a lock would change under `--locked` |
//! | 70 | a bug in hermes |
//!
//! `run` exits with the command's own code, 128 + n for signal n, 124 if it timed out, 125 if hermes failed, before the
//! command or with its outputs, 126 if the command cannot be invoked, 127 if it is not found; usage, integrity and
//! availability keep their codes. `rebuild` has codes of its own: 1 if products differ, so that failures of all kinds are 2,
//! and 3 if the builds did not have the same environment.

use crate::commands::Error;
use crate::hint::{ErrorKind, Hint as _};

/// Bytes do not match their digest, size or format.
pub(super) const INTEGRITY: u8 = 3;
/// Not available offline, or not what the lock says.
pub(super) const UNAVAILABLE: u8 = 4;

/// The meaning of a verb's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codes {
    /// Success or failure.
    Done,
    /// The exit code of the command.
    Command,
    /// The result of a comparison of two builds.
    Same,
}

impl Codes {
    /// The code for a failure of hermes itself.
    pub(super) fn failed(self) -> u8 {
        match self {
            Self::Done => 1,
            Self::Command => 125,
            Self::Same => 2,
        }
    }
}

/// The exit code of a failure.
pub(super) fn code(error: &Error, codes: Codes) -> u8 {
    match (error.kind(), error) {
        (ErrorKind::Failed | ErrorKind::Internal, Error::Sandbox(error)) if codes == Codes::Command => {
            error.exit_code()
        }
        (ErrorKind::Failed, _) => codes.failed(),
        (ErrorKind::Usage, _) => 2,
        (ErrorKind::Integrity, _) => INTEGRITY,
        (ErrorKind::Unavailable, _) => UNAVAILABLE,
        (ErrorKind::Internal, _) => 70,
    }
}
