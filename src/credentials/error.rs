//! What can go wrong with credentials.

use std::io;
use std::path::PathBuf;

use crate::hint::{ErrorKind, Hint};

/// Why credentials cannot be read or kept. No text of a file or a helper is in it: it might be secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    /// A file cannot be read.
    #[error("cannot read credentials from {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not in docker's form.
    #[error("{} is not in the form of docker's config.json (line {line})", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where; the parser's words would quote the file.
        line: usize,
    },
    /// A file cannot be written.
    #[error("cannot write credentials to {}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No directory for a file of one's own: no home.
    #[error("there is no file to keep credentials in, since there is no home directory")]
    NoPlace,
    /// A helper is not installed.
    #[error("the credential helper docker-credential-{name} is not in PATH")]
    NoHelper {
        /// The helper, without its prefix.
        name: String,
    },
    /// A helper did not do what it was asked for.
    #[error("the credential helper docker-credential-{name} {what}")]
    Helper {
        /// The helper, without its prefix.
        name: String,
        /// What it did instead.
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
            Self::NoPlace => vec!["REGISTRY_AUTH_FILE or DOCKER_CONFIG may name one".into()],
            Self::NoHelper { .. } | Self::Helper { .. } => {
                vec!["helpers are named in config.json: 'credHelpers' and 'credsStore'".into()]
            }
            _ => Vec::new(),
        }
    }
}
