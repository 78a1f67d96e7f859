//! What is put on record of a run, and a request made of it again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use crate::commands::composition::RootKind;
use crate::commands::outputs::{self, OutputError};
use crate::commands::run::{self, Request, Users};
use crate::commands::surroundings::Surroundings;
use crate::commands::{Context, Error, Target, TargetSelector};
use crate::digest::Digest;
use crate::emulation::EmulationMode;
use crate::fs::opened::Opened;
use crate::lock::{self, Build, Emulator, Image, Lock};
use crate::platform::Platform;
use crate::record::{self, Asked, Run, Text, Timings, Variable};
use crate::sandbox::{self, Isolation, Policy, Rung, Shared};
use crate::store::Store;

/// How far a run has come, by the clock.
pub(super) struct Clock {
    begin: Instant,
    prepared: Instant,
    /// When the command was about to be started, and what the time was.
    ready: (Instant, SystemTime),
}

impl Clock {
    pub(super) fn start() -> Self {
        let now = Instant::now();
        Self { begin: now, prepared: now, ready: (now, SystemTime::UNIX_EPOCH) }
    }

    /// It is known what is to be run.
    pub(super) fn prepared(&mut self) {
        self.prepared = Instant::now();
    }

    /// All is ready for the command.
    pub(super) fn ready(&mut self) {
        self.ready = (Instant::now(), SystemTime::now());
    }

    /// The command has ended.
    pub(super) fn timings(&self) -> Timings {
        let (ready, _) = self.ready;
        Timings {
            prepare: (self.prepared - self.begin).as_secs_f64(),
            root: (ready - self.prepared).as_secs_f64(),
            command: ready.elapsed().as_secs_f64(),
            outputs: 0.0,
        }
    }

    /// Since when the command had ended.
    pub(super) fn since(&self, timings: Timings) -> f64 {
        (self.ready.0.elapsed().as_secs_f64() - timings.command).max(0.0)
    }

    pub(super) fn started(&self) -> SystemTime {
        self.ready.1
    }
}

/// What was asked, for the record.
pub(super) fn asked(request: &Request, target: &Target, project: &Opened) -> Asked {
    Asked {
        project: project.path().to_owned(),
        image_platform: target.image_platform,
        emulator: target.emulator.clone(),
        native: target.native.clone(),
        volumes: request.volumes.iter().map(|volume| volume.bind.clone()).collect(),
        environment: variables(request, &request.environment),
        directory: request.directory.clone(),
        surroundings: request.surroundings.clone(),
        network: request.network.unwrap_or_default(),
        network_by: request.network_by,
        entrypoint: request.entrypoint.clone().map(Text),
        root: request.root,
        fake_root: request.fake_root,
        many_users: request.users == Users::Many,
        required: request.required.clone(),
        limits: request.limits,
        timeout: request.timeout,
        rootfs: match request.root_kind {
            RootKind::Auto => None,
            RootKind::Overlay => Some(Rung::Overlay),
            RootKind::Merged => Some(Rung::Merged),
        },
        accel: request.accel,
        emulation: request.emulation,
        terminal: request.terminal.is_some(),
        outputs: request.outputs.clone(),
        argv: request.argv.iter().cloned().map(Text).collect(),
    }
}

/// The project, which is at `work` inside, among what of the host is visible.
pub(super) fn project(shared: &[Shared], work: &Path) -> Result<Opened, Error> {
    let work = shared.iter().rev().find(|shared| shared.bind.target == work);
    work.map_or_else(run::here, |shared| Ok(shared.source.clone()))
}

/// Variables without the values that `request` only passes on.
pub(super) fn variables(request: &Request, all: &[(OsString, OsString)]) -> Vec<Variable> {
    let variable = |(name, value): &(OsString, OsString)| Variable {
        name: Text(name.clone()),
        value: (!request.passed_on.contains(name)).then(|| Text(value.clone())),
    };
    all.iter().map(variable).collect()
}

/// The entries that a run of `target` needs of a lock.
pub(super) fn entries(
    build: Build,
    target: &Target,
    image: &Image,
    emulator: Option<&Emulator>,
    native: Option<&Image>,
) -> Lock {
    let mut lock = Lock { build: Some(build), ..Lock::default() };
    lock.images.insert((target.reference.clone(), target.image_platform), image.clone());
    if let Some(emulator) = emulator {
        lock.emulators.insert(target.image_platform, emulator.clone());
    }
    if let Some((described, native)) = target.native.as_ref().zip(native) {
        lock.images.insert((described.image.clone(), Platform::host()), native.clone());
    }
    lock
}

/// What is known of a run before it ends.
pub(super) fn begun(
    policy: &Policy,
    (environment, repeats): (Vec<Variable>, Option<Digest>),
    target: &Target,
    asked: Asked,
    image: &Image,
    emulator: Option<&Emulator>,
) -> Run {
    Run {
        toolchain: target.toolchain.clone(),
        platform: target.platform,
        reference: target.reference.clone(),
        manifest: image.manifest.digest,
        diff_ids: image.layers.iter().map(|layer| layer.diff_id).collect(),
        emulator: emulator
            .map(|emulator| record::Emulator { digest: emulator.digest, version: emulator.version.clone() }),
        native: None,
        emulation: policy.emulation,
        argv: policy.argv.iter().cloned().map(Text).collect(),
        environment,
        directory: policy.directory.clone(),
        binds: policy.binds.iter().map(|shared| shared.bind.clone()).collect(),
        network: policy.network,
        profile: policy.profile,
        isolation: Isolation::Namespaces,
        root: Rung::Overlay,
        fake_root: policy.fake_root,
        sub_ids: policy.sub_ids,
        enforced: sandbox::Enforced::default(),
        ended: sandbox::Ended::Code(0),
        cause: None,
        limits: sandbox::AppliedLimits::default(),
        asked,
        lock: Digest::of(&[]),
        timings: Timings::default(),
        project: None,
        outputs: vec![],
        directories: vec![],
        repeats,
        seen: Surroundings::default().seen(Path::new("/"), &[]),
    }
}

/// Where the records of `store` are.
pub(super) fn records(store: &Store) -> PathBuf {
    store.root().join("records")
}

/// Looks at the project before a run that has outputs.
pub(super) fn before(store: &Store, project: &Opened, begun: &mut Run) -> Result<(), OutputError> {
    let outputs = &begun.asked.outputs;
    if !outputs.is_empty() {
        begun.directories = outputs::directories(project, outputs)?;
        begun.project = Some(outputs::keep(store, &outputs::inputs(store, project, outputs)?)?);
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
    if !run.asked.outputs.is_empty() && run.ended == sandbox::Ended::Code(0) && run.cause.is_none() {
        made = outputs::made(store, project, &run.asked.outputs);
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
    let records = records(store);
    // In this order: who removes locks that no record names cannot miss this one.
    let written = record::write(&records, started, run.clone())
        .and_then(|_| record::kept::LOCKS.keep(&records, &run.lock, lock.as_bytes()));
    if let Err(error) = written {
        context.reporter.warn(&format!("this run is not recorded in {}: {error}", records.display()));
    }
}

/// The request of a recorded run, to be made again. No terminal and nobody to explain to.
///
/// # Errors
/// Names of variables that were passed on, and that `variables`, the caller's, do not have.
pub(super) fn request(
    run: &Run,
    id: Digest,
    volumes: Vec<Shared>,
    variables: &[(OsString, OsString)],
) -> Result<Request, Vec<String>> {
    let asked = &run.asked;
    let (mut environment, mut passed_on, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for Variable { name, value } in &asked.environment {
        let callers = || variables.iter().find(|(known, _)| *known == name.0).map(|(_, value)| value.clone());
        if value.is_none() {
            passed_on.push(name.0.clone());
        }
        match value.as_ref().map(|value| value.0.clone()).or_else(callers) {
            Some(value) => environment.push((name.0.clone(), value)),
            None => missing.push(name.to_string()),
        }
    }
    if !missing.is_empty() {
        return Err(missing);
    }
    let target = Target {
        toolchain: run.toolchain.clone(),
        platform: run.platform,
        reference: run.reference.clone(),
        image_platform: asked.image_platform,
        label: None,
        emulator: asked.emulator.clone(),
        native: asked.native.clone(),
    };
    Ok(Request {
        selector: TargetSelector { recorded: Some(Box::new(target)), ..TargetSelector::default() },
        volumes,
        environment,
        passed_on,
        directory: asked.directory.clone(),
        surroundings: asked.surroundings.clone(),
        network: Some(asked.network),
        network_by: asked.network_by,
        entrypoint: asked.entrypoint.clone().map(|text| text.0),
        root: asked.root,
        fake_root: asked.fake_root,
        users: if asked.many_users { Users::Many } else { Users::One },
        required: asked.required.clone(),
        limits: asked.limits,
        timeout: asked.timeout,
        isolation: run.isolation,
        root_kind: match asked.rootfs {
            None => RootKind::Auto,
            Some(Rung::Overlay) => RootKind::Overlay,
            Some(Rung::Merged | Rung::Copy) => RootKind::Merged,
        },
        accel: asked.accel,
        // A run by the host's own handler is known by its emulator, which no other way has.
        emulation: if run.emulation == Some(EmulationMode::Host) { Some(EmulationMode::Host) } else { asked.emulation },
        explain: None,
        outputs: asked.outputs.clone(),
        repeats: Some(id),
        argv: asked.argv.iter().map(|text| text.0.clone()).collect(),
        terminal: None,
    })
}
