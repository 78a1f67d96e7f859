//! `hermes bisect`: which entry of a newer lock breaks a build that works with an older one.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use crate::commands::OwnError;
use crate::commands::image_diff::{self, ImageChanges};
use crate::commands::prepare::{Purpose, native_image, native_tools, prepare};
use crate::commands::rebuild::{Stop, in_tree};
use crate::commands::run::{self, Invocation, run, usable_accel};
use crate::commands::source::acquire;
use crate::commands::{Context, Error, Target};
use crate::emulation::Accel;
use crate::fs::copy;
use crate::fs::opened::Opened;
use crate::hint::{ErrorKind, Hint};
use crate::lock::{Change, Entry, Lock, LockFile, differences};
use crate::platform::Platform;
use crate::store::{Lease, Store};
use crate::toolchain::Native;

/// A request to bisect two locks.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The lock that the build works with.
    pub good: PathBuf,
    /// The one it fails with.
    pub bad: PathBuf,
    /// The build.
    pub run: Invocation,
}

/// The result of a bisection.
pub(crate) enum Done {
    /// The search ended.
    Found(Box<Found>),
    /// As [`run::Done::Fetched`].
    Fetched(Lease),
}

/// The result of a bisection.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Found {
    /// The entry that breaks the build.
    pub culprit: Change,
    /// What it means, where it is an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageChanges>,
    /// It does so only together with these, which the failing lock has as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub together_with: Vec<Entry>,
    /// The builds, in order.
    pub trials: Vec<Trial>,
}

/// A build.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Trial {
    /// What it had of the newer lock.
    pub newer: Vec<Entry>,
    /// The exit code of `run`.
    pub code: u8,
    /// How long it took.
    pub seconds: f64,
}

/// Why nothing can be found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BisectError {
    /// Nothing to choose from.
    #[error("{good} and {bad} lock identical inputs for this run")]
    Same {
        /// The one lock.
        good: PathBuf,
        /// The other.
        bad: PathBuf,
    },
    /// The older lock is no good either.
    #[error("the build already fails with {lock}: exit code {code}")]
    FailsAlready {
        /// The older lock.
        lock: PathBuf,
        /// The exit code.
        code: u8,
    },
    /// The newer lock is no worse.
    #[error("the build succeeds with {lock}, too")]
    WorksToo {
        /// The newer lock.
        lock: PathBuf,
    },
    /// A lock without an image that the run takes.
    #[error("{lock} has no entry '{entry}'")]
    Lacks {
        /// The lock.
        lock: PathBuf,
        /// The entry.
        entry: Box<Entry>,
    },
    /// The place of a build.
    #[error("cannot copy the project to {path}")]
    Copy {
        /// Where to.
        path: PathBuf,
        /// Why.
        source: copy::CopyError,
    },
    /// The place of a build.
    #[error("cannot create {path}")]
    Place {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl OwnError for BisectError {}

impl Hint for BisectError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Same { .. } | Self::Lacks { .. } => ErrorKind::Usage,
            _ => ErrorKind::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Same { good, bad } => {
                vec![format!("compare them: hermes lock --diff {} {}", good.display(), bad.display())]
            }
            Self::FailsAlready { .. } => {
                vec!["name the lockfile that works first: hermes bisect GOOD BAD -- COMMAND".into()]
            }
            Self::WorksToo { .. } => {
                vec![
                    "the cause is not in the lockfile: look at changes of the project and of this host (hermes log)"
                        .into(),
                ]
            }
            Self::Lacks { .. } => vec!["lock the same platforms in both files: hermes lock --lock FILE".into()],
            Self::Copy { .. } | Self::Place { .. } => vec![],
        }
    }
}

/// Builds copies of the project with parts of the newer lock until one entry is left that makes the difference.
///
/// # Errors
/// [`BisectError`]; any of [`run()`]'s.
pub(crate) fn bisect(context: &Context, request: &Request) -> Result<Done, Error> {
    let mut request = request.clone();
    request.run.mount_project(context)?;
    let request = &request;
    let [good, bad] = [&request.good, &request.bad].map(|path| LockFile::new(path.clone()).read());
    let (good, bad) = (good?, bad?);
    let target = request.run.choose_target(context)?;
    let accel = usable_accel(&request.run.request, &target)?;
    let used = |change: &Change| is_used(&change.entry, &target, accel);
    let changes: Vec<Change> = differences(&good, &bad).into_iter().filter(used).collect();
    if changes.is_empty() {
        return Err(BisectError::Same { good: request.good.clone(), bad: request.bad.clone() }.into());
    }
    for (lock, path) in [(&good, &request.good), (&bad, &request.bad)] {
        if !lock.has(target.key()) {
            let entry = Box::new(Entry::Image(target.reference.clone(), target.image_platform));
            return Err(BisectError::Lacks { lock: path.clone(), entry }.into());
        }
    }
    let store = context.open_store()?;
    // Before anything is built: fetching ends this process.
    let mut leases = Vec::new();
    for (lock, path) in [(&good, &request.good), (&bad, &request.bad)] {
        let context = with_lock(context, lock, path);
        request.run.network(&context)?;
        let required = context.requiring(&request.run.request.required);
        let mut prepared = prepare(&required, &store, &target, Purpose::run(accel))?;
        acquire::ready(&context, &store, &target, request.run.request.isolation, &mut prepared)?;
        if prepared.fetched.is_some() {
            return Ok(Done::Fetched(prepared.lease));
        }
        leases.push(prepared.lease);
    }
    let mut search = Search { context, request, project: request.run.project()?, store: &store, trials: Vec::new() };
    let found = search.culprit(&good, &bad, &changes);
    let (at, together_with) = match found {
        Ok(found) => found,
        Err(Stop::Fetched(lease)) => return Ok(Done::Fetched(lease)),
        Err(Stop::Failed(error)) => return Err(*error),
    };
    let culprit = changes[at].clone();
    let image = match &culprit.entry {
        Entry::Root(..) | Entry::Native(..) => image_diff::between_packages(&culprit.entry, &good, &bad),
        Entry::Image(reference, platform) => {
            let key = (reference.clone(), *platform);
            let both = good.images.get(&key).zip(bad.images.get(&key));
            both.map(|(old, new)| image_diff::between(context, &store, old, new)).transpose()?
        }
        _ => None,
    };
    Ok(Done::Found(Box::new(Found { culprit, image, together_with, trials: search.trials })))
}

/// Whether a run of `target` reads this entry.
fn is_used(entry: &Entry, target: &Target, accel: Accel) -> bool {
    match entry {
        Entry::Image(reference, platform) => {
            (reference, *platform) == (&target.reference, target.image_platform)
                || (native_image(target, accel) == Some(reference) && *platform == Platform::host())
        }
        Entry::Emulator(platform) => target.is_foreign() && *platform == target.image_platform,
        Entry::Root(toolchain, platform) | Entry::ToolchainSource(toolchain, platform, _) => {
            (Some(toolchain), *platform) == (target.toolchain.as_ref(), target.platform)
        }
        Entry::Native(toolchain, platform) => {
            native_tools(target, accel) == Some(&Native::Auto)
                && (Some(toolchain), *platform) == (target.toolchain.as_ref(), target.platform)
        }
        // It comes with the root.
        Entry::Archive(_) => false,
        Entry::Source(_) | Entry::Build(_) => true,
    }
}

/// The context of a run by `lock`, which lies at `path`.
fn with_lock(context: &Context, lock: &Lock, path: &Path) -> Context {
    let build = lock.build.clone().unwrap_or_else(|| context.build());
    Context { lock: Some(LockFile::new(path.to_owned())), locked: true, build: Some(build), ..context.clone() }
}

struct Search<'a> {
    context: &'a Context,
    request: &'a Request,
    project: Opened,
    store: &'a Store,
    trials: Vec<Trial>,
}

impl Search<'_> {
    /// The first of `changes` with which, after those before it, the build fails; and which of those it needs for that.
    fn culprit(&mut self, good: &Lock, bad: &Lock, changes: &[Change]) -> Result<(usize, Vec<Entry>), Stop> {
        let code = self.build(good, bad, &[])?;
        if code != 0 {
            return Err(BisectError::FailsAlready { lock: self.request.good.clone(), code }.into());
        }
        if self.build(good, bad, changes)? == 0 {
            return Err(BisectError::WorksToo { lock: self.request.bad.clone() }.into());
        }
        // With so many of them it works, with so many it fails.
        let (mut works, mut fails) = (0, changes.len());
        while fails - works > 1 {
            let middle = works + (fails - works) / 2;
            if self.build(good, bad, &changes[..middle])? == 0 { works = middle } else { fails = middle }
        }
        let (before, culprit) = (&changes[..works], &changes[works]);
        let mut needed = Vec::new();
        if !before.is_empty() && self.build(good, bad, std::slice::from_ref(culprit))? == 0 {
            needed.extend(before.iter().map(|change| change.entry.clone()));
        }
        Ok((works, needed))
    }

    /// Builds with `good`, but `newer` as in `bad`; gives the exit code.
    fn build(&mut self, good: &Lock, bad: &Lock, newer: &[Change]) -> Result<u8, Stop> {
        let mut lock = good.clone();
        for change in newer {
            lock.take(&change.entry, bad);
        }
        let scratch = self.store.scratch()?;
        let file = LockFile::new(scratch.path().join("hermes.lock"));
        file.update(|empty| empty.clone_from(&lock))?;
        let tree = scratch.path().join("project");
        std::fs::create_dir(&tree).map_err(|source| BisectError::Place { path: tree.clone(), source })?;
        let store = std::fs::metadata(self.store.root()).map(|store| (store.dev(), store.ino()));
        let except: Vec<_> = store.into_iter().collect();
        copy::tree(&self.project.reach(), &tree, &except, &mut |_| ())
            .map_err(|source| BisectError::Copy { path: tree.clone(), source })?;
        let with: Vec<_> = newer.iter().map(|change| change.entry.to_string()).collect();
        let with = if with.is_empty() { "the older lock".to_owned() } else { format!("newer: {}", with.join(", ")) };
        self.context.reporter.warn(&format!("build {} ({with})", self.trials.len() + 1));
        let context = with_lock(self.context, &lock, file.path());
        let clock = Instant::now();
        let outcome = match run(&context, in_tree(self.request.run.clone(), &tree)?)? {
            run::Done::Ran(ran) => ran.outcome,
            run::Done::Fetched(lease) => return Err(Stop::Fetched(lease)),
        };
        let (code, seconds) = (outcome.exit_code(), clock.elapsed().as_secs_f64());
        self.context.reporter.warn(&format!("build {}: exit code {code}", self.trials.len() + 1));
        self.trials.push(Trial { newer: newer.iter().map(|change| change.entry.clone()).collect(), code, seconds });
        Ok(code)
    }
}
