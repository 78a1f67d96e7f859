//! Access beyond a project that its settings ask for.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Access to something outside the project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Access {
    /// Use of the host's network in the sandbox.
    HostNetwork,
    /// Reading and writing this directory in the sandbox.
    Mount(PathBuf),
    /// Reading a file or directory of the host. Symbolic links are resolved, as far as the path exists.
    Read(PathBuf),
    /// Running the host's git in this repository. Its files can lead git to the objects of any other repository that the user
    /// can read: `objects/info/alternates`, a `.git` file, and links.
    Repository(PathBuf),
    /// Fetching from this URL by ssh with the user's keys.
    Ssh(String),
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostNetwork => f.write_str("use the host's network"),
            Self::Mount(path) => write!(f, "read and write all of {}", path.display()),
            Self::Read(path) => write!(f, "read {}", path.display()),
            Self::Repository(path) => {
                write!(f, "run git in {}, which can lead it to other repositories of yours", path.display())
            }
            Self::Ssh(url) => write!(f, "fetch {url} with your ssh keys"),
        }
    }
}

/// A setting of a project, and the access that it asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Setting {
    /// Its key, such as `build.net`.
    pub key: String,
    pub access: Access,
}

impl Setting {
    #[must_use]
    pub(crate) fn new(key: impl Into<String>, access: Access) -> Self {
        Self { key: key.into(), access }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.access)
    }
}

/// All such settings of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The directory of the project.
    pub project: PathBuf,
    /// The settings that ask for access.
    pub settings: BTreeSet<Setting>,
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings: Vec<_> = self.settings.iter().map(ToString::to_string).collect();
        f.write_str(&settings.join("; "))
    }
}
