//! `[source.NAME]` of `hermes.toml`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::digest::Digest;
use crate::lock::Source;

/// The definition of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceDefinition {
    /// Its location.
    pub origin: Origin,
    /// Mirrors, tried in this order if the origin fails: `oci://registry/repository`, `https://…/`, a directory.
    pub mirrors: Vec<String>,
    /// Required digest.
    pub sha256: Option<Digest>,
    /// Number of leading path components to strip; by default it depends on the archive.
    pub strip: Option<u32>,
    /// Patches: paths relative to the project.
    pub patches: Vec<String>,
}

/// The origin of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// An archive.
    Url(String),
    /// A commit of a git repository.
    Git {
        url: String,
        /// Full commit id.
        commit: String,
    },
}

impl Origin {
    /// The URL of the archive or repository.
    #[must_use]
    pub fn url(&self) -> &str {
        match self {
            Self::Url(url) | Self::Git { url, .. } => url,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    url: Option<String>,
    git: Option<String>,
    commit: Option<String>,
    #[serde(default)]
    mirrors: Vec<String>,
    sha256: Option<String>,
    strip: Option<u32>,
    #[serde(default)]
    patches: Vec<String>,
}

impl<'de> Deserialize<'de> for SourceDefinition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let wrong = |why: &str| Err(D::Error::custom(why));
        let origin = match (wire.url, wire.git, wire.commit) {
            (Some(url), None, None) => Origin::Url(url),
            (None, Some(url), Some(commit)) if Source::is_commit(&commit) => Origin::Git { url, commit },
            (None, Some(_), Some(_)) => return wrong("commit must be a full id: 40 or 64 hexadecimal digits"),
            _ => return wrong("a source has either url, or git and commit"),
        };
        // A password in the URL would be written to the lock.
        let authority = origin.url().split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or(rest));
        let ssh = origin.url().starts_with("ssh://");
        if !origin.url().bytes().all(|c| c.is_ascii_graphic()) || (authority.contains('@') && !ssh) {
            return wrong("the URL of a source must not contain blanks, user or password");
        }
        let sha256 = wire.sha256.map(|hex| Digest::from_hex(hex.strip_prefix("sha256:").unwrap_or(&hex)));
        let sha256 =
            sha256.transpose().map_err(|_| D::Error::custom("sha256 must be 64 lower-case hexadecimal digits"))?;
        if wire.strip.is_some_and(|strip| strip > 64) {
            return wrong("strip must be at most 64");
        }
        Ok(Self { origin, mirrors: wire.mirrors, sha256, strip: wire.strip, patches: wire.patches })
    }
}
