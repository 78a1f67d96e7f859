//! Errors of reading and storing credentials.

use std::io;
use std::path::PathBuf;

use crate::hint::{ErrorKind, Hint};

/// Credentials cannot be read or stored. Messages quote no text of a file or helper, since it may be secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    /// A file cannot be read.
    #[error("cannot read credentials from {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// A file is not in docker's format.
    #[error("invalid credentials file {}: expected the format of docker's config.json (line {line})", path.display())]
    Malformed {
        path: PathBuf,
        /// The line; the message of the parser would quote the file.
        line: usize,
    },
    /// A file cannot be written.
    #[error("cannot write credentials to {}", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    /// There is no home directory to store them in.
    #[error("there is no home directory to store credentials in")]
    NoHome,
    /// A helper is not installed.
    #[error("the credential helper docker-credential-{name} is not in PATH")]
    NoHelper {
        /// The helper, without its prefix.
        name: String,
    },
    /// A helper failed.
    #[error("the credential helper docker-credential-{name} {what}")]
    Helper {
        /// The helper, without its prefix.
        name: String,
        /// What it did.
        what: String,
    },
}

impl Hint for CredentialsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed { .. } => ErrorKind::Usage,
            _ => ErrorKind::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoHome => vec!["set REGISTRY_AUTH_FILE or DOCKER_CONFIG".into()],
            Self::NoHelper { .. } | Self::Helper { .. } => {
                vec!["config.json names helpers in 'credHelpers' and 'credsStore'".into()]
            }
            _ => Vec::new(),
        }
    }
}
