//! `[source.NAME]` of `hermes.toml`: what a project is built from.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::digest::Digest;
use crate::lock::Source;

/// A source as the user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceDefinition {
    /// Where it is found.
    pub origin: Origin,
    /// Where the archive is found too, asked in this order once the origin has failed: `oci://registry/repository`, `https://…/`, a
    /// directory.
    pub mirrors: Vec<String>,
    /// The digest it must have.
    pub sha256: Option<Digest>,
    /// Leading path components left out; `None` for what the archive suggests.
    pub strip: Option<u32>,
    /// Files of the project, from its directory.
    pub patches: Vec<String>,
}

/// Where a source is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// An archive.
    Url(String),
    /// A commit of a git repository.
    Git {
        /// The repository.
        url: String,
        /// The commit's full id.
        commit: String,
    },
}

impl Origin {
    /// The URL of either.
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
        // A password there would end up in the lock.
        let authority = origin.url().split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or(rest));
        let ssh = origin.url().starts_with("ssh://");
        if !origin.url().bytes().all(|c| c.is_ascii_graphic()) || (authority.contains('@') && !ssh) {
            return wrong("the URL of a source has no blanks, user or password in it");
        }
        let sha256 = wire.sha256.map(|hex| Digest::from_hex(hex.strip_prefix("sha256:").unwrap_or(&hex)));
        let sha256 =
            sha256.transpose().map_err(|_| D::Error::custom("sha256 must be 64 lower-case hexadecimal digits"))?;
        if wire.strip.is_some_and(|strip| strip > 64) {
            return wrong("strip is more than any path has");
        }
        Ok(Self { origin, mirrors: wire.mirrors, sha256, strip: wire.strip, patches: wire.patches })
    }
}
