//! Why a source cannot be had, or not unpacked.

use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::hint::{ErrorKind, Hint};
use crate::layer::LayerError;
use crate::registry::RegistryError;
use crate::store::StoreError;
use crate::visible::visible_path;

/// Why an archive is not unpacked, or a patch not applied.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The tar, or its compression.
    #[error(transparent)]
    Tar(LayerError),
    /// The zip.
    #[error("the zip is not valid: {0}")]
    Zip(String),
    /// No archive that hermes unpacks.
    #[error("{0}")]
    Format(&'static str),
    /// An entry that must not be, or cannot be, put on disk.
    #[error("the entry '{path}' is refused: {why}")]
    Entry {
        /// Its path.
        path: String,
        /// Why.
        why: String,
    },
    /// More than an archive may cost.
    #[error("more than {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: u64,
    },
    /// Nothing comes out.
    #[error("nothing is left of the archive after {0} leading path components are left out")]
    Empty(u32),
    /// A patch that is not one.
    #[error("the patch is not valid at line {line}: {why}")]
    Patch {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A patch that is not for this tree.
    #[error("the patch does not apply to '{path}': {why}")]
    Mismatch {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A system call failed.
    #[error("cannot {action} '{path}'")]
    Io {
        /// Such as `create`.
        action: &'static str,
        /// The entry.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl From<LayerError> for UnpackError {
    fn from(error: LayerError) -> Self {
        match error {
            LayerError::Limit { what, limit } => Self::Limit { what, limit },
            error => Self::Tar(error),
        }
    }
}

impl UnpackError {
    pub(super) fn entry(path: &[u8], why: impl Into<String>) -> Self {
        Self::Entry { path: visible_path(path), why: why.into() }
    }

    /// For `map_err`: a system call on the entry `path` failed.
    pub(super) fn io<E: Into<io::Error>>(action: &'static str, path: &[u8]) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { action, path: visible_path(path), source: source.into() }
    }
}

impl Hint for UnpackError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Tar(error) => error.kind(),
            Self::Io { .. } | Self::Empty(_) | Self::Format(_) | Self::Patch { .. } | Self::Mismatch { .. } => {
                ErrorKind::Failed
            }
            _ => ErrorKind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Tar(error) => error.hints(),
            Self::Io { source, .. } => crate::fs::space::hints(source),
            Self::Empty(_) => vec!["say how many are to be left out: strip = 0".into()],
            Self::Patch { .. } | Self::Mismatch { .. } => {
                vec!["patches are unified diffs with a/ and b/ before the paths, and apply without fuzz".into()]
            }
            _ => vec![],
        }
    }
}

/// Why a source cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A registry's or a server's.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It is not unpacked.
    #[error("source {name} cannot be unpacked")]
    Unpack {
        /// Its name.
        name: String,
        /// Why.
        source: UnpackError,
    },
    /// Every place that has it has other bytes.
    #[error("source {name} is not what it was: {place} has sha256 {got}, not {expected}", got = got.hex(), expected = expected.hex())]
    Changed {
        /// Its name.
        name: String,
        /// Where other bytes are.
        place: String,
        /// What it is to be, by the lock or `hermes.toml`.
        expected: Box<Digest>,
        /// What it is.
        got: Box<Digest>,
    },
    /// Nobody has it, or who has it cannot be asked.
    #[error("source {name} cannot be had: {tried}")]
    Nowhere {
        /// Its name.
        name: String,
        /// The places, and what is wrong with each.
        tried: String,
    },
    /// It would have to be fetched, and must not.
    #[error("source {name} is not on this machine, and --offline forbids to fetch it")]
    Offline {
        /// Its name.
        name: String,
    },
    /// A URL or a mirror that is none.
    #[error("'{url}' is no place for a source: {why}")]
    Location {
        /// As it was written.
        url: String,
        /// Why.
        why: &'static str,
    },
    /// A file of a mirror, or a patch of the project, cannot be read or written.
    #[error("cannot {verb} {path}")]
    File {
        /// read, write
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// There is no git.
    #[error("source {url} is a git repository, and there is no git on this host")]
    NoGit {
        /// The repository.
        url: String,
    },
    /// git fails.
    #[error("git cannot fetch {commit} from {url}: {why}")]
    Git {
        /// The repository.
        url: String,
        /// The commit.
        commit: String,
        /// What it says.
        why: String,
    },
    /// The time of the last commit is not known.
    #[error("cannot read the time of the last commit in {}: {why}", directory.display())]
    CommitTime {
        /// The project.
        directory: PathBuf,
        /// Why.
        why: String,
    },
    /// git cannot be spoken with.
    #[error("cannot work with git on {url}")]
    GitIo {
        /// The repository.
        url: String,
        /// The system's reason.
        source: io::Error,
    },
    /// `hermes.toml` has no such source.
    #[error("hermes.toml has no source {name}")]
    Unknown {
        /// The name.
        name: String,
    },
    /// `hermes.toml` has one already.
    #[error("hermes.toml has a source {name} already")]
    Taken {
        /// The name.
        name: String,
    },
    /// The verb needs a project.
    #[error("there is no hermes.toml here or in a directory above")]
    NoProject,
    /// A name that is none, or none that can be told from the URL.
    #[error("'{name}' cannot be the name of a source")]
    Name {
        /// The name.
        name: String,
    },
}

impl Hint for SourceError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Registry(error) => error.kind(),
            Self::Unpack { source, .. } => source.kind(),
            Self::Changed { .. } => ErrorKind::Integrity,
            Self::Offline { .. } => ErrorKind::Unavailable,
            Self::Location { .. } | Self::Unknown { .. } | Self::Taken { .. } | Self::NoProject | Self::Name { .. } => {
                ErrorKind::Usage
            }
            _ => ErrorKind::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Store(error) => error.hints(),
            Self::Registry(error) => error.hints(),
            Self::Unpack { source, .. } => source.hints(),
            Self::Changed { name, got, .. } => vec![
                "find out why: a release that was made anew, or somebody who should not".into(),
                format!("a mirror may have what it was: [source.{name}] mirrors = [\"…\"]"),
                format!(
                    "if it is right as it is now: sha256 = \"{}\" in [source.{name}] of hermes.toml, and no [source.{name}] in hermes.lock",
                    got.hex()
                ),
            ],
            Self::Nowhere { name, .. } => {
                vec![format!("name another place: [source.{name}] mirrors = [\"https://…/\", \"/a/directory\"]")]
            }
            Self::Offline { .. } => vec!["fetch it while there is a network: hermes source fetch".into()],
            Self::NoGit { .. } => {
                vec!["install git, or name a mirror that has the archive: 'hermes source mirror' makes one".into()]
            }
            Self::Git { .. } => {
                vec!["neither settings nor credentials of git are used; a commit is named by its full id".into()]
            }
            Self::CommitTime { .. } => vec![
                "epoch = \"git\" in [build] needs git, and a repository of yours with a commit; otherwise set seconds since 1970".into(),
            ],
            Self::Unknown { .. } => vec!["'hermes source list' shows those there are".into()],
            Self::Taken { .. } => vec!["give it another name: --name NAME".into()],
            Self::NoProject => vec!["make one: an empty file hermes.toml will do".into()],
            Self::Name { .. } => vec!["letters, digits and . - _ + are; say one: --name NAME".into()],
            _ => vec![],
        }
    }
}
