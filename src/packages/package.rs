//! Packages, and the words in their databases.

use std::fmt;

use serde::Serialize;

use crate::dpkg::ParseParagraphError;

/// Most packages taken out of one database.
pub(super) const MAX_PACKAGES: usize = 200_000;
/// Longest name, version or architecture, in bytes.
const MAX_WORD: usize = 255;
/// Longest licence, in bytes.
const MAX_LINE: usize = 4096;

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Deb,
    Apk,
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
    /// Its package manager.
    pub kind: Kind,
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
    pub name: String,
    pub version: String,
}

/// What is wrong with a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}, at {unit} {at}")]
pub struct Malformed {
    pub(super) why: &'static str,
    /// line, byte, page, …
    pub(super) unit: &'static str,
    pub(super) at: usize,
}

impl From<ParseParagraphError> for Malformed {
    fn from(error: ParseParagraphError) -> Self {
        Self { why: error.why, unit: "line", at: error.line }
    }
}

/// `bytes` as a name, version or architecture.
pub(super) fn word(bytes: &[u8]) -> Option<String> {
    let fits = (1..=MAX_WORD).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    fits.then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// `bytes` as a text of one line, without anything that a terminal would obey.
pub(super) fn line(bytes: &[u8]) -> Option<String> {
    let text = str::from_utf8(bytes).ok().map(str::trim)?;
    ((1..=MAX_LINE).contains(&text.len()) && !text.contains(char::is_control)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_malformed_database() {
        let cut = Malformed { why: "it ends early", unit: "byte", at: 512 };
        let texts = [Malformed { why: "a field occurs twice", unit: "line", at: 7 }, cut]
            .map(|malformed| malformed.to_string());
        insta::assert_snapshot!("Malformed", texts.join("\n"));
    }
}
