//! The tables of images, emulators and roots in a lock file, and those that this hermes keeps without using them.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::dpkg::Request;
use crate::lock::root::is_web;
use crate::lock::source::{SourceName, WireSource};
use crate::oci::WirePlatform;
use crate::platform::Platform;
use crate::reference::Reference;

/// Longest text of a platform, in bytes.
const MAX_PLATFORM: usize = 100;
/// Longest text in the tables of packages, in bytes.
const MAX_TEXT: usize = 2000;

/// Entries for platforms that this hermes does not know. A hermes that knows them wrote them, or will; this one writes them again
/// as they are, and does nothing else with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnknownPlatforms {
    /// By reference and requested platform.
    pub(super) images: BTreeMap<(Reference, String), WireImage>,
    pub(super) emulators: BTreeMap<String, WireEmulator>,
    /// By toolchain and target platform.
    pub(super) roots: BTreeMap<(String, String), WireRoot>,
    /// Native tools, in the same way.
    pub(super) natives: BTreeMap<(String, String), WireRoot>,
    /// Sources by toolchain and target platform.
    pub(super) toolchain_sources: BTreeMap<(String, String), BTreeMap<SourceName, WireSource>>,
}

impl UnknownPlatforms {
    /// The platforms that have entries, sorted, each once.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.images.keys().map(|(_, platform)| platform.as_str()).collect();
        names.extend(self.emulators.keys().map(String::as_str));
        names.extend(self.roots.keys().chain(self.natives.keys()).map(|(_, platform)| platform.as_str()));
        names.extend(self.toolchain_sources.keys().map(|(_, platform)| platform.as_str()));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether packages are from this archive of the lock.
    pub(super) fn uses_archive(&self, name: &str) -> bool {
        let roots = self.roots.values().chain(self.natives.values()).map(|root| &root.archives);
        let emulators = self.emulators.values().map(|emulator| &emulator.archives);
        roots.chain(emulators).any(|archives| archives.iter().any(|archive| archive == name))
    }

    /// Removes the images with this reference.
    pub(crate) fn remove(&mut self, reference: &Reference) {
        self.images.retain(|(name, _), _| name != reference);
    }

    /// Whether there is an image with this reference.
    pub(crate) fn has(&self, reference: &Reference) -> bool {
        self.images.keys().any(|(name, _)| name == reference)
    }
}

/// A platform as it stands in a lock file. The order is that of the texts, so that every hermes writes the same bytes, whichever
/// platforms it knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum AnyPlatform {
    Known(Platform),
    /// OCI's text of another one, `linux/ARCHITECTURE` or `linux/ARCHITECTURE/VARIANT`.
    Unknown(String),
}

impl AnyPlatform {
    fn oci(&self) -> &str {
        match self {
            Self::Known(platform) => platform.oci(),
            Self::Unknown(text) => text,
        }
    }

    /// The name in options, else the text in the file.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Known(platform) => platform.name(),
            Self::Unknown(text) => text,
        }
    }
}

impl Ord for AnyPlatform {
    fn cmp(&self, other: &Self) -> Ordering {
        self.oci().cmp(other.oci())
    }
}

impl PartialOrd for AnyPlatform {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<'de> Deserialize<'de> for AnyPlatform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let error = match text.parse() {
            Ok(platform) => return Ok(Self::Known(platform)),
            Err(error) => error,
        };
        let is_word = |word: &str| {
            let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'-' | b'.');
            !word.is_empty() && word.bytes().all(is_plain)
        };
        let words = text.strip_prefix("linux/").map(|rest| rest.split('/'));
        let is_platform = words.is_some_and(|mut words| words.clone().count() <= 2 && words.all(is_word));
        if is_platform && text.len() <= MAX_PLATFORM { Ok(Self::Unknown(text)) } else { Err(D::Error::custom(error)) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WireImage {
    pub(super) platform: AnyPlatform,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "label")]
    pub(super) label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) chain_id: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tree: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<WireBlob>,
    pub(super) manifest: WireBlob,
    pub(super) config: WireBlob,
    #[serde(default)]
    pub(super) layer: Vec<WireLayer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WireBlob {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) media_type: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WireLayer {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) media_type: String,
    pub(super) diff_id: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireEmulator {
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "version")]
    pub(super) version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    /// Names of the archives that have the package.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) archives: Vec<String>,
    /// The line of the package, see [`Deb`](crate::lock::Deb).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deb: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WireRoot {
    pub(super) platform: AnyPlatform,
    pub(super) request: Vec<Request>,
    pub(super) archives: Vec<String>,
    pub(super) components: Vec<String>,
    pub(super) composer: u32,
    pub(super) epoch: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "address")]
    pub(super) apt_sources: Option<String>,
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub(super) scripts: bool,
    /// Of native tools: the chain id of the image that they are for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) image_chain_id: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) chain_id: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tree: Option<Digest>,
    /// Lines of packages, see [`Deb`](crate::lock::Deb).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) base: Vec<String>,
    pub(super) deb: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) manifest: Option<WireBlob>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) config: Option<WireBlob>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) layer: Vec<WireLayer>,
}

const fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_yes(value: &bool) -> bool {
    *value
}

fn is_text(text: &str) -> bool {
    (1..=MAX_TEXT).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic())
}

pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if is_text(&text) { Ok(text) } else { Err(D::Error::custom("expected a word of printable characters")) }
}

/// The address of an archive, never a directory: hermes reads no file of the host because a lock names it.
pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if is_web(&text) { Ok(Some(text)) } else { Err(D::Error::custom("expected an address with https or http")) }
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if is_version(&text) { Ok(Some(text)) } else { Err(D::Error::custom("expected the version of an emulator")) }
}

fn label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_plain = text.len() <= 100 && text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_label = is_plain && text.parse::<WirePlatform>().is_ok();
    if is_label { Ok(Some(text)) } else { Err(D::Error::custom("expected the platform label of an image")) }
}

/// Whether `text` is a valid version of an emulator: short and printable.
pub(super) fn is_version(text: &str) -> bool {
    (1..=100).contains(&text.len()) && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}
