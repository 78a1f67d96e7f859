//! Runs of an image for hermes itself: to ask its compilers, and to test native ones. Their results are kept for a boot.

use std::time::Duration;

use crate::commands::run::attempts::{self, Fallback};
use crate::commands::run::emulation::Foreign;
use crate::commands::run::rootfs::Composer;
use crate::commands::{Context, Error, Target};
use crate::digest::Digest;
use crate::emulation;
use crate::emulation::native::{Incompatibility, Placement};
use crate::fs::opened::Opened;
use crate::lock::Image;
use crate::rootfs::{Identity, Rootfs};
use crate::sandbox::{Plan, Policy, Profile, RootStrategy, Shared};
use crate::store::{Claims, Job, Store, TempDir, Work};

/// Directory of the files of such a run inside.
const PLACE: &str = "/.hermes/asked";

/// The run that native tools are wanted for.
pub(crate) struct Wanted<'a> {
    pub(crate) target: &'a Target,
    pub(crate) image: &'a Image,
    /// The image of native tools.
    pub(crate) native: &'a Image,
    pub(crate) rootfs: &'a Rootfs,
    pub(crate) requested_root: Option<RootStrategy>,
    pub(crate) identity: &'a Identity,
    pub(crate) caller: (u32, u32),
    /// Where the image looks for programs.
    pub(crate) path: &'a str,
}

impl Wanted<'_> {
    /// The error that these native tools do not fit the image.
    pub(crate) fn incompatible(&self, source: Incompatibility) -> Error {
        let native = self.target.native_reference().unwrap_or_else(|| self.target.reference.clone());
        Error::Incompatibility { native, source: Box::new(source) }
    }
}

/// The result of `find` for this pair of images. One process finds it once in a boot, and it is kept under `kind` and `key`.
pub(crate) fn once(
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
    // Without the note the next run finds it again.
    let _ = store.note_root(&native, &name, found.as_bytes());
    drop(claim);
    Ok(found)
}

/// A command that is run in the image for hermes itself.
pub(crate) struct Trial<'a> {
    /// Native tools in the root.
    pub(crate) placements: Vec<Placement>,
    /// Names and contents of the files in the command's directory.
    pub(crate) files: &'a [(&'a str, String)],
    /// A command for `sh`.
    pub(crate) command: &'a str,
    /// Time after which the command is ended.
    pub(crate) timeout: Duration,
}

/// Runs a trial; returns the directory in which it ran.
pub(crate) fn run(
    context: &Context,
    store: &Store,
    wanted: &Wanted<'_>,
    foreign: &mut Foreign,
    trial: Trial<'_>,
) -> Result<TempDir, Error> {
    let place = store.scratch()?;
    let io =
        |source: std::io::Error| wanted.incompatible(Incompatibility::Io { path: place.path().to_owned(), source });
    for (name, text) in trial.files {
        std::fs::write(place.path().join(name), text).map_err(io)?;
    }
    let mut environment = vec![("PATH".into(), wanted.path.into()), ("LC_ALL".into(), "C".into())];
    let variables = emulation::environment(wanted.target.image_platform);
    environment.extend(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())));
    let directory = Opened::directory(place.path()).map_err(io)?;
    let policy = Policy {
        binds: vec![Shared::directory(directory, PLACE.into())],
        environment,
        silent: true,
        timeout: Some(trial.timeout),
        emulation: Some(foreign.mode),
        placements: trial.placements,
        ..Policy::new(["/bin/sh", "-c", trial.command].map(Into::into).into(), PLACE.into())
    };
    let composer = Composer { context, store, image: wanted.image, requested: wanted.requested_root };
    let first = composer.first(Profile::Build)?;
    let (platform, emulator) = (wanted.target.image_platform, foreign.path.clone());
    let mut plan = Plan::new(policy, first.root(vec![]), wanted.caller, wanted.identity, platform, emulator);
    let fallbacks = vec![Fallback::Root, Fallback::Emulation(foreign)];
    drop(attempts::run(&composer, &mut plan, None, fallbacks)?);
    Ok(place)
}
