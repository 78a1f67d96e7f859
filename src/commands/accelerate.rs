//! Native tools in the place of emulated ones: do they fit, and where do they go.

use std::time::Duration;

use crate::commands::composition::{self, Composed, RootKind};
use crate::commands::foreign::Foreign;
use crate::commands::run::Request;
use crate::commands::{Choice, Context, Error};
use crate::digest::Digest;
use crate::emulation::native::{Misfit, Natives, Placement, Tool};
use crate::emulation::{self, Accel};
use crate::fs::atomic;
use crate::fs::opened::Opened;
use crate::hint::in_a_line;
use crate::lock::Image;
use crate::rootfs::{Identity, Rootfs};
use crate::sandbox::{
    Disguise, FakeRoot, HOSTNAME, Isolation, Limits, Network, Plan, Policy, Profile, Root, SandboxError, Shared, UMASK,
};
use crate::store::{Claims, Job, Store, Work};

/// Where questions and answers are inside.
const ASKED: &str = "/.hermes/asked";
/// Compilers are asked some thirty times, each in the tenth part of a second.
const PATIENCE: Duration = Duration::from_secs(120);
/// More is not said by compilers that answer what they are asked, in bytes.
const MAX_SAID: u64 = 1 << 20;

/// The run that native tools are wanted for.
pub(super) struct Wanted<'a> {
    pub(super) choice: &'a Choice,
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

/// What is put into the root, and what for.
#[derive(Default)]
pub(super) struct Accelerated {
    pub(super) placements: Vec<Placement>,
    pub(super) tools: Vec<String>,
}

/// What is asked of native tools for a run, where that can be.
pub(super) fn asked(request: &Request, choice: &Choice) -> Result<Accel, Error> {
    let why = if request.isolation != Isolation::Namespaces {
        Some("--isolation landlock has no root in which programs could be replaced")
    } else if request.root {
        Some("what is replaced could not be installed, removed or replaced in turn by --root")
    } else if choice.is_foreign() && choice.native.is_none() {
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
            context.reporter.detail(&format!("native: {}", accelerated.tools.join(", ")));
            Ok(accelerated)
        }
        Err(error) if accel == Accel::Require => Err(error),
        Err(error) => {
            context.reporter.note(&format!("{}: all is emulated", in_a_line(&error)));
            Ok(Accelerated::default())
        }
    }
}

fn fit(context: &Context, store: &Store, wanted: &Wanted<'_>, foreign: &mut Foreign) -> Result<Accelerated, Error> {
    let Some(described) = &wanted.choice.native else { return Ok(Accelerated::default()) };
    let misfit = |source: Misfit| Error::Misfit { native: described.image.clone(), source: Box::new(source) };
    let tools = described.tools.iter().map(|name| name.parse::<Tool>()).collect::<Result<Vec<_>, _>>();
    let tools = tools.map_err(|source| misfit(source.into()))?;
    let Some(tree) = Rootfs::merged_tree(wanted.native, store)? else { return Err(Error::NoLayers) };
    let natives =
        Natives::new(wanted.rootfs, wanted.choice.image_platform, wanted.path, &tree, tools).map_err(misfit)?;
    let said = match natives.questions().map_err(misfit)? {
        None => None,
        Some(questions) => Some(answers(context, store, wanted, foreign, &natives, &questions)?),
    };
    let (placements, tools) = natives.placements(said.as_deref()).map_err(misfit)?;
    Ok(Accelerated { placements, tools })
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
    let chains = wanted.native.chain_id().zip(wanted.image.chain_id());
    let key = Digest::of(questions.as_bytes());
    let note = chains.map(|(native, image)| (native, format!("said-{}-{}", image.hex(), key.hex())));
    if let Some((native, name)) = &note
        && let Some(said) = store.root_note(native, name)
    {
        return Ok(said);
    }
    let claim = match &note {
        Some((native, name)) => {
            let work = Work::Note(Digest::of(name.as_bytes()));
            let job = Job { work, label: "what the compilers say", total: 0 };
            let is_done = || store.root_note(native, name).is_some();
            let claim = store.claim(job, context.reporter.as_ref(), &is_done);
            if claim.is_none()
                && let Some(said) = store.root_note(native, name)
            {
                return Ok(said);
            }
            // A sandbox is started from a process with one thread.
            claim.map(Claims::without_pulse)
        }
        None => None,
    };
    context.reporter.note(&format!(
        "asking the compilers of {} and the native ones what they are; once while this machine is up",
        wanted.choice.reference
    ));
    let misfit = |source: Misfit| {
        let native = wanted
            .choice
            .native
            .as_ref()
            .map_or_else(|| wanted.choice.reference.clone(), |native| native.image.clone());
        Error::Misfit { native, source: Box::new(source) }
    };
    let asked = store.scratch()?;
    let io = |source: std::io::Error| misfit(Misfit::Io { path: asked.path().to_owned(), source });
    std::fs::write(asked.path().join("questions"), questions).map_err(io)?;
    let mut environment = vec![("PATH".into(), wanted.path.into()), ("LC_ALL".into(), "C".into())];
    let variables = emulation::environment(wanted.choice.image_platform);
    environment.extend(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())));
    let command = format!("exec /bin/sh {ASKED}/questions >{ASKED}/said 2>&1");
    let policy = Policy {
        profile: Profile::Build,
        fake_root: FakeRoot::Off,
        sub_ids: None,
        search: vec![],
        network: Network::None,
        binds: vec![Shared::directory(Opened::directory(asked.path()).map_err(io)?, ASKED.into())],
        directory: "/".into(),
        environment,
        argv: ["/bin/sh", "-c", &command].map(Into::into).into(),
        terminal: false,
        required: vec![],
        timeout: Some(PATIENCE),
        limits: Limits::default(),
        tier: Some(foreign.tier),
        explain: None,
        placements: natives.foundation().map_err(misfit)?,
        hostname: HOSTNAME.to_owned(),
        umask: UMASK,
        nproc: None,
        fixed_addresses: false,
        disguise: Disguise::default(),
    };
    let composed = composition::first(context, wanted.image, store, wanted.root_kind, Profile::Build)?;
    let Composed { rootfs, scratch, rung, .. } = &composed;
    let root = Root { rootfs: rootfs.clone(), files: vec![], scratch: scratch.clone(), rung: *rung };
    let (platform, emulator) = (wanted.choice.image_platform, foreign.path.clone());
    let mut plan = Plan::new(policy, root, wanted.caller, wanted.identity, platform, emulator);
    let otherwise = |plan: &mut Plan, error: &SandboxError| foreign.goes_on(context, store, plan, error);
    drop(composition::run(context, wanted.image, store, wanted.root_kind, &mut plan, None, otherwise)?);
    let said = atomic::read_plain(&asked.path().join("said"), MAX_SAID).map_err(io)?;
    let said = String::from_utf8_lossy(&said).into_owned();
    if let Some((native, name)) = &note {
        // One that cannot be kept is asked for again.
        let _ = store.note_root(native, name, said.as_bytes());
    }
    drop(claim);
    Ok(said)
}
