//! The decision of the user about the settings of a project.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::consent::{Access, ConsentError, Memory, Rule, Setting, Settings};
use crate::progress::Reporter;

/// Proof that the user has allowed access. Only [`Consent`] creates a proof that is not empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Allowed(BTreeSet<Access>);

impl Allowed {
    /// Whether `access` is allowed.
    #[must_use]
    pub(crate) fn has(&self, access: &Access) -> bool {
        self.0.contains(access)
    }
}

/// Shows the settings to the user and returns the answer. An error means that the user could not be asked.
pub(crate) type Question = Arc<dyn Fn(&Settings) -> std::io::Result<bool> + Send + Sync>;

/// The ways in which the user gives consent.
#[derive(Default)]
pub(crate) struct Consent {
    /// The option that allows all settings for this command.
    pub everything: bool,
    /// Rules of `config.toml`.
    pub rules: Vec<Rule>,
    /// Settings that were allowed permanently; `None` without a directory for them.
    pub memory: Option<Memory>,
    /// Prompt; `None` without a terminal.
    pub question: Option<Question>,
    /// Whether this command has reported which settings are allowed without an option.
    pub told: AtomicBool,
}

impl Consent {
    /// Checks that the user allows `needed`, a subset of `all` settings of a project. If neither the option nor a rule nor the
    /// memory allows them, asks the user about all settings and remembers a yes.
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

    /// Proof for settings on the command line, which need no other consent.
    #[must_use]
    pub(crate) fn of_the_user(settings: impl IntoIterator<Item = Setting>) -> Allowed {
        Allowed(settings.into_iter().map(|setting| setting.access).collect())
    }

    /// Whether all `settings` are allowed permanently.
    #[must_use]
    pub(crate) fn is_remembered(&self, settings: &Settings) -> bool {
        self.memory.as_ref().is_some_and(|memory| memory.has(settings))
    }

    fn is_ruled(&self, project: &Path, setting: &Setting) -> bool {
        self.rules.iter().any(|rule| rule.allows(project, &setting.access))
    }

    /// Asks the user.
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
