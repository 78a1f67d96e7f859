//! The emulator of a run and its emulation mode: the requested one, otherwise the first that works on this host.
//!
//! A private `binfmt_misc` instance, if the kernel has it; otherwise the host's handler, if its file is the locked emulator or
//! there is no other; otherwise ptrace. If the kernel refuses the first mode, the run continues with the next and writes a note
//! into the store, so that the next run of this boot does not try again.

use std::path::PathBuf;

use crate::commands::prepare::{Prepared, Purpose, prepare};
use crate::commands::{Context, Error, Target};
use crate::emulation::{self, Accel, EmulationError, EmulationMode, HostHandler};
use crate::hint::{Hint as _, error_chain};
use crate::lock::Emulator;
use crate::platform::Platform;
use crate::sandbox::SandboxError;
use crate::store::Store;

/// The emulator of a run, and the emulation mode.
pub(super) struct Foreign {
    pub(super) mode: EmulationMode,
    /// The emulator, as far as it is known.
    pub(super) emulator: Option<Emulator>,
    /// Its file, unless the host has a handler with it.
    pub(super) path: Option<PathBuf>,
    /// Whether another mode may replace this one.
    may_change: bool,
    platform: Platform,
}

/// Acquires what a run of `target` needs, and chooses the emulation mode if its programs are foreign.
///
/// # Errors
/// Those of [`prepare`]; the `requested` mode is not available.
pub(super) fn ready(
    context: &Context,
    store: &Store,
    target: &Target,
    requested: Option<EmulationMode>,
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
    if requested == Some(EmulationMode::Host) {
        return by_host(emulation::host_handler(platform)?);
    }
    let prepared = match (prepare(context, store, target, Purpose::run(accel)), requested) {
        (Err(error @ (Error::Emulation(EmulationError::Absent { .. }) | Error::NoEmulator { .. })), None) => {
            return emulation::host_handler(platform).map_or(Err(error), by_host);
        }
        (prepared, _) => prepared?,
    };
    let emulator = prepared.emulator.as_ref();
    let mut foreign = Foreign {
        mode: requested.unwrap_or(EmulationMode::Binfmt),
        emulator: emulator.map(|(emulator, _)| emulator.clone()),
        path: emulator.map(|(_, path)| path.clone()),
        may_change: requested.is_none(),
        platform,
    };
    if foreign.may_change && store.binfmt_known_unsupported() {
        foreign.take_the_next();
    }
    Ok((prepared, Some(foreign)))
}

impl Foreign {
    /// Chooses the mode for a kernel without private `binfmt_misc` instances.
    fn take_the_next(&mut self) {
        let host = emulation::host_handler(self.platform).ok();
        let digest = self.emulator.as_ref().map(|emulator| emulator.digest);
        let is_locked = |handler: &HostHandler| {
            digest.is_some() && file_of(handler, self.platform).ok().map(|emulator| emulator.digest) == digest
        };
        self.mode = if host.as_ref().is_some_and(is_locked) { EmulationMode::Host } else { EmulationMode::Ptrace };
        self.may_change = false;
    }

    /// The mode that replaces the first one if `error` refused that, unless the caller requires it. A note in the store saves
    /// the next run from trying again.
    pub(super) fn after_refusal(
        &mut self,
        context: &Context,
        store: &Store,
        error: &SandboxError,
    ) -> Option<EmulationMode> {
        let call = error.handlers_refused().filter(|_| self.may_change)?;
        self.take_the_next();
        context.reporter.verbose(&format!(
            "this kernel refuses a private binfmt_misc ({call}): foreign programs are run by --emulation {}",
            self.mode.name()
        ));
        if let Err(error) = store.set_binfmt_unsupported(true) {
            let hints = error.hints().join("; ");
            context.reporter.verbose(&format!("the next run will try again: {error} {hints}"));
        }
        Some(self.mode)
    }
}

/// The emulator of the host's handler, if it can be read. With `--locked` it must be the locked one.
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
            "cannot determine which emulator runs programs for {}: {}",
            platform.name(),
            error_chain(error)
        ));
    }
    if !handler.keeps_argv0 {
        context.reporter.verbose(&format!(
            "this host's handler {} has no flag P: programs see their path instead of argv[0]",
            handler.name
        ));
    }
    Ok(found.ok())
}

fn file_of(handler: &HostHandler, platform: Platform) -> Result<Emulator, EmulationError> {
    emulation::inspect(&handler.interpreter, platform)
}
