//! Runs a command with `--isolation landlock` and supervises it.

use crate::sandbox::cgroup::Group;
use crate::sandbox::channel;
use crate::sandbox::error::SandboxError;
use crate::sandbox::landlock_only::plan::LandlockPlan;
use crate::sandbox::landlock_only::subreaper;
use crate::sandbox::outcome::Outcome;
use crate::sandbox::spawn::into_outcome;
use crate::sandbox::streams;
use crate::sandbox::supervise::{self, Child};
use crate::sandbox::termination::Termination;
use crate::sys::process::{Forked, fork, landlock_abi, single_threaded};

/// Runs `plan` to its end, in `group` if there is one.
///
/// # Errors
///
/// Landlock or the filter is missing, a step fails, or the command cannot be started.
pub(crate) fn run(plan: &LandlockPlan, group: Option<&Group>) -> Result<Outcome, SandboxError> {
    if landlock_abi() == 0 {
        return Err(SandboxError::NoLandlock);
    }
    streams::check()?;
    let proof = single_threaded().map_err(SandboxError::Supervise)?.ok_or(SandboxError::Threads)?;
    let (ours, theirs) = channel::pair().map_err(SandboxError::Supervise)?;
    let signals = supervise::Signals::block().map_err(SandboxError::Supervise)?;
    match fork(&proof).map_err(SandboxError::Supervise)? {
        Forked::Child(proof) => {
            drop(ours);
            subreaper::run(plan, group, &theirs, &signals.original, &proof)
        }
        Forked::Parent(subreaper) => {
            drop(theirs);
            let news = supervise::watch(
                subreaper,
                Child::Subreaper,
                &ours,
                &signals,
                plan.policy.terminal,
                Termination::new(plan.policy.timeout),
            );
            drop(ours);
            // All descendants have ended with it.
            into_outcome(news, None, subreaper, group).map(|(outcome, _)| outcome)
        }
    }
}
