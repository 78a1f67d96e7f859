//! Refused requests.

use crate::debian::index::Field;
use crate::dpkg::{PackageName, ParseRelationError, Version};
use crate::hint::{ErrorKind, Hint};

/// Most names of a chain that are shown.
const MAX_SHOWN: usize = 12;

/// Why a request has no solution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SolveError {
    /// No package has or provides the name.
    #[error("the archive has no package {0}")]
    UnknownPackage(PackageName),
    /// The package has other versions.
    #[error("the archive has no version {version} of package {name}, but {}", listed(.available))]
    UnknownVersion { name: PackageName, version: Version, available: Vec<Version> },
    /// Two versions of one package are requested.
    #[error("package {name} is requested in the versions {} and {}", .versions[0], .versions[1])]
    TwoVersions { name: PackageName, versions: [Version; 2] },
    /// A requested package cannot be installed with the packages before it.
    #[error("cannot install {name}: {}", .reasons.join("; "))]
    Excluded {
        name: PackageName,
        /// Of the package, or of each that provides it.
        reasons: Vec<String>,
    },
    /// A dependency has no alternative that can be installed.
    #[error("cannot meet dependency '{dependency}' of package {}: {}", chained(.chain), .reasons.join("; "))]
    Unmet {
        /// The requested package, the one that it depends on, and so on, to the one whose dependency it is.
        chain: Vec<PackageName>,
        dependency: String,
        /// Of each alternative.
        reasons: Vec<String>,
    },
    /// A package's relations are malformed.
    #[error("invalid field {} of package {package}", .field.name())]
    Malformed { package: PackageName, field: Field, source: ParseRelationError },
    /// More work than any request to a real archive needs.
    #[error("the relations of the requested packages are too complex")]
    TooComplex,
}

impl Hint for SolveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed { .. } | Self::TooComplex => ErrorKind::Integrity,
            _ => ErrorKind::Usage,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Unmet { .. } => {
                vec!["request one of the alternatives by name, or another version (NAME=VERSION)".into()]
            }
            _ => Vec::new(),
        }
    }
}

fn listed(versions: &[Version]) -> String {
    versions.iter().map(Version::as_str).collect::<Vec<_>>().join(", ")
}

/// `b (a → b)`: a package, and the chain from the request to it, without the middle of a long one. Of a requested package it
/// is the name alone.
pub(super) fn chained(chain: &[PackageName]) -> String {
    let mut names: Vec<_> = chain.iter().map(PackageName::as_str).collect();
    let last = names.last().copied().unwrap_or_default();
    if names.len() < 2 {
        return last.to_owned();
    }
    if names.len() > MAX_SHOWN {
        names.splice(MAX_SHOWN / 2..names.len() - MAX_SHOWN / 2, ["…"]);
    }
    format!("{last} ({})", names.join(" → "))
}
