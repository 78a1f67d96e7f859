//! Exit codes.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed |
//! | 2 | wrong usage |
//! | 3 | integrity: bytes are not what their digest, size or format promised |
//! | 4 | not available offline, or a lock would change under `--locked` |
//! | 70 | a bug in hermes |
//!
//! `run` ends with the command's own code, 128 + n for signal n, 124 where its time was up, 125 where
//! hermes failed before the command, 126 where the command cannot be invoked, 127 where it is not found; usage, integrity and
//! availability keep their codes.

use crate::commands::Error;
use crate::hint::{ErrorKind, Hint as _};

/// Bytes are not what they should be.
pub(super) const INTEGRITY: u8 = 3;

/// The exit code of a failure; `running` for the verbs that end with a command's code.
pub(super) fn code(error: &Error, running: bool) -> u8 {
    match (error.kind(), error) {
        (ErrorKind::Failed | ErrorKind::Internal, Error::Sandbox(error)) if running => error.exit_code(),
        (ErrorKind::Failed, _) => {
            if running {
                125
            } else {
                1
            }
        }
        (ErrorKind::Usage, _) => 2,
        (ErrorKind::Integrity, _) => INTEGRITY,
        (ErrorKind::Unavailable, _) => 4,
        (ErrorKind::Internal, _) => 70,
    }
}
