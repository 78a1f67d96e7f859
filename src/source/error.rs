//! Errors of sources.

use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::hint::{ErrorKind, Hint};
use crate::layer::LayerError;
use crate::platform::Platform;
use crate::pypi::Requirement;
use crate::registry::RegistryError;
use crate::source::Label;
use crate::store::StoreError;
use crate::visible::visible_path;

/// An archive cannot be unpacked, or a patch cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The tar or its compression is not valid.
    #[error(transparent)]
    Tar(LayerError),
    /// The zip is not valid.
    #[error("invalid zip: {0}")]
    Zip(String),
    /// Not an archive in a supported format.
    #[error("{0}")]
    Format(&'static str),
    /// An entry that is not allowed, or cannot be created.
    #[error("the entry '{path}' is refused: {why}")]
    Entry { path: String, why: String },
    /// The archive exceeds a limit.
    #[error("the archive has more than {limit} {what}")]
    Limit {
        /// The unit.
        what: &'static str,
        limit: u64,
    },
    /// No entry remains.
    #[error("no entry of the archive is left after stripping {0} leading path components")]
    Empty(u32),
    /// A malformed patch.
    #[error("invalid patch at line {line}: {why}")]
    Patch {
        /// Counted from 1.
        line: usize,
        why: String,
    },
    /// A patch that does not apply to this tree.
    #[error("the patch does not apply to '{path}': {why}")]
    Mismatch { path: String, why: String },
    /// A system call failed.
    #[error("cannot {action} '{path}'")]
    Io {
        /// Such as `create`.
        action: &'static str,
        path: String,
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
            Self::Empty(_) => vec!["set the number of components to strip, such as strip = 0".into()],
            Self::Patch { .. } | Self::Mismatch { .. } => {
                vec!["patches must be unified diffs with a/ and b/ before the paths, and apply without fuzz".into()]
            }
            _ => vec![],
        }
    }
}

/// A source is not available.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The archive cannot be unpacked.
    #[error("cannot unpack source {name}")]
    Unpack { name: Label, source: UnpackError },
    /// Every location that has it has other content.
    #[error("checksum mismatch for source {name} from {location}: expected sha256 {expected}, got {got}", got = got.hex(), expected = expected.hex())]
    Changed {
        name: Label,
        /// The location with other content.
        location: String,
        /// The digest in the lock or `hermes.toml`.
        expected: Box<Digest>,
        got: Box<Digest>,
    },
    /// No location has it, or none can be reached.
    #[error("source {name} is not available: {tried}")]
    Unavailable {
        name: Label,
        /// The locations, and the error of each.
        tried: String,
    },
    /// It would have to be downloaded.
    #[error("source {name} is not in the store, and cannot be downloaded with --offline")]
    Offline { name: Label },
    /// pip names no index.
    #[error("source {name} is a package, and pip is configured with no index")]
    NoIndex { name: Label },
    /// No file of the package can be used.
    #[error("no index has a wheel of {requirement} for {} and any Python 3", platform.name())]
    NoWheel {
        name: Label,
        requirement: Box<Requirement>,
        platform: Platform,
        /// Wheels of this version for other platforms.
        others: Vec<String>,
    },
    /// Several files of the package can be used.
    #[error("{requirement} has several wheels for this platform: {}", files.join(", "))]
    SeveralWheels {
        name: Label,
        requirement: Box<Requirement>,
        /// Their names.
        files: Vec<String>,
    },
    /// A malformed URL or mirror.
    #[error("invalid source location '{url}': {why}")]
    Location { url: String, why: &'static str },
    /// A file of a mirror, or a patch of the project, cannot be read or written.
    #[error("cannot {verb} {path}")]
    File { verb: &'static str, path: PathBuf, source: io::Error },
    /// git is not installed.
    #[error("source {url} is a git repository, and git is not installed")]
    NoGit { url: String },
    /// git fails.
    #[error("git cannot fetch {commit} from {url}: {why}")]
    Git {
        url: String,
        commit: String,
        /// The message of git.
        why: String,
    },
    /// The time of the last commit is not known.
    #[error("cannot read the time of the last commit in {}: {why}", directory.display())]
    CommitTime { directory: PathBuf, why: String },
    /// Communication with git failed.
    #[error("cannot run git for {url}")]
    GitIo { url: String, source: io::Error },
    /// `hermes.toml` has no such source.
    #[error("hermes.toml has no source {name}")]
    Unknown { name: String },
    /// `hermes.toml` has such a source already.
    #[error("hermes.toml already has a source {name}")]
    Taken { name: String },
    /// There is no project.
    #[error("there is no hermes.toml here or in a directory above")]
    NoProject,
    /// An invalid name, or a URL that suggests no valid one.
    #[error("invalid source name '{name}'")]
    Name { name: String },
}

impl Hint for SourceError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Registry(error) => error.kind(),
            Self::Unpack { source, .. } => source.kind(),
            Self::Changed { .. } => ErrorKind::Integrity,
            Self::Offline { .. } => ErrorKind::Unavailable,
            Self::NoIndex { .. } | Self::SeveralWheels { .. } => ErrorKind::Usage,
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
                "find out why: the release may have been replaced, or tampered with".into(),
                format!("a mirror may have the expected content: [{}] mirrors = [\"…\"]", name.table()),
                match &name.toolchain {
                    Some(toolchain) => format!(
                        "to accept the new content, set sha256 = \"{}\" in [{}], or run: hermes lock -t {toolchain} --update {toolchain}",
                        got.hex(),
                        name.table()
                    ),
                    None => format!(
                        "to accept the new content, set sha256 = \"{}\" in [{table}] of hermes.toml, and remove [{table}] from hermes.lock",
                        got.hex(),
                        table = name.table()
                    ),
                },
            ],
            Self::Unavailable { name, .. } => {
                vec![format!("name another location: [{}] mirrors = [\"https://…/\", \"/a/directory\"]", name.table())]
            }
            Self::Offline { name: Label { toolchain: Some(toolchain), .. } } => {
                vec![format!("fetch it while the network is available: hermes fetch -t {toolchain}")]
            }
            Self::Offline { .. } => vec!["fetch it while the network is available: hermes source fetch".into()],
            Self::NoIndex { name } => vec![
                "name an index: pip config set global.index-url URL, or PIP_INDEX_URL=URL".into(),
                format!(
                    "or a mirror that has the file, with its digest: [{}] sha256 = \"…\", mirrors = [\"…\"]",
                    name.table()
                ),
            ],
            Self::NoWheel { others, .. } if others.is_empty() => {
                vec!["check name and version; 'pip index versions NAME' lists versions".into()]
            }
            Self::NoWheel { others, .. } => vec![format!("wheels of this version: {}", others.join(", "))],
            Self::SeveralWheels { name, .. } => {
                vec![format!("choose one by its digest: [{}] sha256 = \"…\"", name.table())]
            }
            Self::NoGit { .. } => {
                vec!["install git, or name a mirror that has the archive: 'hermes mirror' makes one".into()]
            }
            Self::Git { .. } => {
                vec!["hermes does not use your git settings and credentials; name a commit by its full id".into()]
            }
            Self::CommitTime { .. } => vec![
                "epoch = \"git\" in [build] needs git and a repository that belongs to you and has a commit; otherwise set seconds since 1970".into(),
            ],
            Self::Unknown { .. } => vec!["'hermes source list' lists the sources".into()],
            Self::Taken { .. } => vec!["give it another name: --name NAME".into()],
            Self::NoProject => vec!["create one; it may be empty: touch hermes.toml".into()],
            Self::Name { .. } => vec!["use letters, digits and . - _ +: --name NAME".into()],
            _ => vec![],
        }
    }
}
