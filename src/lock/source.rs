//! Sources in a lock.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::oci::Descriptor;
use crate::platform::Platform;
use crate::pypi::{Requirement, is_file_name};
use crate::visible::is_hidden;

/// A source of a toolchain: its toolchain, target platform and name.
pub(crate) type ToolchainSourceKey = (String, Platform, String);

/// A source of the project, or of a toolchain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// URL of the archive or git repository; `None` for a path of one host, for a package of an index and for files in the
    /// definition of a toolchain.
    pub url: Option<String>,
    /// The git commit, if it is from git.
    pub commit: Option<String>,
    /// The file of an index of Python packages, if it is one.
    pub package: Option<Package>,
    /// Digest of the archive.
    pub digest: Digest,
    /// Size of the archive in bytes.
    pub size: u64,
    /// Number of leading path components to strip.
    pub strip: u32,
    /// Digests of the patches, in order.
    pub patches: Vec<Digest>,
}

/// A package of an index. The lock names no index: any with the same bytes will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Name and version.
    pub requirement: Requirement,
    /// Name of the file, valid by [`is_file_name`]; `None` if the project gave the digest.
    pub file: Option<String>,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireSource {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    git: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "commit")]
    commit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
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
        let Source { url, commit, package, digest, size, strip, patches } = source.clone();
        let (url, git) = if commit.is_some() { (None, url) } else { (url, None) };
        let name = package.as_ref().map(|package| package.requirement.name().to_owned());
        let version = package.as_ref().map(|package| package.requirement.version().to_owned());
        let file = package.and_then(|package| package.file);
        Self { url, git, commit, name, version, file, digest, size, strip, patches }
    }

    /// The source; `None` for keys that do not fit one another.
    pub(super) fn read(self) -> Option<Source> {
        let Self { url, git, commit, name, version, file, digest, size, strip, patches } = self;
        let package = match (name, version) {
            (None, None) if file.is_none() => None,
            (Some(name), Some(version)) if url.is_none() && git.is_none() && commit.is_none() => {
                let requirement = format!("{name}=={version}").parse().ok()?;
                if !file.as_deref().is_none_or(is_file_name) {
                    return None;
                }
                Some(Package { requirement, file })
            }
            _ => return None,
        };
        let url = if commit.is_some() { git } else { url };
        Some(Source { url, commit, package, digest, size, strip, patches })
    }
}

/// A valid name of a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(super) struct SourceName(pub(super) String);

impl<'de> Deserialize<'de> for SourceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if Source::is_name(&text) { Ok(Self(text)) } else { Err(D::Error::custom("expected the name of a source")) }
    }
}

/// A name of a toolchain with sources: whatever a project calls it.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(super) struct AnyToolchainName(pub(super) String);

impl<'de> Deserialize<'de> for AnyToolchainName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_name = (1..=1000).contains(&text.len()) && !text.contains(is_hidden);
        if is_name { Ok(Self(text)) } else { Err(D::Error::custom("expected the name of a toolchain")) }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::lock::{Lock, parse, render};

    #[test]
    fn keys_tell_sources_apart() {
        let digest = Digest::of(b"archive");
        let source = Source { url: None, commit: None, package: None, digest, size: 7, strip: 1, patches: vec![] };
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
    fn packages_and_sources_of_toolchains_take_version_4() {
        let path = Path::new("hermes.lock");
        let source = Source {
            url: None,
            commit: None,
            package: None,
            digest: Digest::of(b"x"),
            size: 7,
            strip: 0,
            patches: vec![],
        };
        let requirement = "ziglang==0.13.0".parse().unwrap();
        let file = Some("ziglang-0.13.0-py3-none-any.whl".to_owned());
        let wheel = Source { package: Some(Package { requirement, file }), ..source.clone() };
        let mut lock = Lock::default();
        lock.sources.insert("lua".into(), source.clone());
        assert!(render(&lock).contains("\nversion = 2\n"));
        let of_zig = |platform, name: &str| ("zig".to_owned(), platform, name.to_owned());
        lock.toolchain_sources.insert(of_zig(Platform::ArmV6, "ziglang"), wheel.clone());
        lock.toolchain_sources.insert(of_zig(Platform::ArmV6, "wrappers"), source);
        lock.toolchain_sources.insert(of_zig(Platform::Arm64, "ziglang"), wheel.clone());
        let text = render(&lock);
        insta::assert_snapshot!(text);
        assert_eq!(parse(&text, path).unwrap(), lock);
        let other = text.replace("linux/arm64", "linux/vax");
        let kept = parse(&other, path).unwrap();
        assert_eq!((kept.toolchain_sources.len(), kept.unknown.names()), (2, vec!["linux/vax"]));
        assert_eq!(render(&kept), other);
        for (from, to) in [
            ("name = \"ziglang\"\n", ""),
            ("version = \"0.13.0\"", "version = \"*\""),
            ("file = \"zig", "file = \"../zig"),
            ("name = \"ziglang\"", "name = \"ziglang\"\nurl = \"https://host/x\""),
            ("[toolchain.zig.", "[toolchain.\"z\\u001b\"."),
            ("[toolchain.zig.\"linux/arm64\".ziglang]", "[toolchain.zig.\"linux/arm64\".\"../x\"]"),
        ] {
            let bad = text.replace(from, to);
            assert_ne!(bad, text, "{from}");
            assert!(parse(&bad, path).is_err(), "{from} -> {to}");
        }
        let names: Vec<_> = lock.all_sources().map(|(name, _)| name).collect();
        let of = |name: &str, platform: &str| format!("{name} of zig for {platform}");
        let all =
            ["lua".into(), of("wrappers", "linux-armv6"), of("ziglang", "linux-armv6"), of("ziglang", "linux-aarch64")];
        assert_eq!(names, all);
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
