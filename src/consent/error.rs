//! Why a project does not get what it asks for.

use std::io;
use std::path::PathBuf;

use crate::consent::{Access, Setting};
use crate::hint::{ErrorKind, Hint};

/// Why a project does not get what it asks for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConsentError {
    /// The user has not allowed it.
    #[error("the project {} asks for more than its own directory:\n{}", project.display(), lines(settings))]
    NotAllowed {
        /// The directory of the project.
        project: PathBuf,
        /// Its settings that are not allowed.
        settings: Vec<Setting>,
    },
    /// What was allowed cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Memory {
        /// Such as `write`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// What is allowed cannot be kept.
    #[error("cannot save what is allowed")]
    Write {
        /// The system's reason.
        source: io::Error,
    },
    /// There is no place for what is allowed.
    #[error("there is no directory to save what is allowed")]
    NoMemory,
    /// Nothing asks.
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
                    "read its hermes.toml; if you trust it, 'hermes allow' allows this until one of these settings changes"
                        .to_owned(),
                    "for one command: --allow-project; for a directory of projects: [[allow]] in config.toml".to_owned(),
                ];
                if settings.iter().any(|setting| setting.access == Access::HostNetwork) {
                    hints.push("--net host or --net none decides about the network alone".to_owned());
                }
                hints
            }
            Self::NoMemory => vec!["set HOME or XDG_STATE_HOME to a directory of yours".to_owned()],
            Self::NoProject => vec!["change to the directory of the project".to_owned()],
            Self::Memory { source, .. } | Self::Write { source } => crate::fs::space::hints(source),
        }
    }
}
