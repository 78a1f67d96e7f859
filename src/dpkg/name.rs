//! Names of packages (Debian policy, §5.6.1).

use std::fmt;
use std::str::FromStr;

use crate::hint::{ErrorKind, Hint};
use crate::visible::shortened;

/// Longest name, in bytes. The longest in Debian 12 has 75; file names of dpkg's database contain the name.
const MAX_LENGTH: usize = 200;

/// The name of a package, real or virtual: at least two of `a`–`z`, `0`–`9`, `+`, `-` and `.`, the first a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName(Box<str>);

/// A text that is not the name of a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid package name '{0}'")]
pub struct ParsePackageNameError(String);

impl Hint for ParsePackageNameError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }

    fn hints(&self) -> Vec<String> {
        vec!["a package name has at least two lower-case letters, digits, '+', '-' and '.', and begins with a letter or digit".into()]
    }
}

impl PackageName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PackageName {
    type Err = ParsePackageNameError;

    fn from_str(text: &str) -> Result<Self, ParsePackageNameError> {
        let alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let is_name = (2..=MAX_LENGTH).contains(&text.len())
            && alphanumeric(text.as_bytes()[0])
            && text.bytes().all(|c| alphanumeric(c) || matches!(c, b'+' | b'-' | b'.'));
        if is_name { Ok(Self(text.into())) } else { Err(ParsePackageNameError(shortened(text, 100))) }
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl std::borrow::Borrow<str> for PackageName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_policy() {
        for good in ["gcc", "g++", "libc6", "0ad", "libstdc++-12-dev", "python3.11", "a-"] {
            assert_eq!(good.parse::<PackageName>().unwrap().as_str(), good);
        }
        for bad in
            ["", "a", "-a", "+a", ".a", "..", "A1", "a_b", "a b", "a/b", "ab:any", "ab\n", "äb", &"a".repeat(201)]
        {
            assert!(bad.parse::<PackageName>().is_err(), "accepted {bad:?}");
        }
    }
}
