//! What a command saw of where it was.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::lock::Umask;
use crate::sandbox::{Clock, DirectoryOrder, Interposed};

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

/// What was asked of where and when it is, to the command; `None` is what is usual.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Surroundings {
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `--umask`
    pub umask: Option<Umask>,
    /// `--nproc`
    pub nproc: Option<u32>,
    /// `--home`.
    pub home: Option<String>,
    /// `--work`.
    pub work: Option<PathBuf>,
    /// `--clock`, `--dir-order`
    #[serde(rename = "disguise")] // The name in records of this version.
    pub interposed: Interposed,
}
