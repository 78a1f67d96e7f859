//! Sources: `[source.NAME]` of `hermes.toml`, and of a toolchain.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;
use crate::lock::Source;
use crate::pypi::Requirement;

/// The scheme of packages in an index of Python packages.
const INDEX: &str = "pypi:";
/// Most files in the definition of a source, longest path and largest total size of them, in bytes.
const MAX_FILES: usize = 100;
const MAX_PATH: usize = 200;

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
    /// A wheel of the index that pip is configured with: `pypi:NAME==VERSION`.
    Package(Requirement),
    /// Files in the definition itself: text by relative path.
    Files(BTreeMap<String, String>),
}

impl Origin {
    /// The URL of the archive or repository; `None` for what has none.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Url(url) | Self::Git { url, .. } => Some(url),
            Self::Package(_) | Self::Files(_) => None,
        }
    }

    /// Its text in tables.
    #[must_use]
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Url(url) | Self::Git { url, .. } => url.clone(),
            Self::Package(requirement) => format!("{INDEX}{requirement}"),
            Self::Files(files) => {
                let s = if files.len() == 1 { "" } else { "s" };
                format!("{} file{s} of the definition", files.len())
            }
        }
    }
}

/// The keys of a source.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireSource {
    /// Only of a source of a toolchain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mount: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    git: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    mirrors: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    strip: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    patches: Vec<String>,
}

impl WireSource {
    pub(super) fn read(self) -> Result<SourceDefinition, String> {
        let Self { mount: _, url, git, commit, files, mirrors, sha256, strip, patches } = self;
        let origin = match (url, git, commit, files) {
            (Some(url), None, None, None) => match url.strip_prefix(INDEX) {
                Some(package) => Origin::Package(package.parse::<Requirement>().map_err(|error| error.to_string())?),
                None => Origin::Url(url),
            },
            (None, Some(url), Some(commit), None) if Source::is_commit(&commit) => Origin::Git { url, commit },
            (None, Some(_), Some(_), None) => {
                return Err("commit must be a full id: 40 or 64 hexadecimal digits".to_owned());
            }
            (None, None, None, Some(files)) => Origin::Files(files),
            _ => return Err("a source has either url, or git and commit".to_owned()),
        };
        if let Origin::Files(files) = &origin {
            if !mirrors.is_empty() || sha256.is_some() || strip.is_some() || !(1..=MAX_FILES).contains(&files.len()) {
                return Err(format!("files: expected 1 to {MAX_FILES} files, without mirrors, sha256 and strip"));
            }
            if let Some(path) = files.keys().find(|path| !is_path(path)) {
                return Err(format!("files: '{}' is not a plain relative path", path.escape_default()));
            }
        }
        // A password in the URL would be written to the lock.
        if let Some(url) = origin.url() {
            let authority = url.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or(rest));
            let ssh = url.starts_with("ssh://");
            if !url.bytes().all(|c| c.is_ascii_graphic()) || (authority.contains('@') && !ssh) {
                return Err("the URL of a source must not contain blanks, user or password".to_owned());
            }
        }
        let sha256 = sha256.map(|hex| Digest::from_hex(hex.strip_prefix("sha256:").unwrap_or(&hex)));
        let sha256 = sha256.transpose().map_err(|_| "sha256 must be 64 lower-case hexadecimal digits".to_owned())?;
        if strip.is_some_and(|strip| strip > 64) {
            return Err("strip must be at most 64".to_owned());
        }
        Ok(SourceDefinition { origin, mirrors, sha256, strip, patches })
    }

    pub(super) fn of(definition: &SourceDefinition) -> Self {
        let SourceDefinition { origin, mirrors, sha256, strip, patches } = definition.clone();
        let wire = match origin {
            Origin::Url(url) => Self { url: Some(url), ..Self::default() },
            Origin::Git { url, commit } => Self { git: Some(url), commit: Some(commit), ..Self::default() },
            Origin::Package(requirement) => Self { url: Some(format!("{INDEX}{requirement}")), ..Self::default() },
            Origin::Files(files) => Self { files: Some(files), ..Self::default() },
        };
        Self { mirrors, sha256: sha256.map(|digest| digest.hex()), strip, patches, ..wire }
    }
}

/// Whether `path` is relative and plain, without `.` and `..`.
fn is_path(path: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b'+');
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(is_plain);
    path.len() <= MAX_PATH && path.split('/').all(is_part)
}

/// A source of a project.
impl<'de> Deserialize<'de> for SourceDefinition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = WireSource::deserialize(deserializer)?;
        if wire.mount.is_some() {
            return Err(D::Error::custom(
                "a source of a project is mounted at /sources/NAME, so that it has no 'mount'",
            ));
        }
        let definition = wire.read().map_err(D::Error::custom)?;
        match definition.origin {
            Origin::Package(_) => Err(D::Error::custom("only sources of toolchains can be packages of an index")),
            Origin::Files(_) => Err(D::Error::custom("only sources of toolchains can have 'files'")),
            Origin::Url(_) | Origin::Git { .. } => Ok(definition),
        }
    }
}

impl Serialize for SourceDefinition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WireSource::of(self).serialize(serializer)
    }
}
