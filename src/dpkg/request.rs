//! Packages that a user requests.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::dpkg::{PackageName, Version};
use crate::hint::{ErrorKind, Hint};
use crate::visible::shortened;

/// A package that a user wants or does not want, written as for apt-get(8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Request {
    /// `name`, `name=version`
    Install {
        /// A package, or what one provides.
        name: PackageName,
        /// The one version that fits.
        version: Option<Version>,
    },
    /// `name-`: the package must not be installed.
    Avoid(PackageName),
}

/// A text that requests no package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid package request '{0}'")]
pub struct ParseRequestError(String);

impl Hint for ParseRequestError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }

    fn hints(&self) -> Vec<String> {
        vec!["write NAME for a package, NAME=VERSION for one version of it, NAME- to keep it out".into()]
    }
}

impl Request {
    /// The name that is requested or avoided.
    #[must_use]
    pub fn name(&self) -> &PackageName {
        match self {
            Self::Install { name, .. } | Self::Avoid(name) => name,
        }
    }
}

impl FromStr for Request {
    type Err = ParseRequestError;

    fn from_str(text: &str) -> Result<Self, ParseRequestError> {
        let fail = || ParseRequestError(shortened(text, 100));
        if let Some((name, version)) = text.split_once('=') {
            let version = version.parse().map_err(|_| fail())?;
            return Ok(Self::Install { name: name.parse().map_err(|_| fail())?, version: Some(version) });
        }
        match text.strip_suffix('-') {
            Some(name) => name.parse().map(Self::Avoid),
            None => text.parse().map(|name| Self::Install { name, version: None }),
        }
        .map_err(|_| fail())
    }
}

impl TryFrom<String> for Request {
    type Error = ParseRequestError;

    fn try_from(text: String) -> Result<Self, ParseRequestError> {
        text.parse()
    }
}

impl From<Request> for String {
    fn from(request: Request) -> Self {
        request.to_string()
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Install { name, version: None } => write!(f, "{name}"),
            Self::Install { name, version: Some(version) } => write!(f, "{name}={version}"),
            Self::Avoid(name) => write!(f, "{name}-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_keep_their_text() {
        for text in ["gcc", "g++", "cmake=3.25.1-1", "gcc=4:12.2.0-3", "usrmerge-"] {
            let request: Request = text.parse().unwrap();
            assert_eq!(request.to_string(), text);
            assert_eq!(matches!(request, Request::Avoid(_)), text.ends_with('-'));
        }
        assert_eq!("gcc=4:12".parse::<Request>().unwrap().name().as_str(), "gcc");
    }

    #[test]
    fn other_requests_are_refused() {
        for bad in [
            "",
            "-",
            "a-",
            "gcc=",
            "=1",
            "gcc=1=2",
            "gcc =1",
            "gcc:arm64",
            "gcc/stable",
            "GCC",
            "--yes",
            "gcc=1-",
            "gcc ",
        ] {
            assert!(bad.parse::<Request>().is_err(), "accepted {bad:?}");
        }
    }
}
