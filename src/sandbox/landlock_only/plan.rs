//! Plan of a run with `--isolation landlock`.

use crate::fs::opened::Opened;
use crate::sandbox::plan::Reach;
use crate::sandbox::policy::{Feature, Policy};

/// Plan of a run without namespaces. All paths are the host's.
#[derive(Debug, Clone)]
pub(crate) struct LandlockPlan {
    /// Paths the command has access to. It has none to others.
    pub paths: Vec<(Opened, Reach)>,
    /// Working directory.
    pub directory: Opened,
    /// Everything else. Its mounts and users have no meaning here.
    pub policy: Policy,
}

impl LandlockPlan {
    /// Features without which nothing runs: landlock separates files, the filter keeps the command from the caller's
    /// session bus.
    pub(super) const REQUIRED: [Feature; 2] = [Feature::Landlock, Feature::Seccomp];
}
