//! What the settings of a project reach outside the project.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Something of the host, or that the host's user has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Access {
    /// The host's network, in the sandbox.
    HostNetwork,
    /// All that is in this directory, in the sandbox, to be read and written.
    Mount(PathBuf),
    /// A file of the host, or all that is in a directory. Without symbolic links, as far as the path exists.
    Read(PathBuf),
    /// The host's git in this repository, and so in all that its files name: `objects/info/alternates`, a `.git` that is a
    /// file, and links lead git to the objects of any other repository that the user can read.
    Repository(PathBuf),
    /// A repository at this URL, fetched by ssh with the user's keys.
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

/// A setting of a project's file, and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Setting {
    /// Its key, such as `build.net`.
    pub key: String,
    /// What it asks for.
    pub access: Access,
}

impl Setting {
    /// The setting `key`, which asks for `access`.
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

/// All that a project asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The directory of the project.
    pub project: PathBuf,
    /// Its settings that ask for something.
    pub settings: BTreeSet<Setting>,
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings: Vec<_> = self.settings.iter().map(ToString::to_string).collect();
        f.write_str(&settings.join("; "))
    }
}
