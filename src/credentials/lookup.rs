//! Looking up the credentials for a registry.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::credential::Credential;
use super::error::CredentialsError;
use super::file::{Entry, File};
use super::{helper, key};
use crate::progress::Reporter;

/// Files and helpers with credentials.
#[derive(Debug, Clone, Default)]
pub struct CredentialFiles {
    /// Files in the format of docker's `config.json`. The first one with an entry for an image decides.
    pub files: Vec<PathBuf>,
    /// The file that `hermes login` writes.
    pub own: Option<PathBuf>,
    /// Directories that are searched for helpers (`docker-credential-NAME`).
    pub search: Vec<PathBuf>,
}

/// Finds credentials. Each helper is run once per registry.
pub(crate) struct Lookup {
    files: CredentialFiles,
    reporter: Arc<dyn Reporter>,
    reported: Mutex<BTreeSet<String>>,
    answers: Mutex<BTreeMap<(String, String), Option<Credential>>>,
}

impl Lookup {
    /// Creates it without reading a file. Unusable files and helpers are reported to `reporter` once.
    #[must_use]
    pub(crate) fn new(files: CredentialFiles, reporter: Arc<dyn Reporter>) -> Self {
        Self { files, reporter, reported: Mutex::default(), answers: Mutex::default() }
    }

    /// Finds the credential for `repository` of `registry`, as the server names them. May run a helper, for at most 10 s.
    /// Unusable files and helpers are reported and skipped: a broken helper must not prevent the pull of a public image
    /// (`rules_oci#750`).
    #[must_use]
    pub(crate) fn find(&self, registry: &str, repository: &str) -> Option<Credential> {
        self.files.files.iter().find_map(|path| match File::read(path) {
            Ok(file) => match file.entry(registry, repository)? {
                Entry::Credential(credential) => Some(credential),
                Entry::Helper(name) => self.ask(&name, registry),
            },
            Err(error) => {
                self.report(&error);
                None
            }
        })
    }

    fn ask(&self, name: &str, registry: &str) -> Option<Credential> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let question = (name.to_owned(), registry.to_owned());
        if let Some(answer) = answers.get(&question) {
            return answer.clone();
        }
        let answer = helper::get(&self.files.search, name, &key::server_url(registry)).unwrap_or_else(|error| {
            self.report(&error);
            None
        });
        answers.insert(question, answer.clone());
        answer
    }

    /// Reports, once, that hermes continues without credentials.
    fn report(&self, error: &CredentialsError) {
        let mut line = format!("continuing without credentials: {error}");
        if let Some(cause) = std::error::Error::source(error) {
            line = format!("{line}: {cause}");
        }
        self.note(line);
    }

    /// Reports `line`, once.
    pub(crate) fn note(&self, line: String) {
        if !self.reported.lock().unwrap_or_else(PoisonError::into_inner).contains(&line) {
            self.reporter.warn(&line);
            self.reported.lock().unwrap_or_else(PoisonError::into_inner).insert(line);
        }
    }
}
