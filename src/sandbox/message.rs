//! Messages between init and the supervisor, and between the command and init.

use serde::{Deserialize, Serialize};

use crate::sandbox::outcome::{Ended, Enforced};
use crate::sandbox::policy::Feature;
use crate::sandbox::tracer::explain::Denial;
use crate::sys::SysError;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message {
    /// The command's terminal comes with this message.
    Terminal,
    /// To init: its ids are mapped; to the command: so are its own.
    Mapped,
    /// To init: the command has entered its user namespace, whose ids are to be mapped.
    Entered,
    /// The calls that init is to answer are heard of on the descriptor that comes with this message; on none without one.
    Listener,
    /// All is set up but for the program itself; what is enforced.
    Ready(Enforced),
    /// What `--require` asks for is not enforced here; nothing ran.
    Missing(Feature),
    /// A step failed; nothing ran.
    Failed {
        /// The step, in words.
        step: String,
        /// The call.
        error: SysError,
    },
    /// The program could not be started.
    NotStarted {
        /// The program.
        program: String,
        /// Its file exists.
        exists: bool,
        /// The call.
        error: SysError,
    },
    /// Something was refused to the command, which was watched.
    Denied(Denial),
    /// So much more was refused to it.
    DeniedMore(u64),
    /// The command ended, and so has every process it left behind.
    Ended(Ended),
}
