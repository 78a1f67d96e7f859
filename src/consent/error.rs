//! Errors of consent.

use std::io;
use std::path::PathBuf;

use crate::consent::{Access, Setting};
use crate::hint::{ErrorKind, Hint};

/// Access is not allowed, or consent cannot be read or saved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConsentError {
    /// The user has not allowed the settings.
    #[error("the project {} asks for access beyond its directory:\n{}", project.display(), lines(settings))]
    NotAllowed {
        project: PathBuf,
        /// The settings that are not allowed.
        settings: Vec<Setting>,
    },
    /// The saved consent cannot be read or removed.
    #[error("cannot {action} {}", path.display())]
    Memory {
        /// Such as `write`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        source: io::Error,
    },
    /// The consent cannot be saved.
    #[error("cannot save the consent")]
    Write { source: io::Error },
    /// There is no directory for saved consent.
    #[error("there is no home directory to save the consent in")]
    NoMemory,
    /// There is no project.
    #[error("there is no hermes.toml here or in a directory above")]
    NoProject,
}

fn lines(settings: &[Setting]) -> String {
    settings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl Hint for ConsentError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAllowed { .. } | Self::NoProject => ErrorKind::Usage,
            Self::Memory { .. } | Self::Write { .. } | Self::NoMemory => ErrorKind::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NotAllowed { settings, .. } => {
                let mut hints = vec![
                    "read its hermes.toml; if you trust it, run 'hermes allow', which is valid until one of these settings changes"
                        .to_owned(),
                    "or allow it for one command: --allow-project; for a directory of projects: [[allow]] in config.toml".to_owned(),
                ];
                if settings.iter().any(|setting| setting.access == Access::HostNetwork) {
                    hints.push("for the network alone: --net host or --net none".to_owned());
                }
                hints
            }
            Self::NoMemory => vec!["set HOME or XDG_STATE_HOME to a directory that belongs to you".to_owned()],
            Self::NoProject => vec!["change to the directory of the project".to_owned()],
            Self::Memory { source, .. } | Self::Write { source } => crate::fs::space::hints(source),
        }
    }
}
