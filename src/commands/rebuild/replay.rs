//! `hermes rebuild RECORD`: a recorded run, done again with what it used, and its outputs compared with the record.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType};
use serde::Serialize;

use crate::commands::OwnError;
use crate::commands::prepare::{Purpose, prepare};
use crate::commands::rebuild::{self, Build, Keep, Vary, Wish};
use crate::commands::run::{self, Invocation, run, usable_accel};
use crate::commands::{Context, Error, log, outputs};
use crate::compare::{self, Comparison, Product, Side, compare_listings};
use crate::digest::Digest;
use crate::emulation::EmulationMode;
use crate::fs::beneath::{self, Links};
use crate::fs::opened::Opened;
use crate::hint::{ErrorKind, Hint};
use crate::lock::LockFile;
use crate::record::objects::LOCKS;
use crate::record::{Run, RunRequest, Text, Variable};
use crate::sandbox::{Bind, Cause, Feature, Isolation, Shared};
use crate::store::{Lease, Store};

/// What the tree is called.
const NAME: &str = "rebuilt";

/// A request to repeat a recorded build.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The record, by the beginning of its id; `None` for the last run of `here`.
    pub record: Option<String>,
    /// The current directory.
    pub here: PathBuf,
    /// `--check`: the outputs have to be the recorded ones.
    pub check: bool,
    /// `--vary`.
    pub vary: Wish,
    /// `--keep`.
    pub keep: Option<PathBuf>,
    /// `--project`: the directory of the project, if it has moved.
    pub project: Option<PathBuf>,
    /// `--changed-project`: the project may have changed since.
    pub changed_project: bool,
    /// `--fetch`: what is not here may be fetched.
    pub fetch: bool,
    /// The caller's variables, for those that the recorded run passed on.
    pub variables: Vec<(OsString, OsString)>,
}

/// The result of a replay.
pub(crate) enum Done {
    /// It was built.
    Rebuilt(Box<Replay>),
    /// As [`run::Done::Fetched`].
    Fetched(Lease),
}

/// A repeated run, and the comparison with its record.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Replay {
    /// The record.
    pub record: Digest,
    /// Whether the outputs had to be the recorded ones.
    pub check: bool,
    /// Whether they are; `None` where the record has none.
    pub same: Option<bool>,
    /// Variations of this build.
    pub vary: Vec<Vary>,
    /// How long the recorded build took.
    pub seconds: f64,
    /// The build.
    pub build: Build,
    /// The comparison: first the record, then this build.
    #[serde(flatten)]
    pub comparison: Comparison,
}

/// Why a recorded run cannot be done again, or its outputs not be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// There is nothing to compare with.
    #[error("the record {} has no outputs to compare with", id.short())]
    NoOutputs {
        /// The record.
        id: Digest,
    },
    /// There is no project any more.
    #[error("cannot find the project of the record at {}", project.display())]
    NoProject {
        /// Where it was.
        project: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The project has changed since the record.
    #[error("{} has changed since the record: {}", project.display(), rebuild::named(changed))]
    Project {
        /// Where it is.
        project: PathBuf,
        /// Changed paths.
        changed: Vec<PathBuf>,
    },
    /// A secret of the recorded run.
    #[error("the recorded run used variables that are not set: {}", names.join(", "))]
    Variables {
        /// Their names.
        names: Vec<String>,
    },
    /// Something the lock names.
    #[error("an input of the record {} is not on this machine", id.short())]
    NotHere {
        /// The record.
        id: Digest,
        /// What.
        source: Box<Error>,
    },
    /// The command failed.
    #[error("the build failed: exit code {code} (in the record: {was})")]
    Failed {
        /// That of `run`.
        code: u8,
        /// That of the record.
        was: u8,
        /// Why, where hermes ended it.
        source: Option<Cause>,
    },
}

impl OwnError for ReplayError {}

impl Hint for ReplayError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoOutputs { .. } => ErrorKind::Usage,
            Self::Project { .. } | Self::Variables { .. } => ErrorKind::Integrity,
            Self::NotHere { .. } => ErrorKind::Unavailable,
            Self::Failed { .. } | Self::NoProject { .. } => ErrorKind::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoOutputs { .. } => {
                vec!["name the outputs when you run the command: hermes run --output PATH … -- COMMAND".into()]
            }
            Self::Project { .. } => vec![
                "restore these files, or name a directory with the recorded files: --project DIR".into(),
                "or build the changed project: --changed-project".into(),
            ],
            Self::NoProject { .. } => vec!["name its directory: --project DIR".into()],
            Self::Variables { .. } => {
                vec![
                    "set them for this command; records do not contain the values of variables that are passed on"
                        .into(),
                ]
            }
            Self::NotHere { id, .. } => {
                vec![format!("fetch it by its digest while there is a network: hermes rebuild --fetch {}", id.short())]
            }
            Self::Failed { source, .. } => source.iter().flat_map(Hint::hints).collect(),
        }
    }
}

/// Does a recorded run again.
///
/// # Errors
/// [`ReplayError`], [`rebuild::RebuildError`]; any of [`run()`]'s.
pub(crate) fn replay(context: &Context, request: &Request) -> Result<Done, Error> {
    let (id, record) = log::run(context, request.record.as_deref(), &request.here, "a rebuild")?;
    let recorded = &record.run;
    if recorded.request.isolation == Isolation::Landlock {
        return Err(rebuild::RebuildError::Option("--isolation landlock").into());
    }
    if request.check && recorded.outputs.is_empty() {
        return Err(ReplayError::NoOutputs { id }.into());
    }
    let store = context.open_store()?;
    let context = &of_then(context, &store, recorded, request.fetch)?;
    let project = request.project.as_ref().unwrap_or(&recorded.project.path);
    let project =
        &Opened::directory(project).map_err(|source| ReplayError::NoProject { project: project.clone(), source })?;
    let volumes = volumes(recorded, project)?;
    let mut wanted = Invocation::new(requested_again(recorded, &request.variables)?, volumes);
    wanted.target = Some(recorded.target.clone());
    wanted.repeats = Some(id);
    wanted.network(context)?;
    let target = wanted.choose_target(context)?;
    let vary = request.vary.granted(context, &wanted.request, &target);
    let options = vary.iter().filter_map(|vary| vary.apply(Side::Second, &mut wanted.request)).collect();
    let unavailable = |error: Error| match error.kind() {
        ErrorKind::Unavailable => ReplayError::NotHere { id, source: Box::new(error) }.into(),
        _ => error,
    };
    // Before anything is copied or built: fetching ends this process.
    let accel = usable_accel(&wanted.request, &target)?;
    let lease = if wanted.request.emulation == Some(EmulationMode::Host) {
        None
    } else {
        let required = context.requiring(&wanted.request.required);
        let prepared = prepare(&required, &store, &target, Purpose::run(accel)).map_err(unavailable)?;
        if prepared.fetched.is_some() {
            return Ok(Done::Fetched(prepared.lease));
        }
        Some(prepared.lease)
    };
    let left_out = as_it_was(context, &store, request, recorded, project)?;
    let keep = request.keep.as_deref().map(Keep::make).transpose()?;
    let scratch = store.scratch()?;
    let tree = scratch.path().join(NAME);
    copy(context, &store, keep.as_ref(), project, &tree, &left_out)?;
    outputs::make_directories(&tree, &recorded.directories)
        .map_err(|source| rebuild::RebuildError::Look { path: tree.clone(), source })?;
    context.reporter.warn(&format!(
        "repeating the run of the record {} in a copy of {}",
        id.short(),
        project.path().display()
    ));
    let (outcome, now) = match run(context, rebuild::in_tree(wanted, &tree)?).map_err(unavailable)? {
        run::Done::Ran(ran) => (ran.outcome, ran.record),
        run::Done::Fetched(lease) => return Ok(Done::Fetched(lease)),
    };
    drop(lease);
    let outcome = compared(&store, &vary, &record.run, &now, (outcome.exit_code(), outcome.cause), (project, &tree));
    // Whatever came out.
    let kept = keep.map(|keep| keep.take_as(&tree, NAME)).transpose()?;
    let comparison = match (outcome, &kept) {
        (Err(error), Some(kept)) => {
            context.reporter.warn(&format!("the tree is {}", kept.display()));
            return Err(error);
        }
        (outcome, _) => outcome?,
    };
    let same = (!recorded.outputs.is_empty()).then(|| rebuild::is_same(&comparison, &vary));
    let tree = match kept {
        // Without `--check` the user wants the products.
        None if !request.check || same == Some(false) => Some(store.leave(&scratch, "rebuild")?.join(NAME)),
        kept => kept,
    };
    let build = Build { options, seconds: now.timings.command, tree };
    let check = request.check;
    Ok(Done::Rebuilt(Box::new(Replay { record: id, check, same, vary, seconds: record.seconds, build, comparison })))
}

/// The volumes of the recorded run, with the present project instead of the recorded one.
fn volumes(recorded: &Run, project: &Opened) -> Result<Vec<Shared>, Error> {
    let work = recorded.request.guest_overrides.work();
    let volume = |bind: &Bind| {
        if bind.target == work {
            let bind = Bind { source: project.path().to_owned(), ..bind.clone() };
            return Ok(Shared { bind, source: project.clone() });
        }
        run::share(bind.clone())
    };
    recorded.request.volumes.iter().map(volume).collect()
}

/// The request of a recorded run, with the caller's values for variables that were passed on. A rebuild has no terminal, and
/// explains nothing.
///
/// # Errors
/// [`ReplayError::Variables`] with the names that `variables`, the caller's, do not have.
fn requested_again(recorded: &Run, variables: &[(OsString, OsString)]) -> Result<RunRequest, ReplayError> {
    let mut request = RunRequest { explain: false, terminal: false, ..recorded.request.clone() };
    let mut names = Vec::new();
    for variable in request.environment.iter_mut().filter(|variable| variable.is_passed_on) {
        let callers = variables.iter().find(|(name, _)| *name == variable.name.0);
        match callers {
            Some((_, value)) => variable.value = Some(Text(value.clone())),
            None => names.push(variable.name.to_string()),
        }
    }
    if recorded.emulation == Some(EmulationMode::Host) {
        // The emulator of a run with the host's handler is that of no other mode.
        request.emulation = recorded.emulation;
    }
    if names.is_empty() { Ok(request) } else { Err(ReplayError::Variables { names }) }
}

/// What the recorded run knew: its lock, which may not change, and nothing that the user or a project has said since.
fn of_then(context: &Context, store: &Store, recorded: &Run, fetch: bool) -> Result<Context, Error> {
    let records = store.records();
    LOCKS.read(&records, &recorded.lock)?;
    let lock = LockFile::new(LOCKS.path(&records, &recorded.lock));
    let build = lock.read()?.build;
    let offline = context.offline || !fetch;
    Ok(Context { lock: Some(lock), build, emulators: BTreeMap::new(), locked: true, offline, ..context.clone() })
}

/// Finds out whether the project has all that the recorded run found in it, and gives what it has besides and what the
/// run made: that is not to be copied.
fn as_it_was(
    context: &Context,
    store: &Store,
    request: &Request,
    recorded: &Run,
    project: &Opened,
) -> Result<Vec<PathBuf>, Error> {
    let mut left_out = recorded.request.outputs.clone();
    let Some(tree) = &recorded.project.tree else {
        context.reporter.warn("cannot check whether the project has changed: the record has no outputs (--output)");
        return Ok(left_out);
    };
    let was = outputs::kept(store, tree)?;
    let now = outputs::inputs(store, project, &recorded.request.outputs)?;
    let changed = was.changed_in(&now);
    if changed.is_empty() {
        left_out.extend(now.beyond(&was));
    } else if request.changed_project {
        context.reporter.warn(&format!("the project has changed since the record: {}", rebuild::named(&changed)));
    } else {
        return Err(ReplayError::Project { project: project.path().to_owned(), changed }.into());
    }
    Ok(left_out)
}

/// Copies the project but for `left_out`.
fn copy(
    context: &Context,
    store: &Store,
    keep: Option<&Keep>,
    project: &Opened,
    tree: &Path,
    left_out: &[PathBuf],
) -> Result<(), Error> {
    // A file with more names than one is what another of them is, and so is taken out of the copy.
    let identity = |path: &PathBuf| {
        let found = beneath::find(project, path.parent()?, Links::Refuse).ok()?;
        let stat = rustix::fs::statat(found, path.file_name()?, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let is_directory = FileType::from_raw_mode(stat.st_mode).is_dir();
        (is_directory || stat.st_nlink == 1).then_some((stat.st_dev, stat.st_ino))
    };
    let except: Vec<_> = left_out.iter().filter_map(identity).collect();
    rebuild::copy_project(context, project, &[tree.to_owned()], store, keep, &except)?;
    for path in left_out.iter().map(|path| tree.join(path)) {
        if std::fs::symlink_metadata(&path).is_ok() {
            crate::fs::remove::path(&path).map_err(|source| rebuild::RebuildError::Look { path, source })?;
        }
    }
    Ok(())
}

/// Compares what was built with what is on record.
fn compared(
    store: &Store,
    vary: &[Vary],
    recorded: &Run,
    now: &Run,
    (code, cause): (u8, Option<Cause>),
    (project, tree): (&Opened, &Path),
) -> Result<Comparison, Error> {
    if code != 0 {
        let was = recorded.ended.exit_code(recorded.cause.as_ref());
        return Err(ReplayError::Failed { code, was, source: cause }.into());
    }
    equivalent(recorded, now, vary.is_empty())?;
    let mut found = Comparison::default();
    for (was, is) in recorded.outputs.iter().zip(&now.outputs) {
        compare_listings(&outputs::kept(store, &was.tree)?, &outputs::kept(store, &is.tree)?, &was.path, &mut found);
    }
    // What the recorded run made may still be there, to be looked into.
    let is_there = |was: &crate::record::Output| {
        outputs::output(project, &was.path).is_ok_and(|listing| Digest::of(listing.render().as_bytes()) == was.tree)
    };
    if found.differing > 0 && recorded.outputs.iter().all(is_there) {
        let open = |place: &Path| {
            let failed = |source| rebuild::RebuildError::Look { path: place.to_owned(), source };
            Product::open(place, None).map_err(failed)
        };
        let paths: Vec<_> = recorded.outputs.iter().map(|output| output.path.clone()).collect();
        let looked = compare::compare([&open(&project.reach())?, &open(tree)?], &paths);
        found.look_into(&looked.map_err(rebuild::RebuildError::from)?);
    }
    Ok(found)
}

/// Whether the build had what the recorded one had: all of it in its root, and whatever kept it in.
fn equivalent(recorded: &Run, now: &Run, with_variables: bool) -> Result<(), Error> {
    let differs = |what: String, first: String, second: String| {
        Err(rebuild::RebuildError::Environment { what: what.into(), first, second }.into())
    };
    let named = |run: &Run| {
        let emulator = run.emulator.as_ref();
        [
            ("image", run.manifest.to_string()),
            ("emulator", emulator.map_or_else(|| "none".to_owned(), |emulator| emulator.digest.to_string())),
            ("root strategy", run.root_strategy.name().to_owned()),
        ]
    };
    for ((what, first), (_, second)) in named(recorded).into_iter().zip(named(now)) {
        if first != second {
            return differs(what.to_owned(), first, second);
        }
    }
    for feature in [Feature::Netns, Feature::Seccomp, Feature::Landlock] {
        if recorded.enforced.has(feature) && !now.enforced.has(feature) {
            return differs("confinement".to_owned(), feature.name().to_owned(), "none".to_owned());
        }
    }
    let values = [recorded, now].map(|run| {
        let shown = |variable: &Variable| variable.recorded().map_or(String::new(), ToString::to_string);
        // The first of a name counts.
        let variables = run.environment.iter().rev();
        variables.map(|variable| (variable.name.0.as_os_str(), shown(variable))).collect::<HashMap<_, _>>()
    });
    // No rebuild has a terminal.
    let all = recorded.environment.iter().chain(&now.environment).filter(|variable| variable.name.0 != "TERM");
    for Variable { name, .. } in all.filter(|_| with_variables) {
        let value = |values: &HashMap<&OsStr, String>| values.get(&*name.0).map_or("unset", String::as_str).to_owned();
        let [first, second] = values.each_ref().map(value);
        if first != second {
            return differs(format!("variable {name}"), first, second);
        }
    }
    Ok(())
}
