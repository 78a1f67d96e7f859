//! How a run's foreign programs come to their emulator: as was asked, else in the first way that works here.
//!
//! A `binfmt_misc` of the sandbox's own, where the kernel has it; else the host's handler, if that is the locked emulator
//! (or there is no other); else by ptrace. A run that is refused the first goes on with the next and leaves a line in
//! the store, so that the next run of this boot does not try again.

use std::path::PathBuf;

use crate::commands::prepare::{Prepared, Purpose, prepare};
use crate::commands::{Context, Error, Target};
use crate::emulation::{self, Accel, EmulationError, EmulationMode, HostHandler};
use crate::hint::{Hint as _, error_chain};
use crate::lock::Emulator;
use crate::platform::Platform;
use crate::sandbox::{Plan, SandboxError};
use crate::store::Store;

/// The emulator of a run, and the way to it.
pub(super) struct Foreign {
    pub(super) mode: EmulationMode,
    /// What the emulator is, as far as it is known.
    pub(super) emulator: Option<Emulator>,
    /// Its file, where it is not the host's affair.
    pub(super) path: Option<PathBuf>,
    /// Another way may be taken.
    may_change: bool,
    platform: Platform,
}

/// Makes the store hold what a run of `target` takes, and chooses the way of its foreign programs, if it has such.
///
/// # Errors
/// Those of [`prepare`]; `asked` cannot be had.
pub(super) fn ready(
    context: &Context,
    store: &Store,
    target: &Target,
    asked: Option<EmulationMode>,
    accel: Accel,
) -> Result<(Prepared, Option<Foreign>), Error> {
    let platform = target.image_platform;
    if Platform::host().runs(platform) {
        return Ok((prepare(context, store, target, Purpose::run(accel))?, None));
    }
    let by_host = |handler: HostHandler| {
        let emulator = of_host(context, target, &handler)?;
        let prepared = prepare(context, store, target, Purpose::run_by_host(accel))?;
        let foreign = Foreign { mode: EmulationMode::Host, emulator, path: None, may_change: false, platform };
        Ok((prepared, Some(foreign)))
    };
    if asked == Some(EmulationMode::Host) {
        return by_host(emulation::host_handler(platform)?);
    }
    let prepared = match (prepare(context, store, target, Purpose::run(accel)), asked) {
        (Err(error @ (Error::Emulation(EmulationError::Absent { .. }) | Error::NoEmulator { .. })), None) => {
            return emulation::host_handler(platform).map_or(Err(error), by_host);
        }
        (prepared, _) => prepared?,
    };
    let emulator = prepared.emulator.as_ref();
    let mut foreign = Foreign {
        mode: asked.unwrap_or(EmulationMode::Binfmt),
        emulator: emulator.map(|(emulator, _)| emulator.clone()),
        path: emulator.map(|(_, path)| path.clone()),
        may_change: asked.is_none(),
        platform,
    };
    if foreign.may_change && store.binfmt_known_unsupported() {
        foreign.take_the_next();
    }
    Ok((prepared, Some(foreign)))
}

impl Foreign {
    /// The way that is left where the kernel gives the sandbox no `binfmt_misc`.
    fn take_the_next(&mut self) {
        let host = emulation::host_handler(self.platform).ok();
        let digest = self.emulator.as_ref().map(|emulator| emulator.digest);
        let is_locked = |handler: &HostHandler| {
            digest.is_some() && file_of(handler, self.platform).ok().map(|emulator| emulator.digest) == digest
        };
        self.mode = if host.as_ref().is_some_and(is_locked) { EmulationMode::Host } else { EmulationMode::Ptrace };
        self.may_change = false;
    }

    /// Where a run failed because its first way was refused: has the plan take the next one, and remembers it.
    pub(super) fn goes_on(&mut self, context: &Context, store: &Store, plan: &mut Plan, error: &SandboxError) -> bool {
        let Some(call) = error.handlers_refused().filter(|_| self.may_change) else { return false };
        self.take_the_next();
        context.reporter.verbose(&format!(
            "no binfmt_misc of the sandbox's own can be had here ({call}): foreign programs are run by --emulation {}",
            self.mode.name()
        ));
        if let Err(error) = store.set_binfmt_unsupported(true) {
            let hints = error.hints().join("; ");
            context.reporter.verbose(&format!("the next run will try again: {error} {hints}"));
        }
        plan.policy.emulation = Some(self.mode);
        true
    }
}

/// What the file of the host's handler is, if that can be known; under `--locked`, only that of the lock will do.
fn of_host(context: &Context, target: &Target, handler: &HostHandler) -> Result<Option<Emulator>, Error> {
    let platform = target.image_platform;
    let path = &handler.interpreter;
    let found = file_of(handler, platform);
    if context.locked {
        let locked = context.lock_file(target).read()?.emulators.get(&platform).map(|emulator| emulator.digest);
        if locked.is_none() || found.as_ref().ok().map(|found| found.digest) != locked {
            return Err(Error::HandlerNotLocked { platform, path: path.clone(), locked });
        }
    }
    if let Err(error) = &found {
        context.reporter.warn(&format!(
            "which emulator runs programs for {} is not known: {}",
            platform.name(),
            error_chain(error)
        ));
    }
    if !handler.keeps_argv0 {
        context.reporter.verbose(&format!(
            "this host's handler {} has no flag P: programs see their path in the place of argv[0]",
            handler.name
        ));
    }
    Ok(found.ok())
}

fn file_of(handler: &HostHandler, platform: Platform) -> Result<Emulator, EmulationError> {
    emulation::inspect(&handler.interpreter, platform)
}
