//! The guest view: what a command sees of its surroundings, as the caller wanted it and as it was.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::lock::Umask;
use crate::sandbox::{Clock, DirectoryOrder, Interposed};

/// The guest view of a run, beside its image and its environment.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GuestView {
    /// The host name.
    pub hostname: String,
    /// Permissions that new files did not get, in octal.
    pub umask: String,
    /// The user's home directory.
    pub home: PathBuf,
    /// Where the project was, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<PathBuf>,
    /// Maximum number of processors; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nproc: Option<u32>,
    /// The interposed time; `None` for the true one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// The order of directories; `None` for the file system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir_order: Option<DirectoryOrder>,
}

/// The options that change the guest view; `None` for the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct GuestOverrides {
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `--umask`.
    pub umask: Option<Umask>,
    /// `--nproc`.
    pub nproc: Option<u32>,
    /// `--home`.
    pub home: Option<String>,
    /// `--work`.
    pub work: Option<PathBuf>,
    /// `--clock`, `--dir-order`.
    pub interposed: Interposed,
}
