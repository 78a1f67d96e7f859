//! Sources in a lock.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::oci::Descriptor;

/// A source of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// URL of the archive or git repository; `None` for a path of one host.
    pub url: Option<String>,
    /// The git commit, if it is from git.
    pub commit: Option<String>,
    /// Digest of the archive.
    pub digest: Digest,
    /// Size of the archive in bytes.
    pub size: u64,
    /// Number of leading path components to strip.
    pub strip: u32,
    /// Digests of the patches, in order.
    pub patches: Vec<Digest>,
}

impl Source {
    /// Media type of the archive as a blob. The format is determined from its first bytes.
    pub const MEDIA_TYPE: &str = "application/octet-stream";

    /// The blob that the archive is stored as.
    #[must_use]
    pub fn blob(&self) -> Descriptor {
        Descriptor::new(Self::MEDIA_TYPE, self.digest, self.size)
    }

    /// Identifies the unpacked tree: the digest of everything that determines its content.
    #[must_use]
    pub fn key(&self) -> Digest {
        let head = format!("source 1\n{}\nstrip {}\n", self.digest, self.strip);
        Digest::of(self.patches.iter().fold(head, |text, patch| text + "patch " + &patch.hex() + "\n").as_bytes())
    }

    /// Whether `text` is a valid name of a source, which is also the name of a directory.
    #[must_use]
    pub fn is_name(text: &str) -> bool {
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b'+');
        (1..=100).contains(&text.len()) && !text.starts_with(['.', '-']) && text.bytes().all(plain)
    }

    /// Whether `text` is a full commit id: 40 or 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn is_commit(text: &str) -> bool {
        matches!(text.len(), 40 | 64) && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    }
}

/// A source in the lock file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireSource {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    git: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "commit")]
    commit: Option<String>,
    digest: Digest,
    size: u64,
    strip: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    patches: Vec<Digest>,
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let fits = text.len() <= 2000 && text.bytes().all(|c| c.is_ascii_graphic());
    if fits { Ok(Some(text)) } else { Err(D::Error::custom("not a URL")) }
}

fn commit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if Source::is_commit(&text) { Ok(Some(text)) } else { Err(D::Error::custom("expected the full id of a commit")) }
}

impl WireSource {
    pub(super) fn of(source: &Source) -> Self {
        let Source { url, commit, digest, size, strip, patches } = source.clone();
        let (url, git) = if commit.is_some() { (None, url) } else { (url, None) };
        Self { url, git, commit, digest, size, strip, patches }
    }

    pub(super) fn read(self) -> Source {
        let Self { url, git, commit, digest, size, strip, patches } = self;
        Source { url: if commit.is_some() { git } else { url }, commit, digest, size, strip, patches }
    }
}

/// A valid name of a source.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(super) struct SourceName(pub(super) String);

impl<'de> Deserialize<'de> for SourceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if Source::is_name(&text) { Ok(Self(text)) } else { Err(D::Error::custom("expected the name of a source")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_sources_apart() {
        let digest = Digest::of(b"archive");
        let source = Source { url: None, commit: None, digest, size: 7, strip: 1, patches: vec![] };
        let moved = Source { url: Some("https://elsewhere/x".into()), ..source.clone() };
        assert_eq!(source.key(), moved.key());
        let [one, two] = [b"1", b"2"].map(|text| Digest::of(text));
        let all = [
            source.clone(),
            Source { strip: 0, ..source.clone() },
            Source { digest: one, ..source.clone() },
            Source { patches: vec![one], ..source.clone() },
            Source { patches: vec![one, two], ..source.clone() },
            Source { patches: vec![two, one], ..source },
        ];
        let mut keys: Vec<_> = all.iter().map(Source::key).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all.len());
    }

    #[test]
    fn names_and_commits() {
        for good in ["lua", "lua-5.4", "gtk+", "a_b"] {
            assert!(Source::is_name(good), "{good}");
        }
        for bad in ["", ".", "..", ".x", "-x", "a/b", "a b", "ä", "a\n", &"x".repeat(101)] {
            assert!(!Source::is_name(bad), "{bad:?}");
        }
        assert!(Source::is_commit(&"a1".repeat(20)) && Source::is_commit(&"0".repeat(64)));
        for bad in ["a1", &"A1".repeat(20), &"g1".repeat(20), &"a".repeat(41), "HEAD"] {
            assert!(!Source::is_commit(bad), "{bad}");
        }
    }
}
