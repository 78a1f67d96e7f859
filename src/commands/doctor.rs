//! `hermes doctor`: tries every step, and says what this host lacks.

use serde::Serialize;

use crate::commands::prepare::describe;
use crate::commands::{Context, Error};
use crate::platform::Platform;
use crate::sandbox::probe::{self, Finding};
use crate::store::Store;

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Each step, in the order in which a run needs them.
    pub findings: Vec<Finding>,
    /// Whether native toolchains run here.
    pub native: bool,
    /// Whether foreign ones do.
    pub foreign: bool,
}

/// Tries every step of a run, for real.
///
/// # Errors
/// The store cannot be opened.
pub fn run(context: &Context) -> Result<Report, Error> {
    let store = context.open_store()?;
    let mut findings = probe::sandbox(&store.root().join("tmp"));
    let overlay = findings.iter().any(|finding| finding.name == probe::OVERLAY && finding.ok);
    if overlay && store.refuses_overlay() {
        // What a run found out no longer holds. A store that cannot be written to goes on without.
        let _ = store.set_refuses_overlay(false);
    }
    let native = findings.iter().all(|finding| finding.ok || !finding.needed);
    findings.push(probe::handlers());
    for platform in [Platform::Arm64, Platform::ArmV7] {
        findings.push(emulator(context, &store, platform));
    }
    let foreign = native && findings.iter().rev().take(3).all(|finding| finding.ok);
    findings.push(probe::seccomp());
    findings.push(probe::landlock());
    findings.push(probe::limits());
    findings.push(probe::space(store.root()));
    Ok(Report { findings, native, foreign })
}

fn emulator(context: &Context, store: &Store, platform: Platform) -> Finding {
    let name = format!("emulator for {}", platform.name());
    let found =
        if Platform::host().runs(platform) { Ok("not needed".to_owned()) } else { describe(context, store, platform) };
    Finding::of(name, false, found)
}
