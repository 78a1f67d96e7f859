//! The decision of the user about the settings of a project.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::consent::{Access, ConsentError, Memory, Rule, Setting, Settings};
use crate::progress::Reporter;

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
