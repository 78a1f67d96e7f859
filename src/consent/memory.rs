//! Permanent consent: a file for each set of settings, named by its digest.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::consent::{ConsentError, Settings};
use crate::digest::Digest;
use crate::fs::atomic;
use crate::fs::trust::Trust;

/// Largest file read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The directory of permanent consent, which only its user may be able to write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Memory {
    directory: PathBuf,
}

impl Memory {
    /// The memory in `directory`, which need not exist.
    #[must_use]
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Whether exactly these settings of this project were allowed.
    #[must_use]
    pub(crate) fn has(&self, settings: &Settings) -> bool {
        let Ok(text) = text_of(settings) else { return false };
        read(&self.path(&text)).is_ok_and(|kept| kept == text)
    }

    /// Allows these settings. Other sets of settings of the same project stay allowed, so that the user can switch branches.
    ///
    /// # Errors
    /// The file cannot be written; a path is not UTF-8.
    pub(crate) fn add(&self, settings: &Settings) -> io::Result<()> {
        let text = text_of(settings)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let path = self.path(&text);
        let mut file = atomic::create(&path)?;
        file.as_file().set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(&text)?;
        file.publish()
    }

    /// All allowed settings, sorted by project.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn list(&self) -> Result<Vec<Settings>, ConsentError> {
        let all = self.all().map_err(|source| self.failed("read", source))?;
        let mut all: Vec<_> = all.into_iter().map(|(_, settings)| settings).collect();
        all.sort_by(|one, other| one.project.cmp(&other.project));
        Ok(all)
    }

    /// Revokes and returns all consent for the project in the directory `project`.
    pub(crate) fn revoke(&self, project: &Path) -> Result<Vec<Settings>, ConsentError> {
        let all = self.all().map_err(|source| self.failed("read", source))?;
        let mut removed = Vec::new();
        for (path, settings) in all.into_iter().filter(|(_, settings)| settings.project == project) {
            fs::remove_file(&path).map_err(|source| ConsentError::Memory { action: "remove", path, source })?;
            removed.push(settings);
        }
        Ok(removed)
    }

    fn all(&self) -> io::Result<Vec<(PathBuf, Settings)>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(error),
        };
        let known = |entry: io::Result<fs::DirEntry>| {
            let path = entry.ok()?.path();
            let text = read(&path).ok().filter(|text| self.path(text) == path)?;
            Some((path, serde_json::from_slice(&text).ok()?))
        };
        Ok(entries.filter_map(known).collect())
    }

    fn path(&self, text: &[u8]) -> PathBuf {
        self.directory.join(format!("{}.json", Digest::of(text).hex()))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> ConsentError {
        ConsentError::Memory { action, path: self.directory.clone(), source }
    }
}

/// Reads a file that nobody but this user can have written, not even root: it gives a project permissions.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    Trust::in_caller_alone().read(path, MAX_FILE)
}

/// The content of the file for settings, which depends on the settings alone.
fn text_of(settings: &Settings) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(settings).map_err(io::Error::other)?;
    text.push(b'\n');
    Ok(text)
}
