//! Errors of composing an image from packages.

use std::io;
use std::path::{Path, PathBuf};

use crate::archive::ArchiveError;
use crate::debian::compose::script::failed_package;
use crate::debian::deb::DebError;
use crate::hint::{ErrorKind, Hint};
use crate::layer::LayerError;
use crate::sandbox::{Outcome, SandboxError};
use crate::store::StoreError;
use crate::visible::shortened;

/// Number of lines of the scripts' output that an error shows.
const LINES: usize = 10;
/// Maximum length of such a line, in characters.
const LENGTH: usize = 200;

/// Why an image could not be composed.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// A script of a package failed, or another step of configuring packages.
    #[error("cannot configure the root: {what} failed (exit code {code})")]
    Script {
        /// The package, or the step.
        what: String,
        /// Exit code of the configuration.
        code: u8,
        /// Last lines of the output.
        output: Vec<String>,
    },
    /// The archive of a package cannot be unpacked.
    #[error(transparent)]
    Deb(#[from] DebError),
    /// An index of packages cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The tree of the root cannot be written.
    #[error("cannot unpack the packages of the root")]
    Tree(#[from] LayerError),
    /// A file cannot be read or written.
    #[error("cannot {action} {path}")]
    Io {
        /// A verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The sandbox of the scripts failed.
    #[error("cannot run the scripts of packages")]
    Sandbox(#[from] SandboxError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The documents of the image cannot be written.
    #[error("cannot write the documents of the image")]
    Document(#[source] serde_json::Error),
}

impl ComposeError {
    pub(in crate::commands) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// The failure of `step`, with the output of the scripts.
    pub(super) fn script(step: &str, log: &str, outcome: &Outcome) -> Self {
        let what = failed_package(log).map_or_else(|| step.trim().to_owned(), |name| format!("the package {name}"));
        let lines: Vec<_> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(LINES)..];
        let output = last.iter().map(|line| shortened(line, LENGTH)).collect();
        Self::Script { what: shortened(&what, LENGTH), code: outcome.exit_code(), output }
    }
}

impl Hint for ComposeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Deb(error) => error.kind(),
            Self::Archive(error) => error.kind(),
            Self::Tree(error) => error.kind(),
            Self::Sandbox(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Script { .. } | Self::Io { .. } => ErrorKind::Failed,
            Self::Document(_) => ErrorKind::Internal,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Deb(error) => error.hints(),
            Self::Archive(error) => error.hints(),
            Self::Tree(error) => error.hints(),
            Self::Sandbox(error) => error.hints(),
            Self::Store(error) => error.hints(),
            Self::Script { output, .. } => output.iter().map(|line| format!("output: {line}")).collect(),
            Self::Io { source, .. } => {
                let layer = source.get_ref().and_then(|inner| inner.downcast_ref::<LayerError>());
                layer.map_or_else(Vec::new, Hint::hints)
            }
            Self::Document(_) => vec![],
        }
    }
}
