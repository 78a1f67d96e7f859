//! Which packages an image has, by the databases of its package managers: dpkg's and apk's, which are text,
//! and rpm's, in the three forms it has had (`docs/packages.md`).
//!
//! The files are read as they lie in the layers; nothing of the image is run. All that is in them is
//! hostile: a database that is not as it should be is told of, and never taken for an empty one.

mod apk;
mod diff;
mod dpkg;
mod inventory;
mod license;
mod owner;
mod purl;
mod rpm;
mod stanza;

pub(crate) use diff::PackageChanges;
pub use inventory::Inventory;
pub(crate) use inventory::{Distribution, Unread};
pub(crate) use license::is_spdx;
pub(crate) use owner::Owners;
pub(crate) use purl::escaped;

use std::fmt;

use serde::Serialize;

/// Most packages taken out of one database.
const MAX_PACKAGES: usize = 200_000;
/// Longest name, version or architecture, in bytes.
const MAX_WORD: usize = 255;
/// Longest licence, in bytes.
const MAX_LINE: usize = 4096;

/// Whose package it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// dpkg's.
    Deb,
    /// apk's.
    Apk,
    /// rpm's.
    Rpm,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Deb => "deb",
            Self::Apk => "apk",
            Self::Rpm => "rpm",
        })
    }
}

/// An installed package. Names, versions and architectures are printable ASCII without spaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Package {
    /// Whose it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its architecture, as its package manager calls it.
    pub architecture: String,
    /// Its version, with the epoch (`1:`) if it has one, and the release.
    pub version: String,
    /// What it was built from, where the database says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Its licence, where the database has it: of rpm and apk, in their own spelling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
}

/// A source package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What is wrong with a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}, at {unit} {at}")]
struct Malformed {
    why: &'static str,
    /// line, byte, page, …
    unit: &'static str,
    at: usize,
}

impl Malformed {
    fn line(at: usize, why: &'static str) -> Self {
        Self { why, unit: "line", at }
    }
}

/// `bytes` as a name, version or architecture.
fn word(bytes: &[u8]) -> Option<String> {
    let fits = (1..=MAX_WORD).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    fits.then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// `bytes` as a text of one line, without anything that a terminal would obey.
fn line(bytes: &[u8]) -> Option<String> {
    let text = str::from_utf8(bytes).ok().map(str::trim)?;
    ((1..=MAX_LINE).contains(&text.len()) && !text.contains(char::is_control)).then(|| text.to_owned())
}
