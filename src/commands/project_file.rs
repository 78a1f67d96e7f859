//! Changes of `hermes.toml`. Tables are appended, so that comments and everything else stay as they are.

use std::io;

use crate::commands::Error;
use crate::fs::opened::Opened;
use crate::fs::{atomic, flock};
use crate::toolchain::{MAX_FILE, PROJECT_FILE, Project, ToolchainError};

/// A string of TOML.
pub(super) fn text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A key of TOML.
pub(super) fn key(name: &str) -> String {
    let is_plain = !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'));
    if is_plain { name.to_owned() } else { text(name) }
}

/// The text of the project's file in `directory` with `table` appended, and the project that it defines. A missing file counts as
/// an empty one.
///
/// # Errors
/// The file cannot be read; the table does not fit into it.
pub(super) fn with_table(directory: &Opened, table: &str) -> Result<(String, Project), Error> {
    let path = directory.path().join(PROJECT_FILE);
    let bytes = match atomic::read_plain(&directory.reach().join(PROJECT_FILE), MAX_FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes.map_err(|source| ToolchainError::Unreadable { path, source })?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let gap = match text.trim_end_matches('\n').len() {
        0 => "",
        _ if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    let text = format!("{text}{gap}{table}");
    let project = Project::parse(text.as_bytes(), directory.clone())?;
    Ok((text, project))
}

/// Appends `table` to the project's file in `directory`, which is made if it does not exist.
///
/// # Errors
/// As [`with_table`]; the file cannot be written.
pub(super) fn append(directory: &Opened, table: &str) -> Result<(), Error> {
    let path = directory.reach().join(PROJECT_FILE);
    let failed = |source| Error::Unwritable { path: directory.path().join(PROJECT_FILE), source };
    let _guard = flock::beside(&path).map_err(failed)?;
    let (text, _) = with_table(directory, table)?;
    let write = || {
        let mode = match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            found => Some(found?.permissions()),
        };
        let mut file = atomic::create(&path)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        mode.map_or(Ok(()), |mode| file.as_file().set_permissions(mode))?;
        file.publish()
    };
    write().map_err(failed)
}
