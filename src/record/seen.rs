//! What a command saw of where it was.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::sandbox::{Clock, DirectoryOrder};

/// What a command saw of where it was, beside its image and its environment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Seen {
    /// The host name.
    pub hostname: String,
    /// Permissions that new files did not get, in octal.
    pub umask: String,
    /// The user's home directory.
    pub home: PathBuf,
    /// Where the project was, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<PathBuf>,
    /// How many processors there were, at most; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nproc: Option<u32>,
    /// What time it was; `None` for the true one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// The order of directories; `None` for the file system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir_order: Option<DirectoryOrder>,
}
