//! A requested package of an index.

use std::fmt;
use std::str::FromStr;

use crate::visible::shortened;

/// Longest name and longest version, in bytes.
const MAX: usize = 100;

/// A package in one version: `NAME==VERSION`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    name: String,
    version: String,
}

/// A text that names no package in one version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid package '{0}': expected NAME==VERSION, without ranges and wildcards")]
pub struct ParseRequirementError(String);

impl Requirement {
    /// The normalized name (PEP 503): lower case, with `-` for each run of `-`, `_` and `.`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version, as it was written.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether `version` is the same one. As in PEP 440, case does not matter, nor do zeros at the end of a release.
    #[must_use]
    pub(super) fn is_version(&self, version: &str) -> bool {
        comparable(&self.version) == comparable(version)
    }
}

/// A name in the form of PEP 503; `None` for what is no name (PEP 508).
pub(super) fn normalized(name: &str) -> Option<String> {
    let is_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let is_separator = |c: u8| matches!(c, b'-' | b'_' | b'.');
    let is_name = is_end(name.bytes().next())
        && is_end(name.bytes().last())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || is_separator(c));
    if !is_name || name.len() > MAX {
        return None;
    }
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    Some(parts.collect::<Vec<_>>().join("-").to_ascii_lowercase())
}

/// Whether `text` has the characters of a version (PEP 440).
pub(super) fn is_version(text: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'!' | b'+' | b'-' | b'_');
    text.len() <= MAX && text.bytes().next().is_some_and(|c| c.is_ascii_digit()) && text.bytes().all(is_plain)
}

fn comparable(version: &str) -> String {
    let version = version.to_ascii_lowercase();
    let is_release = version.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    let mut rest = version.as_str();
    while let (true, Some(shorter)) = (is_release, rest.strip_suffix(".0")) {
        rest = shorter;
    }
    rest.to_owned()
}

impl FromStr for Requirement {
    type Err = ParseRequirementError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseRequirementError(shortened(text, 2 * MAX));
        let (name, version) = text.split_once("==").ok_or_else(error)?;
        let name = normalized(name).ok_or_else(error)?;
        if is_version(version) { Ok(Self { name, version: version.to_owned() }) } else { Err(error()) }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=={}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalized_and_versions_kept() {
        for (text, want) in [
            ("ziglang==0.13.0", "ziglang==0.13.0"),
            ("Zope.Interface__x==1!2.0rc1+local.1", "zope-interface-x==1!2.0rc1+local.1"),
            ("a==0", "a==0"),
        ] {
            assert_eq!(text.parse::<Requirement>().unwrap().to_string(), want);
        }
    }

    #[test]
    fn ranges_and_other_texts_are_refused() {
        let long = format!("{}==1", "a".repeat(101));
        for text in [
            "",
            "ziglang",
            "ziglang==",
            "==1",
            "ziglang>=1",
            "ziglang==1.*",
            "ziglang===1",
            "ziglang==v1",
            "-a==1",
            "a-==1",
            "a b==1",
            "../a==1",
            "a==1/2",
            "a==1 ",
            "ä==1",
            &long,
        ] {
            assert!(text.parse::<Requirement>().is_err(), "{text}");
        }
    }

    #[test]
    fn zeros_at_the_end_of_a_release_do_not_matter() {
        let requirement: Requirement = "a==1.0".parse().unwrap();
        for same in ["1.0", "1", "1.0.0"] {
            assert!(requirement.is_version(same), "{same}");
        }
        for other in ["1.0.1", "10", "1.0rc1", "0"] {
            assert!(!requirement.is_version(other), "{other}");
        }
        let candidate: Requirement = "a==1.0RC1".parse().unwrap();
        assert!(candidate.is_version("1.0rc1") && !candidate.is_version("1rc1"));
    }
}
