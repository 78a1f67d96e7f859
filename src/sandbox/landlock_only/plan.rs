//! Plan of a run with `--isolation landlock`.

use crate::fs::opened::Opened;
use crate::sandbox::plan::Reach;
use crate::sandbox::policy::{Feature, Policy};

/// What is done. All paths are the host's.
#[derive(Debug, Clone)]
pub(crate) struct LandlockPlan {
    /// What the command may do where; nothing elsewhere.
    pub paths: Vec<(Opened, Reach)>,
    /// Where it starts.
    pub directory: Opened,
    /// The rest; what it says of mounts and users means nothing.
    pub policy: Policy,
}

impl LandlockPlan {
    /// What nothing runs without: the one keeps files apart, the other keeps the command from the caller's session bus.
    pub(super) const REQUIRED: [Feature; 2] = [Feature::Landlock, Feature::Seccomp];
}
