//! `hermes doctor`: tries each step of a run, and reports what this host lacks.

mod composition;

use serde::Serialize;

use crate::commands::prepare::describe;
use crate::commands::{Context, Error};
use crate::emulation;
use crate::platform::Platform;
use crate::sandbox::probe::{self, Finding};
use crate::store::Store;

/// The findings.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// Each step, in the order in which a run needs them.
    pub findings: Vec<Finding>,
    /// Whether native toolchains run here.
    pub native: bool,
    /// Whether foreign ones do.
    pub foreign: bool,
}

/// Performs each step of a run.
pub(crate) fn run(context: &Context) -> Result<Report, Error> {
    let store = context.open_store()?;
    let mut findings = probe::sandbox(&store.root().join("tmp"));
    let overlay = findings.iter().any(|finding| finding.name == probe::OVERLAY && finding.ok);
    if overlay && store.overlay_known_unsupported() {
        // Overlays work now, unlike in an earlier run. A store that cannot be written to works without this note.
        let _ = store.set_overlay_unsupported(false);
    }
    let surroundings = store.check_surroundings().map(|()| "no other user can rename it".to_owned());
    findings.push(Finding::of("place of the store", false, surroundings));
    let native = findings.iter().all(|finding| finding.ok || !finding.needed);
    let (private, traced) = (probe::handlers(), probe::tracing());
    if private.ok && store.binfmt_known_unsupported() {
        let _ = store.set_binfmt_unsupported(false);
    }
    let emulation = private.ok || traced.ok;
    findings.extend([private, traced]);
    findings.extend([Platform::Arm64, Platform::ArmV7].into_iter().filter_map(registered));
    for platform in [Platform::Arm64, Platform::ArmV7] {
        findings.push(emulator(context, &store, platform));
    }
    let foreign = native && emulation && findings.iter().rev().take(2).all(|finding| finding.ok);
    findings.push(composition::finding(&store));
    findings.push(probe::seccomp());
    findings.push(probe::landlock());
    findings.push(probe::core_dumps());
    findings.push(probe::limits());
    findings.push(probe::space(store.root()));
    Ok(Report { findings, native, foreign })
}

/// The handler that the host has registered, if any, whether it works or not. hermes does not need it.
fn registered(platform: Platform) -> Option<Finding> {
    let found = emulation::host_handler(platform);
    if found.as_ref().is_err_and(|error| !error.is_misconfigured()) {
        return None;
    }
    let detail = |handler: emulation::HostHandler| format!("{} by {}", handler.name, handler.interpreter.display());
    Some(Finding::of(format!("this host's handler for {}", platform.name()), false, found.map(detail)))
}

fn emulator(context: &Context, store: &Store, platform: Platform) -> Finding {
    let name = format!("emulator for {}", platform.name());
    let found =
        if Platform::host().runs(platform) { Ok("not needed".to_owned()) } else { describe(context, store, platform) };
    Finding::of(name, false, found)
}
