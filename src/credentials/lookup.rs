//! Looking up the credentials for a registry.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::credential::Credential;
use super::error::CredentialsError;
use super::file::{Entry, File};
use super::{helper, key};
use crate::progress::Reporter;

/// Where credentials are.
#[derive(Debug, Clone, Default)]
pub struct CredentialFiles {
    /// Files in the form of docker's `config.json`; the first that has something for an image has
    /// the say.
    pub files: Vec<PathBuf>,
    /// The file that `login` writes.
    pub own: Option<PathBuf>,
    /// Directories where helpers (`docker-credential-NAME`) are looked for.
    pub search: Vec<PathBuf>,
}

/// Finds credentials, asking each helper once for a registry.
pub(crate) struct Lookup {
    files: CredentialFiles,
    reporter: Arc<dyn Reporter>,
    told: Mutex<BTreeSet<String>>,
    asked: Mutex<BTreeMap<(String, String), Option<Credential>>>,
}

impl Lookup {
    /// Reads nothing yet. `reporter` hears, once, of files and helpers that cannot be used.
    #[must_use]
    pub(crate) fn new(files: CredentialFiles, reporter: Arc<dyn Reporter>) -> Self {
        Self { files, reporter, told: Mutex::default(), asked: Mutex::default() }
    }

    /// What there is for `repository` of `registry`, both as the server has them. May run a helper,
    /// which may take 10 s. What cannot be used is told and passed over: a broken helper
    /// must not stop the pull of a public image (`rules_oci#750`).
    #[must_use]
    pub(crate) fn find(&self, registry: &str, repository: &str) -> Option<Credential> {
        self.files.files.iter().find_map(|path| match File::read(path) {
            Ok(file) => match file.entry(registry, repository)? {
                Entry::Credential(credential) => Some(credential),
                Entry::Helper(name) => self.ask(&name, registry),
            },
            Err(error) => {
                self.tell(&error);
                None
            }
        })
    }

    fn ask(&self, name: &str, registry: &str) -> Option<Credential> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let question = (name.to_owned(), registry.to_owned());
        if let Some(answer) = asked.get(&question) {
            return answer.clone();
        }
        let answer = helper::get(&self.files.search, name, &key::server_url(registry)).unwrap_or_else(|error| {
            self.tell(&error);
            None
        });
        asked.insert(question, answer.clone());
        answer
    }

    /// Tells of something that goes on without credentials, once.
    fn tell(&self, error: &CredentialsError) {
        let mut line = format!("going on without credentials: {error}");
        if let Some(cause) = std::error::Error::source(error) {
            line = format!("{line}: {cause}");
        }
        self.note(line);
    }

    /// Tells `line`, once.
    pub(crate) fn note(&self, line: String) {
        if !self.told.lock().unwrap_or_else(PoisonError::into_inner).contains(&line) {
            self.reporter.warn(&line);
            self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(line);
        }
    }
}
