//! `hermes rebuild`: a project built twice, and what came out compared.

mod diffoscope;
pub(crate) mod replay;
mod vary;

use std::borrow::Cow;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use serde::Serialize;

use crate::commands::OwnError;
use crate::commands::outputs;
use crate::commands::prepare::{Purpose, prepare};
use crate::commands::run::{self, Invocation, run, usable_accel};
use crate::commands::source::acquire;
use crate::commands::{Context, Error};
use crate::compare::{self, CompareError, Comparison, Guess, Own, Product, Side, Snapshot, Span, guesses};
use crate::emulation::EmulationMode;
use crate::fs::copy::{self, CopyError};
use crate::fs::measure::{Counted, measure};
use crate::fs::opened::Opened;
use crate::fs::space;
use crate::hint::{ErrorKind, Hint};
use crate::record::Run;
use crate::sandbox::{Cause, Isolation};
use crate::size;
use crate::store::{Lease, Store};
use crate::visible::visible;

pub(crate) use vary::{Vary, Wish};

/// What the trees are called.
const NAMES: [&str; 2] = ["first", "second"];
/// Most paths that are named.
const MAX_NAMED: usize = 5;

/// A request to build twice and to compare.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// How each build is run.
    pub run: Invocation,
    /// `--vary`.
    pub vary: Wish,
    /// `--output`, from the top of the project.
    pub outputs: Vec<PathBuf>,
    /// `--keep`.
    pub keep: Option<PathBuf>,
}

/// The result of a rebuild.
pub(crate) enum Done {
    /// Both were built.
    Rebuilt(Box<Rebuilt>),
    /// As [`run::Done::Fetched`].
    Fetched(Lease),
}

/// What two builds came to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Rebuilt {
    /// Whether the products are the same, as far as they have to be.
    pub same: bool,
    /// Variations of the second build.
    pub vary: Vec<Vary>,
    /// Likely causes of the differences.
    pub looks_like: Vec<Guess>,
    /// What diffoscope says of the first product that differs, where this host has it.
    #[serde(skip)]
    pub diffoscope: Option<String>,
    /// The builds.
    pub builds: [Build; 2],
    /// The comparison of the products.
    #[serde(flatten)]
    pub comparison: Comparison,
}

/// A build.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Build {
    /// Options of `run` that the other one did not have so.
    pub options: Vec<&'static str>,
    /// How long it took, with its start.
    pub seconds: f64,
    /// The project as the build left it, where that was kept.
    pub tree: Option<PathBuf>,
}

/// What one build is to be.
struct Variant {
    side: Side,
    invocation: Invocation,
    /// What the other one has in another way.
    options: Vec<&'static str>,
    /// Its `TZ`, where that is varied.
    zone: Option<&'static str>,
}

/// Why a project cannot be built twice, or the builds not be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RebuildError {
    /// An option of `run` that makes no sense here.
    #[error("{0} cannot be used with rebuild")]
    Option(&'static str),
    /// Options of `run` with a record, which has them.
    #[error("options of 'run' cannot be changed for a record")]
    Recorded,
    /// A command that is to be built once.
    #[error("a rebuild of a command requires --check")]
    Unchecked,
    /// An option that says what is to be varied.
    #[error("{0} conflicts with --vary, which sets it differently for each build")]
    Fixed(&'static str),
    /// The place for the trees.
    #[error("cannot keep the trees in {path}")]
    Keep {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The copy of the project.
    #[error("cannot copy the project {project}")]
    Copy {
        /// The project.
        project: PathBuf,
        /// What cannot be copied, and why.
        source: CopyError,
    },
    /// The files of the project's copy cannot be listed.
    #[error("cannot list the files in {path}")]
    Look {
        /// The copy.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The command failed.
    #[error("the {side} build{} failed: exit code {code}", with(options))]
    Build {
        /// Which.
        side: Side,
        /// What it had that the other had not.
        options: Vec<&'static str>,
        /// The exit code that `run` would have ended with.
        code: u8,
        /// Why, where hermes ended it.
        source: Option<Cause>,
    },
    /// The products.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// There are no products.
    #[error("neither build created or changed a file in the project")]
    Nothing,
    /// The builds cannot be compared.
    #[error("the two builds differ in the {what}: {first} and {second}")]
    Environment {
        /// Such as `image`.
        what: Cow<'static, str>,
        /// That of the first.
        first: String,
        /// That of the second.
        second: String,
    },
}

fn with(options: &[&str]) -> String {
    if options.is_empty() { String::new() } else { format!(" ({})", options.join(" ")) }
}

impl OwnError for RebuildError {}

impl Hint for RebuildError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Option(_) | Self::Recorded | Self::Unchecked | Self::Fixed(_) => ErrorKind::Usage,
            Self::Environment { .. } => ErrorKind::Integrity,
            _ => ErrorKind::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Option(_) => vec!["omit it; it is an option of 'hermes run' only".into()],
            Self::Recorded => {
                vec!["omit them, or give the command again: hermes rebuild --check … -- COMMAND".into()]
            }
            Self::Unchecked => {
                vec!["add --check: hermes rebuild --check … -- COMMAND; 'hermes run' builds once".into()]
            }
            Self::Fixed(_) => vec!["omit one of the two".into()],
            Self::Keep { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                vec!["name a directory that does not exist yet".into()]
            }
            Self::Keep { source, .. } => space::hints(source),
            Self::Copy { source, .. } if source.source.kind() == io::ErrorKind::PermissionDenied => {
                vec!["all files of the project must be readable".into()]
            }
            Self::Copy { source, .. } => space::hints(&source.source),
            Self::Build { source, .. } => source.iter().flat_map(Hint::hints).collect(),
            Self::Nothing => {
                vec!["files outside /work are not kept: let the build write to /work".into()]
            }
            Self::Environment { .. } => {
                vec!["the lockfile or this host changed between the builds; try again with --locked".into()]
            }
            Self::Look { .. } | Self::Compare(_) => vec![],
        }
    }
}

/// Builds the project twice and compares what came out.
///
/// # Errors
/// [`RebuildError`]; any of [`run()`]'s.
pub(crate) fn rebuild(context: &Context, request: &Request) -> Result<Done, Error> {
    check(request)?;
    let mut request = request.clone();
    request.run.mount_project(context)?;
    let request = &request;
    let target = request.run.choose_target(context)?;
    // Consent is needed before anything is acquired.
    request.run.network(context)?;
    let vary = request.vary.granted(context, &request.run.request, &target);
    let variants = [Side::First, Side::Second].map(|side| {
        let mut varied = request.run.clone();
        let options = vary.iter().filter_map(|vary| vary.apply(side, &mut varied.request)).collect();
        let zone = vary.iter().find_map(|vary| vary.zone()).filter(|_| side == Side::Second);
        Variant { side, invocation: varied, options, zone }
    });
    let store = context.open_store()?;
    // Before anything is copied or built: fetching ends this process.
    let mut leases = Vec::new();
    for Variant { invocation, .. } in &variants {
        let accel = usable_accel(&invocation.request, &target)?;
        let required = context.requiring(&invocation.request.required);
        let mut prepared = prepare(&required, &store, &target, Purpose::run(accel))?;
        acquire::ready(context, &store, &target, invocation.request.isolation, &mut prepared)?;
        if prepared.fetched.is_some() {
            return Ok(Done::Fetched(prepared.lease));
        }
        leases.push(prepared.lease);
    }
    let project = request.run.project()?;
    let keep = request.keep.as_deref().map(Keep::make).transpose()?;
    let scratch = store.scratch()?;
    let trees = NAMES.map(|name| scratch.path().join(name));
    copy_project(context, &project, &trees, &store, keep.as_ref(), &[])?;
    let compared = build_and_compare(context, request, variants, &trees, project.path());
    let compared = match compared {
        Ok(compared) => Ok(compared),
        Err(Stop::Fetched(lease)) => return Ok(Done::Fetched(lease)),
        Err(Stop::Failed(error)) => Err(*error),
    };
    // Whatever came out.
    let kept = keep.map(|keep| keep.take(&trees)).transpose()?;
    if let (Err(_), Some([first, second])) = (&compared, &kept) {
        context.reporter.warn(&format!("the trees are {} and {}", first.display(), second.display()));
    }
    let (mut builds, (comparison, looks_like)) = compared?;
    let same = is_same(&comparison, &vary);
    let kept = match kept {
        None if !same => {
            let place = store.leave(&scratch, "rebuild")?;
            Some(NAMES.map(|name| place.join(name)))
        }
        kept => kept,
    };
    let diffoscope = kept.as_ref().and_then(|trees| diffoscope::report(context, trees, &comparison));
    for (build, tree) in builds.iter_mut().zip(kept.into_iter().flatten()) {
        build.tree = Some(tree);
    }
    if comparison.differing > 0 && vary.len() > 1 {
        context.reporter.warn("to find the cause, vary one aspect at a time");
    }
    Ok(Done::Rebuilt(Box::new(Rebuilt { same, vary, looks_like, diffoscope, builds, comparison })))
}

/// Whether the products are the same as far as they have to be, where this was varied.
pub(super) fn is_same(comparison: &Comparison, vary: &[Vary]) -> bool {
    let marks_may_differ = vary.iter().any(|vary| vary.takes_other_compilers());
    comparison.differing == 0 && (comparison.compiler_marks == 0 || marks_may_differ)
}

/// What can be said before anything is done.
fn check(request: &Request) -> Result<(), Error> {
    let run = &request.run.request;
    let options = [(run.explain, "--explain"), (run.isolation == Isolation::Landlock, "--isolation landlock")];
    if let Some((_, option)) = options.iter().find(|(is_set, _)| *is_set) {
        return Err(RebuildError::Option(option).into());
    }
    if let Some(option) = request.vary.named().iter().find_map(|vary| vary.is_fixed(run)) {
        return Err(RebuildError::Fixed(option).into());
    }
    outputs::inside(&request.outputs)?;
    Ok(())
}

/// The run with `tree` mounted instead of the project.
pub(super) fn in_tree(mut invocation: Invocation, tree: &Path) -> Result<Invocation, RebuildError> {
    let source = Opened::directory(tree).map_err(|source| RebuildError::Look { path: tree.to_owned(), source })?;
    invocation.replace_project(source);
    Ok(invocation)
}

/// Makes the trees, without what is in `except` by device and inode, and says how much that is.
pub(super) fn copy_project(
    context: &Context,
    project: &Opened,
    trees: &[PathBuf],
    store: &Store,
    keep: Option<&Keep>,
    except: &[(u64, u64)],
) -> Result<(), RebuildError> {
    let room = measure(&project.reach(), &mut Counted::new());
    let size = size::shown(room.bytes);
    context.reporter.warn(&format!(
        "copying {}{}: {size} in {} files and directories",
        project.path().display(),
        if trees.len() == 2 { " twice" } else { "" },
        room.inodes
    ));
    // A store in the project would be copied into itself.
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    let own = [Some(store.root()), keep.map(|keep| keep.0.as_path())].into_iter().flatten().filter_map(identity);
    let except: Vec<_> = own.chain(except.iter().copied()).collect();
    let task = context.reporter.start("copying", room.bytes * trees.len() as u64);
    let copied: Vec<_> = trees
        .iter()
        .map(|tree| {
            std::fs::create_dir(tree).map_err(|source| RebuildError::Look { path: tree.clone(), source })?;
            copy::tree(&project.reach(), tree, &except, &mut |bytes| context.reporter.advance(task, bytes))
                .map_err(|source| RebuildError::Copy { project: project.path().to_owned(), source })
        })
        .collect();
    context.reporter.finish(task);
    let copied = copied.into_iter().collect::<Result<Vec<_>, _>>()?;
    let left_out = copied.into_iter().next().unwrap_or_default().left_out;
    if !left_out.is_empty() {
        context.reporter.warn(&format!("not copied: {}", named(&left_out)));
    }
    Ok(())
}

/// The first of `paths`, whose names are whatever a build wants them to be.
pub(super) fn named(paths: &[PathBuf]) -> String {
    let named: Vec<_> = paths.iter().take(MAX_NAMED).map(|path| visible(&path.to_string_lossy())).collect();
    let more = paths.len().saturating_sub(MAX_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}

/// Why there is nothing to compare.
pub(super) enum Stop {
    Failed(Box<Error>),
    /// Something was fetched instead.
    Fetched(Lease),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(Box::new(error.into()))
    }
}

fn build_and_compare(
    context: &Context,
    request: &Request,
    variants: [Variant; 2],
    trees: &[PathBuf; 2],
    project: &Path,
) -> Result<([Build; 2], Compared), Stop> {
    let [one, other] = variants;
    let zones = [one.zone, other.zone];
    let first = build(context, one, trees, project)?;
    let second = build(context, other, trees, project)?;
    equivalent(&first.run, &second.run)?;
    let own =
        [(&first, zones[0]), (&second, zones[1])].map(|(built, zone)| Own::new(&built.run.guest, built.span, zone));
    let compared = products(trees, [first.before, second.before], &request.outputs, &own)?;
    Ok(([first.build, second.build], compared))
}

/// A comparison, and the likely causes of its differences.
type Compared = (Comparison, Vec<Guess>);

/// A build that was done.
struct Built {
    build: Build,
    /// What there was before it.
    before: Snapshot,
    span: Span,
    /// Its record.
    run: Box<Run>,
}

/// Runs one build.
fn build(context: &Context, variant: Variant, trees: &[PathBuf; 2], project: &Path) -> Result<Built, Stop> {
    let Variant { side, invocation, options, .. } = variant;
    let tree = &trees[side.index()];
    let before = Snapshot::take(tree).map_err(|source| RebuildError::Look { path: tree.clone(), source })?;
    context.reporter.warn(&format!("the {side} build of {}{}", project.display(), with(&options)));
    let (clock, started) = (Instant::now(), now());
    let (outcome, run) = match run(context, in_tree(invocation, tree)?)? {
        run::Done::Ran(ran) => (ran.outcome, ran.record),
        run::Done::Fetched(lease) => return Err(Stop::Fetched(lease)),
    };
    let code = outcome.exit_code();
    if code != 0 {
        return Err(RebuildError::Build { side, options, code, source: outcome.cause }.into());
    }
    let seconds = clock.elapsed().as_secs_f64();
    Ok(Built { build: Build { options, seconds, tree: None }, before, span: (started, now()), run })
}

/// Seconds since 1970.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(0))
}

/// Whether what both builds were run in is the same, where nothing was varied on purpose.
fn equivalent(one: &Run, other: &Run) -> Result<(), RebuildError> {
    let named = |run: &Run| {
        [
            ("platform", run.target.platform.name().to_owned()),
            ("image", format!("{} {}", run.target.reference, run.manifest)),
            ("layers", run.diff_ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
            (
                "emulator",
                run.emulator.as_ref().map_or_else(|| "none".to_owned(), |emulator| emulator.digest.to_string()),
            ),
            ("emulation mode", run.emulation.map_or("none", EmulationMode::name).to_owned()),
            ("root strategy", run.root_strategy.name().to_owned()),
            ("confinement", run.enforced.to_string()),
        ]
    };
    let different = named(one).into_iter().zip(named(other)).find(|((_, first), (_, second))| first != second);
    match different {
        Some(((what, first), (_, second))) => Err(RebuildError::Environment { what: what.into(), first, second }),
        None => Ok(()),
    }
}

fn products(
    trees: &[PathBuf; 2],
    befores: [Snapshot; 2],
    outputs: &[PathBuf],
    own: &[Own; 2],
) -> Result<Compared, Error> {
    let open = |tree: &PathBuf, before: Snapshot| {
        // Outputs that the user named are compared even if the build did not touch them.
        let product = Product::open(tree, outputs.is_empty().then_some(before));
        // Those of the products are the umask's to decide; what is in archives is not.
        let product = product.map(|product| product.ignoring(own[0].umask ^ own[1].umask));
        product.map_err(|source| RebuildError::Look { path: tree.clone(), source })
    };
    let [before, before_second] = befores;
    let (one, other) = (open(&trees[0], before)?, open(&trees[1], before_second)?);
    let comparison = compare::compare([&one, &other], outputs).map_err(RebuildError::from)?;
    if comparison.compared == 0 {
        return Err(RebuildError::Nothing.into());
    }
    let guesses = guesses([&one, &other], &comparison, own);
    Ok((comparison, guesses))
}

/// A new directory for the trees, which is removed if they do not come.
pub(super) struct Keep(PathBuf);

impl Drop for Keep {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

impl Keep {
    pub(super) fn make(path: &Path) -> Result<Self, RebuildError> {
        let failed = |source| RebuildError::Keep { path: path.to_owned(), source };
        let path = std::path::absolute(path).map_err(failed)?;
        std::fs::create_dir(&path).map_err(failed)?;
        Ok(Self(path))
    }

    /// Moves the trees there.
    fn take(self, trees: &[PathBuf; 2]) -> Result<[PathBuf; 2], RebuildError> {
        let [first, second] = [0, 1].map(|at| self.put(&trees[at], NAMES[at]));
        Ok([first?, second?])
    }

    /// Moves one tree there.
    pub(super) fn take_as(self, tree: &Path, name: &str) -> Result<PathBuf, RebuildError> {
        self.put(tree, name)
    }

    /// Moves a tree there; to another file system it is copied.
    fn put(&self, tree: &Path, name: &str) -> Result<PathBuf, RebuildError> {
        let to = self.0.join(name);
        let failed = |source| RebuildError::Keep { path: to.clone(), source };
        match std::fs::rename(tree, &to) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                std::fs::create_dir(&to).map_err(failed)?;
                copy::tree(tree, &to, &[], &mut |_| {})
                    .map_err(|error| failed(io::Error::new(error.source.kind(), error)))?;
            }
            moved => moved.map_err(failed)?,
        }
        Ok(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_may_differ_between_compilers_only() {
        let of = |compiler_marks, differing| Comparison { compiler_marks, differing, ..Comparison::default() };
        for (comparison, alike, varied) in
            [(of(0, 0), true, true), (of(1, 0), false, true), (of(0, 1), false, false), (of(1, 1), false, false)]
        {
            assert_eq!(is_same(&comparison, &[]), alike, "{comparison:?}");
            assert_eq!(is_same(&comparison, &[Vary::Accel]), varied, "{comparison:?}");
        }
    }
}
