//! `hermes mirror`: copies the files that a lock names besides images to a mirror: sources, packages, and what is signed of
//! their archives.

pub(super) mod missing;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use crate::commands::acquire::{Acquirer, Documents, LockedRoot};
use crate::commands::source::acquire::Scope;
use crate::commands::{Context, Error, OwnError, network};
use crate::digest::Digest;
use crate::hint::{ErrorKind, Hint};
use crate::lock::{FileKind, Lock, LockedFile};
use crate::mirror::{self, MirrorError, Place};
use crate::progress::TaskId;
use crate::registry::Client;
use crate::store::{Lease, Store};

/// A file in a mirror.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Mirrored {
    /// Its kind.
    pub kind: FileKind,
    /// Its name in messages.
    pub name: String,
    /// Its SHA-256.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Whether it was sent, or would be; `false` if the mirror had it.
    pub sent: bool,
}

/// What was copied, or would be.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct Mirroring {
    /// Each file, in the order of the lock.
    pub files: Vec<Mirrored>,
    /// Nothing was copied: it was only looked for.
    #[serde(skip)]
    pub is_dry: bool,
}

/// Errors of `hermes mirror`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MirrorCommandError {
    /// Neither a project nor a lock.
    #[error("there is no project in this directory, and no lockfile was named")]
    NoProject,
    /// Sources that only a project can say where to get.
    #[error("the store does not have the sources {}, and there is no project that says where they are", names.join(", "))]
    Sources {
        /// Their names in the lock.
        names: Vec<String>,
    },
}

impl OwnError for MirrorCommandError {}

impl Hint for MirrorCommandError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoProject => ErrorKind::Usage,
            Self::Sources { .. } => ErrorKind::Unavailable,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoProject => {
                vec!["change to a directory with a hermes.toml, or name a lockfile with --lock FILE".into()]
            }
            Self::Sources { .. } => vec!["change to the directory of the project".into()],
        }
    }
}

/// Copies what the lock of the project, or the one of `--lock`, names besides images to `place`, unless it is there; downloads
/// first what the store does not have. With `is_dry`, only says what would be copied.
///
/// # Errors
/// There is no project and no lock; a file is gone or changed; the mirror cannot be written.
pub(crate) fn mirror(context: &Context, place: &Place, is_dry: bool) -> Result<Mirroring, Error> {
    let file = context.shared_lock().ok_or(MirrorCommandError::NoProject)?;
    if context.offline && matches!(place, Place::Repository(_)) {
        return Err(MirrorError::Offline { place: place.shown() }.into());
    }
    if is_dry {
        let files = file.read()?.files();
        let there = network::run(context, async |client| Ok(look_for(&files, place, context.jobs, &client).await?))?;
        let files = files.iter().zip(there).map(|(file, there)| row(file, !there)).collect();
        return Ok(Mirroring { files, is_dry });
    }
    let store = context.open_store()?;
    let mut lease = store.lease();
    sources(context, &store, &mut lease)?;
    let lock = file.read()?;
    let mut acquirer = Acquirer::new(context, &store, &mut lease);
    for root in LockedRoot::all(context, &lock) {
        if !root.is_native() {
            acquirer.documents(root.wanted(), Documents::All)?;
        }
        acquirer.debs(root.wanted())?;
    }
    acquirer.emulator_debs(&lock)?;
    acquirer.archives_of_toolchains(&lock)?;
    let files = copy(context, &store, &lock, place)?;
    Ok(Mirroring { files, is_dry })
}

/// Whether a mirror has each of `files`, up to `jobs` of which are looked for at a time.
async fn look_for(files: &[LockedFile], place: &Place, jobs: usize, client: &Client) -> Result<Vec<bool>, MirrorError> {
    let work = stream::iter(files.iter().map(|file| mirror::has(place, &file.blob, client)));
    work.buffered(jobs.max(1)).try_collect().await
}

/// Makes the store hold the archives of the project's sources, and the lock name them.
fn sources(context: &Context, store: &Store, lease: &mut Lease) -> Result<(), Error> {
    let Some(project) = &context.project else { return Ok(()) };
    let allowed = context.allow_sources(&project.sources)?;
    let mut acquirer = Acquirer::new(context, store, lease);
    let sources = acquirer.sources(context.lock_of_project(project), &project.sources, Scope::Project, &allowed)?;
    // gc may have removed the archive of an unpacked source.
    acquirer.archives(&project.sources, &allowed, &sources)
}

/// Copies the files of `lock`, which the store has.
fn copy(context: &Context, store: &Store, lock: &Lock, place: &Place) -> Result<Vec<Mirrored>, Error> {
    let files = lock.files();
    let is_missing = |file: &&LockedFile| file.kind == FileKind::Source && !store.has_blob(&file.blob);
    let missing: Vec<_> = files.iter().filter(is_missing).map(|file| file.name.clone()).collect();
    if !missing.is_empty() {
        return Err(MirrorCommandError::Sources { names: missing }.into());
    }
    let total = files.iter().map(|file| file.blob.size).fold(0, u64::saturating_add);
    let s = if files.len() == 1 { "" } else { "s" };
    let task = context.reporter.start(&format!("copying {} file{s}", files.len()), total);
    let copied = match place {
        Place::Directory(directory) => files.iter().try_fold(Vec::new(), |mut rows, file| {
            rows.push(row(file, mirror::to_directory(store, &file.blob, directory)?));
            context.reporter.advance(task, file.blob.size);
            Ok::<_, MirrorError>(rows)
        }),
        Place::Repository(repository) => {
            let to = Repository { context, store, name: repository, task };
            return network::run(context, async |client| Ok(to.push_all(&files, &client).await?));
        }
    };
    context.reporter.finish(task);
    Ok(copied?)
}

/// A repository that files are pushed to.
struct Repository<'a> {
    context: &'a Context,
    store: &'a Store,
    name: &'a str,
    task: TaskId,
}

impl Repository<'_> {
    async fn push_all(&self, files: &[LockedFile], client: &Client) -> Result<Vec<Mirrored>, MirrorError> {
        let jobs = self.context.jobs.max(1);
        let mut work = stream::iter(files.iter().map(|file| self.push(file, client))).buffered(jobs);
        let mut rows = Vec::new();
        let mut failure = None;
        while let Some(pushed) = work.next().await {
            match pushed {
                Ok(row) => rows.push(row),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        drop(work);
        self.context.reporter.finish(self.task);
        failure.map_or(Ok(rows), Err)
    }

    async fn push(&self, file: &LockedFile, client: &Client) -> Result<Mirrored, MirrorError> {
        let artifact_type = file.kind.artifact_type();
        let sent = mirror::to_repository(self.store, &file.blob, artifact_type, self.name, client).await?;
        self.context.reporter.advance(self.task, file.blob.size);
        Ok(row(file, sent))
    }
}

fn row(file: &LockedFile, sent: bool) -> Mirrored {
    let LockedFile { kind, name, blob } = file;
    Mirrored { kind: *kind, name: name.clone(), digest: blob.digest, size: blob.size, sent }
}
