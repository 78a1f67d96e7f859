//! What the files of a project ask for beyond the project's own directory, and whether the user has allowed it.
//!
//! A project may be a stranger's: its files alone give it nothing of the host. Each setting that reaches further is a
//! [`Setting`]; [`Consent`] compares those that a command needs with what the user has said, and gives an [`Allowed`],
//! without which nothing of this is opened. The user says it for one command (an option), by a rule of `config.toml`, or
//! for good: with `hermes allow`, or at the terminal. What was said for good holds for one directory and for exactly the
//! settings that it had then. A lock allows nothing.

mod error;
mod memory;
mod project_path;
mod rule;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use crate::progress::Reporter;

pub(crate) use error::ConsentError;
pub(crate) use memory::Memory;
pub(crate) use project_path::ProjectPath;
pub(crate) use rule::Rule;

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

/// The proof that the user has allowed something. Only [`Consent`] makes one that is not empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Allowed(BTreeSet<Access>);

impl Allowed {
    /// Whether it is for `access`.
    #[must_use]
    pub(crate) fn has(&self, access: &Access) -> bool {
        self.0.contains(access)
    }
}

/// Shows the settings to the user, and gives the answer. An error means that the user could not be asked.
pub(crate) type Question = Arc<dyn Fn(&Settings) -> std::io::Result<bool> + Send + Sync>;

/// What the user has said.
#[derive(Default)]
pub(crate) struct Consent {
    /// The option that allows all that the project asks for, for this command.
    pub everything: bool,
    /// Rules of `config.toml`.
    pub rules: Vec<Rule>,
    /// What was allowed for good; `None` where there is no place to keep it.
    pub memory: Option<Memory>,
    /// How the user is asked; `None` for never.
    pub question: Option<Question>,
    /// Whether the user was told, by this command, what is allowed without a word on the command line.
    pub told: AtomicBool,
}

impl Consent {
    /// Whether the user allows `needed`, some of `all` settings of a project. Where neither the command line nor a rule nor
    /// the memory says so, the user is asked, about all settings; a yes is kept.
    ///
    /// # Errors
    /// [`ConsentError::NotAllowed`].
    pub(crate) fn decide(
        &self,
        all: &Settings,
        needed: BTreeSet<Setting>,
        reporter: &dyn Reporter,
    ) -> Result<Allowed, ConsentError> {
        let open: BTreeSet<_> =
            needed.iter().filter(|setting| !self.is_ruled(&all.project, setting)).cloned().collect();
        let is_said = self.everything || open.is_empty() || self.is_remembered(all);
        if !is_said && !self.ask(all, reporter) {
            let project = all.project.clone();
            return Err(ConsentError::NotAllowed { project, settings: open.into_iter().collect() });
        }
        if !needed.is_empty() && !self.everything && !self.told.swap(true, Ordering::Relaxed) {
            let needed = Settings { project: all.project.clone(), settings: needed.clone() };
            reporter.warn(&format!("you have allowed {}: {needed}", all.project.display()));
        }
        Ok(Allowed(needed.into_iter().map(|setting| setting.access).collect()))
    }

    /// What the user has asked for on the command line needs no other consent.
    #[must_use]
    pub(crate) fn of_the_user(settings: impl IntoIterator<Item = Setting>) -> Allowed {
        Allowed(settings.into_iter().map(|setting| setting.access).collect())
    }

    /// Whether all `settings` are allowed for good.
    #[must_use]
    pub(crate) fn is_remembered(&self, settings: &Settings) -> bool {
        self.memory.as_ref().is_some_and(|memory| memory.has(settings))
    }

    fn is_ruled(&self, project: &Path, setting: &Setting) -> bool {
        self.rules.iter().any(|rule| rule.allows(project, &setting.access))
    }

    /// Asks the user, who is told only of what is then allowed for good.
    fn ask(&self, all: &Settings, reporter: &dyn Reporter) -> bool {
        let Some(question) = &self.question else { return false };
        if !question(all).unwrap_or(false) {
            return false;
        }
        self.told.store(true, Ordering::Relaxed);
        let kept = self.memory.as_ref().map(|memory| memory.add(all));
        if let Some(Err(error)) = kept {
            reporter.warn(&format!("allowed for this command only, because it cannot be saved: {error}"));
        }
        true
    }
}

#[cfg(test)]
mod tests;
