//! Native tools in the place of emulated ones: do they fit, and where do they go.

use std::time::Duration;

use crate::commands::composition::{self, Composed, RootKind};
use crate::commands::foreign::Foreign;
use crate::commands::run::Request;
use crate::commands::{Context, Error, Target, self_test};
use crate::digest::Digest;
use crate::emulation::native::{Fit, Incompatibility, Natives, Placement, Tool};
use crate::emulation::{self, Accel};
use crate::fs::atomic;
use crate::fs::opened::Opened;
use crate::hint::error_chain;
use crate::lock::Image;
use crate::rootfs::{Identity, Rootfs};
use crate::sandbox::{Isolation, Plan, Policy, Profile, Root, SandboxError, Shared};
use crate::store::{Claims, Job, Store, TempDir, Work};

/// Where questions and answers are inside.
const ASKED: &str = "/.hermes/asked";
/// Compilers are asked some thirty times, each in the tenth part of a second.
const PATIENCE: Duration = Duration::from_secs(120);
/// More is not said by compilers that answer what they are asked, in bytes.
const MAX_SAID: u64 = 1 << 20;

/// The run that native tools are wanted for.
pub(super) struct Wanted<'a> {
    pub(super) target: &'a Target,
    pub(super) image: &'a Image,
    /// The image of native tools.
    pub(super) native: &'a Image,
    pub(super) rootfs: &'a Rootfs,
    pub(super) root_kind: RootKind,
    pub(super) identity: &'a Identity,
    pub(super) caller: (u32, u32),
    /// Where the image looks for programs.
    pub(super) path: &'a str,
}

impl Wanted<'_> {
    /// The error that these native tools are no good for the image.
    pub(super) fn incompatible(&self, source: Incompatibility) -> Error {
        let native = self.target.native.as_ref().map_or(&self.target.reference, |native| &native.image);
        Error::Incompatibility { native: native.clone(), source: Box::new(source) }
    }
}

/// What is put into the root, and what for.
#[derive(Default)]
pub(super) struct Accelerated {
    pub(super) placements: Vec<Placement>,
    pub(super) tools: Vec<String>,
}

/// What is asked of native tools for a run, where that can be.
pub(super) fn asked(request: &Request, target: &Target) -> Result<Accel, Error> {
    let why = if request.isolation != Isolation::Namespaces {
        Some("--isolation landlock has no root in which programs could be replaced")
    } else if request.root {
        Some("what is replaced could not be installed, removed or replaced in turn by --root")
    } else if target.is_foreign() && target.native.is_none() {
        Some("the toolchain has no [native] for this platform")
    } else {
        None
    };
    match why {
        Some(why) if request.accel == Accel::Require => Err(Error::NotAccelerated(why)),
        Some(_) => Ok(Accel::Off),
        None => Ok(request.accel),
    }
}

/// Native tools for the run, or nothing where they do not fit and need not.
pub(super) fn accelerate(
    context: &Context,
    store: &Store,
    accel: Accel,
    wanted: &Wanted<'_>,
    foreign: &mut Foreign,
) -> Result<Accelerated, Error> {
    match fit(context, store, wanted, foreign) {
        Ok(accelerated) => {
            context.reporter.verbose(&format!("native: {}", accelerated.tools.join(", ")));
            Ok(accelerated)
        }
        Err(error) if accel == Accel::Require => Err(error),
        Err(error) => {
            context.reporter.warn(&format!("{}: all is emulated", error_chain(&error)));
            Ok(Accelerated::default())
        }
    }
}

fn fit(context: &Context, store: &Store, wanted: &Wanted<'_>, foreign: &mut Foreign) -> Result<Accelerated, Error> {
    let Some(described) = &wanted.target.native else { return Ok(Accelerated::default()) };
    let incompatible = |source| wanted.incompatible(source);
    let tools = described.tools.iter().map(|name| name.parse::<Tool>()).collect::<Result<Vec<_>, _>>();
    let tools = tools.map_err(|source| incompatible(source.into()))?;
    let Some(tree) = Rootfs::merged_tree(wanted.native, store)? else { return Err(Error::NoLayers) };
    let natives =
        Natives::new(wanted.rootfs, wanted.target.image_platform, wanted.path, &tree, tools).map_err(incompatible)?;
    let said = match natives.questions().map_err(incompatible)? {
        None => None,
        Some(questions) => Some(answers(context, store, wanted, foreign, &natives, &questions)?),
    };
    let Fit { placements, names, self_test } = natives.fit(said.as_deref()).map_err(incompatible)?;
    if let Some(test) = self_test {
        self_test::pass(context, store, wanted, foreign, &test, &placements)?;
    }
    Ok(Accelerated { placements, tools: names })
}

/// What the compilers say: asked once for these two images in a boot, in a run of its own.
fn answers(
    context: &Context,
    store: &Store,
    wanted: &Wanted<'_>,
    foreign: &mut Foreign,
    natives: &Natives<'_>,
    questions: &str,
) -> Result<String, Error> {
    let key = Digest::of(questions.as_bytes());
    once(context, store, wanted, ("said", "what the compilers say"), &key, || {
        context.reporter.warn(&format!(
            "asking the compilers of {} and the native ones what they are; once while this machine is up",
            wanted.target.reference
        ));
        let placements = natives.foundation().map_err(|source| wanted.incompatible(source))?;
        let files = [("questions", questions.to_owned())];
        let command = "exec /bin/sh ./questions >said 2>&1";
        let asked = ask(context, store, wanted, foreign, (placements, &files, command, PATIENCE))?;
        let said = atomic::read_plain(&asked.path().join("said"), MAX_SAID);
        let said =
            said.map_err(|source| wanted.incompatible(Incompatibility::Io { path: asked.path().to_owned(), source }))?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    })
}

/// What `find` finds out about the pair of images: found out once in a boot, by one process, and kept under `kind` and `key`.
pub(super) fn once(
    context: &Context,
    store: &Store,
    wanted: &Wanted<'_>,
    (kind, label): (&str, &'static str),
    key: &Digest,
    find: impl FnOnce() -> Result<String, Error>,
) -> Result<String, Error> {
    let chains = wanted.native.chain_id().zip(wanted.image.chain_id());
    let Some((native, image)) = chains else { return find() };
    let name = format!("{kind}-{}-{}", image.hex(), key.hex());
    let known = || store.root_note(&native, &name);
    if let Some(known) = known() {
        return Ok(known);
    }
    let job = Job { work: Work::Note(Digest::of(name.as_bytes())), label, total: 0 };
    let claim = store.claim(job, context.reporter.as_ref(), &|| known().is_some());
    if claim.is_none()
        && let Some(known) = known()
    {
        return Ok(known);
    }
    // A sandbox is started from a process with one thread.
    let claim = claim.map(Claims::without_pulse);
    let found = find()?;
    // What cannot be kept is found out again.
    let _ = store.note_root(&native, &name, found.as_bytes());
    drop(claim);
    Ok(found)
}

/// What a run takes beside the images: placements, the names and contents of files in its directory, a command for `sh`
/// there, and how long it may take.
pub(super) type Asked<'a> = (Vec<Placement>, &'a [(&'a str, String)], &'a str, Duration);

/// Runs a command in the image for hermes itself: the directory in which it ran.
pub(super) fn ask(
    context: &Context,
    store: &Store,
    wanted: &Wanted<'_>,
    foreign: &mut Foreign,
    (placements, files, command, patience): Asked<'_>,
) -> Result<TempDir, Error> {
    let asked = store.scratch()?;
    let io =
        |source: std::io::Error| wanted.incompatible(Incompatibility::Io { path: asked.path().to_owned(), source });
    for (name, text) in files {
        std::fs::write(asked.path().join(name), text).map_err(io)?;
    }
    let mut environment = vec![("PATH".into(), wanted.path.into()), ("LC_ALL".into(), "C".into())];
    let variables = emulation::environment(wanted.target.image_platform);
    environment.extend(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())));
    let directory = Opened::directory(asked.path()).map_err(io)?;
    let policy = Policy {
        binds: vec![Shared::directory(directory, ASKED.into())],
        environment,
        timeout: Some(patience),
        emulation: Some(foreign.mode),
        placements,
        ..Policy::new(["/bin/sh", "-c", command].map(Into::into).into(), ASKED.into())
    };
    let composed = composition::first(context, wanted.image, store, wanted.root_kind, Profile::Build)?;
    let Composed { rootfs, scratch, rung, .. } = &composed;
    let root = Root { rootfs: rootfs.clone(), files: vec![], scratch: scratch.clone(), rung: *rung };
    let (platform, emulator) = (wanted.target.image_platform, foreign.path.clone());
    let mut plan = Plan::new(policy, root, wanted.caller, wanted.identity, platform, emulator);
    let otherwise = |plan: &mut Plan, error: &SandboxError| foreign.goes_on(context, store, plan, error);
    drop(composition::run(context, wanted.image, store, wanted.root_kind, &mut plan, None, otherwise)?);
    Ok(asked)
}
