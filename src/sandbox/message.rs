//! Messages between init and the supervisor, and between the command and init.

use serde::{Deserialize, Serialize};

use crate::sandbox::denial::Denial;
use crate::sandbox::outcome::{Ended, Enforced, FakedFile};
use crate::sandbox::policy::Feature;
use crate::sandbox::step::Step;
use crate::sys::SysError;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message {
    /// Carries the descriptor of the command's terminal.
    Terminal,
    /// To init: its ids are mapped. To the command: its own ids are.
    Mapped,
    /// To init: the command has entered its user namespace, whose ids init must map.
    Entered,
    /// To init: carries the descriptor of the seccomp listener, or none if there is no listener.
    Listener,
    /// Everything but the program itself is set up; what is in force.
    Ready(Enforced),
    /// A feature that `--require` asks for is not in force; nothing ran.
    Missing(Feature),
    /// A step failed; nothing ran.
    Failed {
        /// The step that failed.
        step: Step,
        /// The system call that failed.
        error: SysError,
    },
    /// The program could not be started.
    NotStarted {
        /// Program of the command line.
        program: String,
        /// Whether its file exists.
        exists: bool,
        /// The system call that failed.
        error: SysError,
    },
    /// The sandbox denied something to the command.
    Denied(Denial),
    /// Number of further denials.
    DeniedMore(u64),
    /// Some of the files that seem to have another owner at the end.
    Faked(Vec<FakedFile>),
    /// The command and every process it left behind ended.
    Ended(Ended),
}
