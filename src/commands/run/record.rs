//! The record of a run: its parts, in the order in which they become known, and how it is written.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use crate::commands::outputs::{self, OutputError};
use crate::commands::{Context, Target};
use crate::digest::Digest;
use crate::fs::opened::Opened;
use crate::lock::{self, Emulator, Image, Lock};
use crate::platform::Platform;
use crate::record::{self, Run, RunRequest, Text, Timings, Variable};
use crate::sandbox;
use crate::store::Store;

/// When the phases of a run ended.
pub(super) struct Clock {
    begin: Instant,
    prepared: Instant,
    /// When the command was about to be started, and the time of day then.
    ready: (Instant, SystemTime),
}

impl Clock {
    pub(super) fn start() -> Self {
        let now = Instant::now();
        Self { begin: now, prepared: now, ready: (now, SystemTime::UNIX_EPOCH) }
    }

    /// The end of the preparation.
    pub(super) fn prepared(&mut self) {
        self.prepared = Instant::now();
    }

    /// The end of making the plan.
    pub(super) fn ready(&mut self) {
        self.ready = (Instant::now(), SystemTime::now());
    }

    /// The timings of a command that has just ended.
    pub(super) fn timings(&self) -> Timings {
        let (ready, _) = self.ready;
        Timings {
            prepare: (self.prepared - self.begin).as_secs_f64(),
            root: (ready - self.prepared).as_secs_f64(),
            command: ready.elapsed().as_secs_f64(),
            outputs: 0.0,
        }
    }

    /// Seconds since the command ended.
    pub(super) fn since(&self, timings: Timings) -> f64 {
        (self.ready.0.elapsed().as_secs_f64() - timings.command).max(0.0)
    }

    pub(super) fn started(&self) -> SystemTime {
        self.ready.1
    }
}

/// The environment of a command, as the record has it: without the values that `request` passes on.
pub(super) fn variables(request: &RunRequest, all: &[(OsString, OsString)]) -> Vec<Variable> {
    let variable = |(name, value): &(OsString, OsString)| {
        let is_passed_on = request.passes_on(name);
        let value = (!is_passed_on).then(|| Text(value.clone()));
        Variable { name: Text(name.clone()), value, is_passed_on }
    };
    all.iter().map(variable).collect()
}

/// The entries that a run of `target` needs of a lock, besides those that `lock` has.
pub(super) fn entries(
    mut lock: Lock,
    target: &Target,
    image: &Image,
    emulator: Option<&Emulator>,
    native: Option<&Image>,
) -> Lock {
    lock.images.insert((target.reference.clone(), target.image_platform), image.clone());
    if let Some(emulator) = emulator {
        lock.emulators.insert(target.image_platform, emulator.clone());
    }
    if let Some((reference, native)) = target.native_reference().zip(native) {
        lock.images.insert((reference, Platform::host()), native.clone());
    }
    lock
}

/// Lists the project before a run that has outputs.
pub(super) fn before(store: &Store, project: &Opened, outputs: &[PathBuf], begun: &mut Run) -> Result<(), OutputError> {
    if !outputs.is_empty() {
        begun.directories = outputs::directories(project, outputs)?;
        begun.project.tree = Some(outputs::keep(store, &outputs::inputs(store, project, outputs)?)?);
    }
    Ok(())
}

/// Finishes the record and writes it: with its outputs, where the command ended with 0.
///
/// # Errors
/// Outputs that are not there or cannot be read; the record is written nonetheless, without them.
pub(super) fn after(
    context: &Context,
    store: &Store,
    project: &Opened,
    clock: &Clock,
    run: &mut Run,
    entries: &Lock,
) -> Result<(), OutputError> {
    let mut made = Ok(vec![]);
    if !run.request.outputs.is_empty() && run.ended == sandbox::Ended::Code(0) && run.cause.is_none() {
        made = outputs::made(store, project, &run.request.outputs);
        run.timings.outputs = clock.since(run.timings);
    }
    let made = made.map(|made| run.outputs = made);
    write(context, store, clock.started(), run, entries);
    made
}

/// Writes the record. A run without one is a run all the same.
fn write(context: &Context, store: &Store, started: SystemTime, run: &mut Run, entries: &Lock) {
    let lock = lock::render(entries);
    run.lock = Digest::of(lock.as_bytes());
    let records = store.records();
    // In this order: who removes locks that no record names cannot miss this one.
    let written = record::write(&records, started, run.clone())
        .and_then(|_| record::objects::LOCKS.keep(&records, &run.lock, lock.as_bytes()));
    if let Err(error) = written {
        context.reporter.warn(&format!("cannot record this run in {}: {error}", records.display()));
    }
}
