//! A run with everything that both kinds of isolation need, and the steps that both record.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::commands::prepare::Prepared;
use crate::commands::run::emulation::{self, Foreign};
use crate::commands::run::native_tools::usable_accel;
use crate::commands::run::record::{self as recording, Clock};
use crate::commands::run::request::{Invocation, here};
use crate::commands::source::{acquire, additions};
use crate::commands::{Context, Error, Target, outputs};
use crate::digest::Digest;
use crate::emulation::{Accel, Crash, EmulationMode};
use crate::fs::opened::Opened;
use crate::lock::{Build, Emulator, Image, Lock, Source};
use crate::oci::{self, ImageConfig};
use crate::record::{self, GuestOverrides, GuestView, Run, RunRequest, Text};
use crate::resolve::ResolveError;
use crate::sandbox::{
    AppliedLimits, Enforced, Group, InitReaper, Isolation, Network, Outcome, Policy, RootStrategy, Shared, lowest_nice,
};
use crate::store::{Lease, Store};

/// A command that ran.
pub(crate) struct Ran {
    /// How it ended.
    pub outcome: Outcome,
    /// Its record.
    pub record: Box<Run>,
    /// Set if the emulator may have caused its end.
    pub crash: Option<Crash>,
}

/// The result of a run.
pub(crate) enum Done {
    /// The command ran.
    Ran(Ran),
    /// Something was fetched first. This process has had threads, so it may not start a sandbox (`sandbox::spawn`): the caller
    /// executes hermes again, which finds all that it needs, since the lease keeps it.
    Fetched(Lease),
}

/// The result of a step that may have to fetch something first.
pub(super) enum Opening<T> {
    Ready(T),
    /// As [`Done::Fetched`].
    Fetched(Lease),
}

/// The files and directories of the host that a command can use, by the rules of a kind of isolation.
pub(super) type Binds = fn(&Invocation, &Target) -> Result<Vec<Shared>, Error>;

/// A run before its sandbox is planned.
pub(super) struct RunSession<'a> {
    pub(super) context: &'a Context,
    pub(super) store: Store,
    pub(super) invocation: Invocation,
    pub(super) target: Target,
    pub(super) network: Network,
    pub(super) config: ImageConfig,
    /// The build environment, with a time in place of `epoch = "git"`.
    pub(super) build: Build,
    /// The guest view: the caller's options, else the project's settings.
    pub(super) guest: GuestOverrides,
    pub(super) project: Opened,
    /// What is mounted, or at its own place with `--isolation landlock`.
    pub(super) binds: Vec<Shared>,
    pub(super) image: Image,
    /// The lock's entries for the packages that the image is composed of, if it is, and for the sources of the toolchain.
    pub(super) packages: Lock,
    pub(super) accel: Accel,
    /// The image with native tools, if they are wanted and available.
    pub(super) native: Option<Image>,
    /// The emulator, for an image with foreign programs.
    pub(super) foreign: Option<Foreign>,
    sources: BTreeMap<String, Source>,
    clock: Clock,
    /// Keeps the images of the run in the store.
    lease: Lease,
}

/// The conditions under which a command runs in either kind of isolation.
pub(super) struct Conditions {
    pub(super) limits: AppliedLimits,
    /// The cgroup that enforces limits.
    pub(super) group: Option<Group>,
    pub(super) guest: GuestView,
}

/// A planned sandbox, as the record needs it.
pub(super) trait Sandbox {
    fn policy(&self) -> &Policy;
    fn conditions(&self) -> &Conditions;
    /// Native tools that replace emulated ones.
    fn native_tools(&mut self) -> Vec<String>;
    /// Runs the command to its end.
    fn execute(&mut self, session: &mut RunSession<'_>) -> Result<Executed, Error>;
}

/// A command that ended in its sandbox.
pub(super) struct Executed {
    pub(super) outcome: Outcome,
    /// The root strategy and the emulation mode with which it ran in the end.
    pub(super) root_strategy: RootStrategy,
    pub(super) emulation: Option<EmulationMode>,
    /// Waits for init, after the record is written.
    pub(super) reaper: Option<InitReaper>,
}

impl<'a> RunSession<'a> {
    /// Acquires everything that the run needs. `binds` checks whether the kind of isolation allows the options, and returns what
    /// of the host the command can use.
    ///
    /// # Errors
    /// Options that contradict each other or this host; those of acquiring.
    pub(super) fn open(
        context: &'a Context,
        mut invocation: Invocation,
        binds: Binds,
    ) -> Result<Opening<Box<Self>>, Error> {
        let mut clock = Clock::start();
        check_nice(invocation.request.nice)?;
        let request = &mut invocation.request;
        request.outputs = outputs::checked(&request.outputs)?;
        let network = invocation.network(context)?;
        invocation.mount_project(context)?;
        invocation.pass_proxies(context, network);
        require(&mut invocation.request, &context.build());
        let target = invocation.choose_target(context)?;
        let isolation = invocation.request.isolation;
        let mut binds = binds(&invocation, &target)?;
        let store = context.open_store()?;
        let accel = usable_accel(&invocation.request, &target)?;
        let (mut prepared, foreign) = emulation::ready(context, &store, &target, invocation.request.emulation, accel)?;
        binds.extend(acquire::ready(context, &store, &target, isolation, &mut prepared)?);
        if prepared.fetched.is_none() {
            binds.extend(additions::binds(&store, &target, &prepared.packages)?);
        }
        if let Some(report) = prepared.fetched {
            context
                .reporter
                .verbose(&format!("fetched {} layers, {} bytes", report.layers_downloaded, report.bytes_downloaded));
            return Ok(Opening::Fetched(prepared.lease));
        }
        let Prepared { build, image, packages, native, sources, lease, .. } = prepared;
        let build = context.at_last_commit(build)?;
        let config = config(&store, &target, &image)?;
        clock.prepared();
        let project = match isolation {
            Isolation::Namespaces => {
                let mounted = binds.iter().rfind(|shared| shared.bind.target == invocation.work());
                mounted.map_or_else(here, |shared| Ok(shared.source.clone()))?
            }
            // The first is the current directory.
            Isolation::Landlock => binds[0].source.clone(),
        };
        let guest = invocation.request.guest_overrides.or_of(&build);
        Ok(Opening::Ready(Box::new(Self {
            context,
            store,
            invocation,
            target,
            network,
            config,
            build,
            guest,
            project,
            binds,
            image,
            packages,
            accel,
            native,
            foreign,
            sources,
            clock,
            lease,
        })))
    }

    /// The emulator, as far as it is known.
    pub(super) fn emulator(&self) -> Option<&Emulator> {
        self.foreign.as_ref().and_then(|foreign| foreign.emulator.as_ref())
    }

    /// The part of the policy that does not depend on the kind of isolation. The binds move into it.
    pub(super) fn policy(
        &mut self,
        argv: Vec<OsString>,
        directory: PathBuf,
        environment: Vec<(OsString, OsString)>,
        limits: AppliedLimits,
    ) -> Policy {
        let request = &self.invocation.request;
        Policy {
            network: self.network,
            binds: std::mem::take(&mut self.binds),
            environment,
            terminal: request.terminal,
            required: request.required.clone(),
            timeout: request.timeout,
            limits: limits.process,
            nice: request.nice,
            umask: self.guest.umask(),
            nproc: self.guest.nproc,
            ..Policy::new(argv, directory)
        }
    }

    /// Runs the command and records the run.
    ///
    /// # Errors
    /// The sandbox cannot be made; an output is missing.
    pub(super) fn execute(mut self, mut sandbox: impl Sandbox) -> Result<Done, Error> {
        let entries = Lock { sources: std::mem::take(&mut self.sources), ..self.entries() };
        let mut begun = self.begun(&mut sandbox);
        recording::before(&self.store, &self.project, &self.invocation.request.outputs, &mut begun)?;
        self.clock.ready();
        let Executed { outcome, root_strategy, emulation, reaper } = sandbox.execute(&mut self)?;
        let mut run = Run {
            request: std::mem::take(&mut self.invocation.request),
            enforced: outcome.enforced.clone(),
            ended: outcome.ended,
            cause: outcome.cause,
            root_strategy,
            emulation,
            timings: self.clock.timings(),
            ..begun
        };
        let Self { context, store, project, clock, .. } = &self;
        let recorded = recording::after(context, store, project, clock, &mut run, &entries);
        drop(reaper);
        drop(sandbox);
        // Only now may others remove what the run has used.
        drop(self.lease);
        recorded?;
        let by = self.foreign.and_then(|foreign| foreign.emulator).filter(|_| outcome.cause.is_none());
        let crash = by.and_then(|by| Crash::of(outcome.exit_code(), self.target.image_platform, &by));
        Ok(Done::Ran(Ran { outcome, record: Box::new(run), crash }))
    }

    /// The lock entries that the run uses, but for its sources.
    fn entries(&self) -> Lock {
        let lock = Lock { build: Some(self.build.clone()), ..self.packages.clone() };
        recording::entries(lock, &self.target, &self.image, self.emulator(), self.native.as_ref())
    }

    /// The record of the run, as far as it is known before the command starts. The request moves there when it has ended.
    fn begun(&self, sandbox: &mut impl Sandbox) -> Run {
        let tools = sandbox.native_tools();
        let (policy, conditions) = (sandbox.policy(), sandbox.conditions());
        let native = self.native.as_ref().filter(|_| !tools.is_empty());
        let emulator = self.emulator();
        Run {
            target: self.target.clone(),
            manifest: self.image.manifest.digest,
            diff_ids: self.image.layers.iter().map(|layer| layer.diff_id).collect(),
            emulator: emulator
                .map(|emulator| record::Emulator { digest: emulator.digest, version: emulator.version.clone() }),
            native: native.map(|image| record::Native { manifest: image.manifest.digest, tools }),
            emulation: policy.emulation,
            argv: policy.argv.iter().cloned().map(Text).collect(),
            environment: recording::variables(&self.invocation.request, &policy.environment),
            directory: policy.directory.clone(),
            binds: policy.binds.iter().map(|shared| shared.bind.clone()).collect(),
            network: policy.network,
            profile: policy.profile,
            limits: conditions.limits,
            guest: conditions.guest.clone(),
            root_strategy: RootStrategy::Overlay,
            fake_root: policy.fake_root,
            sub_ids: policy.sub_ids,
            enforced: Enforced::default(),
            ended: crate::sandbox::Ended::Code(0),
            cause: None,
            request: RunRequest::default(),
            lock: Digest::of(&[]),
            timings: record::Timings::default(),
            project: record::Project { path: self.project.path().to_owned(), tree: None },
            outputs: vec![],
            directories: vec![],
            repeats: self.invocation.repeats,
        }
    }
}

/// Refuses a nice value that the kernel would refuse later.
fn check_nice(nice: Option<i8>) -> Result<(), Error> {
    let Some(nice) = nice else { return Ok(()) };
    let lowest = lowest_nice();
    if i64::from(nice) < lowest { Err(Error::Nice { nice, lowest }) } else { Ok(()) }
}

/// Adds the features that the project requires. A request from a record has them already.
fn require(request: &mut RunRequest, build: &Build) {
    for feature in &build.require {
        if !request.required.contains(feature) {
            request.required.push(*feature);
        }
    }
}

/// The config of an image in the store.
fn config(store: &Store, target: &Target, image: &Image) -> Result<ImageConfig, Error> {
    let bytes = store.read_blob(&image.config, oci::MAX_CONFIG)?;
    ImageConfig::parse_alone(&bytes).map_err(|source| {
        let (reference, digest) = (Box::new(target.reference.clone()), image.config.digest);
        ResolveError::Document { reference, digest, source }.into()
    })
}
