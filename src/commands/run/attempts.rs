//! The execution of a plan: if the kernel refuses a part of it, the run continues with the first fallback that replaces that
//! part.

use crate::commands::Error;
use crate::commands::run::emulation::Foreign;
use crate::commands::run::rootfs::{Composed, Composer};
use crate::emulation::EmulationMode;
use crate::sandbox::{self, Group, InitReaper, Outcome, Plan, SandboxError};

/// A part of a plan that can be replaced.
pub(super) enum Fallback<'a> {
    /// The overlay, by the next root strategy.
    Root,
    /// The emulation mode, by the next one.
    Emulation(&'a mut Foreign),
}

/// What replaces a part of a plan.
enum Change {
    Root(Composed),
    Emulation(EmulationMode),
}

impl Fallback<'_> {
    /// What to do instead, if `error` refuses this part of `plan` and there is a replacement.
    fn change(&mut self, composer: &Composer<'_>, plan: &Plan, error: &SandboxError) -> Result<Option<Change>, Error> {
        Ok(match self {
            Self::Root => composer.after_refusal(plan, error)?.map(Change::Root),
            Self::Emulation(foreign) => {
                foreign.after_refusal(composer.context, composer.store, error).map(Change::Emulation)
            }
        })
    }
}

/// Runs the plan, changed by the `fallbacks` as far as the kernel refuses parts of it.
///
/// # Errors
/// A failure that no fallback is for.
pub(super) fn run(
    composer: &Composer<'_>,
    plan: &mut Plan,
    group: Option<&Group>,
    mut fallbacks: Vec<Fallback<'_>>,
) -> Result<(Outcome, InitReaper), Error> {
    // Roots that were made for this run last until it has ended.
    let mut roots = Vec::new();
    loop {
        let error = match sandbox::run(plan, group) {
            Ok(ended) => return Ok(ended),
            Err(error) => error,
        };
        let mut changes = fallbacks.iter_mut().map(|fallback| fallback.change(composer, plan, &error));
        let Some(change) = changes.find_map(Result::transpose).transpose()? else { return Err(error.into()) };
        match change {
            Change::Emulation(mode) => plan.policy.emulation = Some(mode),
            Change::Root(next) => {
                plan.root = next.root(std::mem::take(&mut plan.root.files));
                roots.push(next);
            }
        }
    }
}
