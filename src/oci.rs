//! The JSON documents of an image, read from hostile bytes (OCI image spec: index, manifest,
//! config; and Docker's media types for the same things).
//!
//! Pulled documents are stored byte for byte. Unknown fields are ignored, as the specification requires. The types of
//! `oci-distribution` write the manifests that hermes creates; they are not strict enough for reading.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use oci_distribution::manifest::{self, OciDescriptor, OciImageManifest};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::hint::{ErrorKind, Hint};
use crate::platform::{ParsePlatformError, Platform, StatedPlatform};

/// Longest manifest or index accepted, in bytes (the distribution spec asks registries for 4 MiB).
pub const MAX_MANIFEST: u64 = 4 << 20;
/// Longest image config accepted, in bytes.
pub(crate) const MAX_CONFIG: u64 = 8 << 20;
/// Most layers of an image: many times the limits of other tools (overlayfs 500, Docker 127).
pub const MAX_LAYERS: usize = 2000;

/// Media type of an OCI index.
pub const INDEX: &str = manifest::OCI_IMAGE_INDEX_MEDIA_TYPE;
/// Media type of an OCI manifest.
pub const MANIFEST: &str = manifest::OCI_IMAGE_MEDIA_TYPE;
/// Docker's media type of an index.
pub const DOCKER_INDEX: &str = manifest::IMAGE_MANIFEST_LIST_MEDIA_TYPE;
/// Docker's media type of a manifest.
pub const DOCKER_MANIFEST: &str = manifest::IMAGE_MANIFEST_MEDIA_TYPE;
/// Media type of an image config.
pub(crate) const CONFIG: &str = manifest::IMAGE_CONFIG_MEDIA_TYPE;
/// Media type of a layer that is not compressed.
pub(crate) const LAYER: &str = manifest::IMAGE_LAYER_MEDIA_TYPE;
/// Media type of a layer compressed by gzip.
pub(crate) const LAYER_GZIP: &str = manifest::IMAGE_LAYER_GZIP_MEDIA_TYPE;
/// Media type of a layer compressed by zstd.
pub(crate) const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Media type and content of the config of an artifact without config (OCI image spec 1.1, "Guidance for an Empty
/// Descriptor").
pub(crate) const EMPTY: (&str, &[u8]) = ("application/vnd.oci.empty.v1+json", b"{}");

/// A descriptor: identifies a blob.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the blob.
    pub media_type: String,
    /// SHA-256 of the blob.
    pub digest: Digest,
    /// Size of the blob in bytes.
    pub size: u64,
    /// In an index: the platform of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<WirePlatform>,
    /// Annotations, such as `org.opencontainers.image.ref.name` in an image layout.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The `ChainID` of layers, lowest first (OCI image spec, config, "Layer `ChainID`").
#[must_use]
pub fn chain_id(diff_ids: &[Digest]) -> Option<Digest> {
    let (first, rest) = diff_ids.split_first()?;
    Some(rest.iter().fold(*first, |chain, diff_id| Digest::of(format!("{chain} {diff_id}").as_bytes())))
}

/// `platform` of an index entry, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WirePlatform {
    /// Such as `arm`; may be empty.
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    /// Such as `linux`; may be empty.
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    /// Such as `v6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Descriptor {
    /// A descriptor without platform or annotations.
    #[must_use]
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self { media_type: media_type.to_owned(), digest, size, platform: None, annotations: BTreeMap::new() }
    }

    /// The platform that it states.
    #[must_use]
    pub fn stated_platform(&self) -> StatedPlatform {
        self.platform.as_ref().map_or(StatedPlatform::Nothing, WirePlatform::stated_platform)
    }

    /// The platform that it states, if hermes knows it.
    #[must_use]
    pub fn known_platform(&self) -> Option<Platform> {
        self.stated_platform().known()
    }
}

impl WirePlatform {
    /// The platform that it means.
    #[must_use]
    pub fn stated_platform(&self) -> StatedPlatform {
        StatedPlatform::of(&self.os, &self.architecture, self.variant.as_deref())
    }

    /// Whether both mean the same platform.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let plain = |platform: &Self| {
            let variant = platform.variant.as_deref().unwrap_or_default();
            [&platform.os, &platform.architecture, variant].map(str::to_ascii_lowercase)
        };
        match (self.stated_platform(), other.stated_platform()) {
            (StatedPlatform::Other, StatedPlatform::Other) => plain(self) == plain(other),
            (ours, theirs) => ours == theirs,
        }
    }
}

/// `os/architecture[/variant]`.
impl fmt::Display for WirePlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// `os/architecture[/variant]`, or a platform in any other spelling.
impl FromStr for WirePlatform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, ParsePlatformError> {
        if let Ok(platform) = text.parse::<Platform>() {
            let (architecture, variant) = platform.architecture();
            let variant = variant.map(str::to_owned);
            return Ok(Self { os: "linux".into(), architecture: architecture.to_owned(), variant });
        }
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(os), Some(architecture), variant) if !os.is_empty() && !architecture.is_empty() => {
                Ok(Self { architecture, os, variant })
            }
            _ => Err(ParsePlatformError::new(text)),
        }
    }
}

/// A document that a reference names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// An index: manifests by platform.
    Index(Vec<Descriptor>),
    /// A manifest: one image.
    Manifest(Manifest),
}

/// A manifest: config and layers of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
}

impl Manifest {
    /// Serializes this manifest, with stable bytes. `artifact_type` is for artifacts other than images.
    ///
    /// # Errors
    /// A size larger than the specification allows (2^63 - 1).
    pub fn write(&self, artifact_type: Option<&str>) -> serde_json::Result<Vec<u8>> {
        let describe = |part: &Descriptor| {
            let size = i64::try_from(part.size).map_err(serde::ser::Error::custom)?;
            let (media_type, digest) = (part.media_type.clone(), part.digest.to_string());
            Ok(OciDescriptor { media_type, digest, size, ..OciDescriptor::default() })
        };
        serde_json::to_vec(&OciImageManifest {
            media_type: Some(MANIFEST.to_owned()),
            config: describe(&self.config)?,
            layers: self.layers.iter().map(describe).collect::<serde_json::Result<_>>()?,
            artifact_type: artifact_type.map(str::to_owned),
            ..OciImageManifest::default()
        })
    }
}

/// The parts of an image config that hermes uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// The platform of its programs.
    pub platform: StatedPlatform,
    /// `NAME=value`, in the image's order.
    pub env: Vec<String>,
    /// Start of the command line.
    pub entrypoint: Vec<String>,
    /// Default arguments after the entrypoint.
    pub cmd: Vec<String>,
    /// `user[:group]`, names or numbers; empty means root.
    pub user: String,
    /// Working directory of the command; empty means `/`.
    pub working_dir: String,
    /// `diff_id` of each layer, lowest first.
    pub diff_ids: Vec<Digest>,
}

/// An invalid document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON, or a field is missing or has the wrong type.
    #[error("invalid {what}")]
    Malformed { what: &'static str, source: serde_json::Error },
    /// Both an index and a manifest, or neither (CVE-2021-41190).
    #[error("ambiguous document: expected an image index or an image manifest: {0}")]
    Confused(&'static str),
    /// Docker's first manifest format, which does not identify layers by content.
    #[error("the image is in Docker's schema 1 format, which is obsolete")]
    Schema1,
    /// The config and the manifest disagree on the number of layers.
    #[error("the manifest has {layers} layers, but the image config has {diff_ids} diff_ids")]
    LayerCount {
        /// Layers of the manifest.
        layers: usize,
        /// `rootfs.diff_ids` of the config.
        diff_ids: usize,
    },
    /// Too many layers.
    #[error("the image has {0} layers, more than {MAX_LAYERS}")]
    TooManyLayers(usize),
    /// Not an image of a file system, but a Helm chart, an attestation, …
    #[error("not a container image: the manifest's layers have type '{0}'")]
    NotAnImage(String),
}

impl Hint for DocumentError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Integrity
    }
}

/// Deserializes `null`, which Go writes for an empty list or map, like a missing field.
pub(crate) fn or_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A list whose presence is significant.
#[derive(Default)]
enum List {
    #[default]
    Absent,
    Null,
    Of(Vec<Descriptor>),
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Of))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDocument {
    schema_version: u8,
    media_type: Option<String>,
    #[serde(default)]
    manifests: List,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: List,
    fs_layers: Option<IgnoredAny>,
}

impl Document {
    /// Parses an index or manifest. `content_type` is the sender's media type, if any.
    ///
    /// # Errors
    /// Malformed JSON; a document that is both or neither; a media type that contradicts the content; schema 1; more than
    /// [`MAX_LAYERS`] layers.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, DocumentError> {
        let malformed = |source| DocumentError::Malformed { what: "image manifest", source };
        let wire: WireDocument = serde_json::from_slice(bytes).map_err(malformed)?;
        if wire.schema_version == 1 || wire.fs_layers.is_some() {
            return Err(DocumentError::Schema1);
        }
        let says = |index: bool, kind: Option<&str>| match kind {
            Some(INDEX | DOCKER_INDEX) => index,
            Some(MANIFEST | DOCKER_MANIFEST) => !index,
            _ => true,
        };
        let agrees = |index| says(index, wire.media_type.as_deref()) && says(index, content_type);
        match (wire.manifests, wire.config, wire.layers) {
            // A list that is null is empty, and contradicts no other field.
            (List::Null, None, List::Absent) if agrees(true) => Ok(Self::Index(vec![])),
            (List::Of(manifests), None, List::Absent | List::Null) if agrees(true) => Ok(Self::Index(manifests)),
            (List::Absent | List::Null, Some(config), List::Null) if agrees(false) => {
                Ok(Self::Manifest(Manifest { config, layers: vec![] }))
            }
            (List::Absent | List::Null, Some(config), List::Of(layers)) if agrees(false) => {
                if layers.len() > MAX_LAYERS {
                    return Err(DocumentError::TooManyLayers(layers.len()));
                }
                Ok(Self::Manifest(Manifest { config, layers }))
            }
            (List::Null, None, List::Absent)
            | (List::Of(_), None, List::Absent | List::Null)
            | (List::Absent | List::Null, Some(_), List::Null | List::Of(_)) => {
                Err(DocumentError::Confused("its media type contradicts its content"))
            }
            (List::Of(_), _, _) => Err(DocumentError::Confused("it has both 'manifests' and 'config' or 'layers'")),
            _ => Err(DocumentError::Confused("it has neither 'manifests' nor 'config' and 'layers'")),
        }
    }
}

#[derive(Deserialize)]
struct WireConfig {
    #[serde(default, deserialize_with = "or_default")]
    architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    os: String,
    variant: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    config: WireRuntime,
    #[serde(default, deserialize_with = "or_default")]
    rootfs: WireRootfs,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct WireRuntime {
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
}

#[derive(Deserialize, Default)]
struct WireRootfs {
    #[serde(default, deserialize_with = "or_default")]
    diff_ids: Vec<Digest>,
}

impl ImageConfig {
    /// Parses the image config of `manifest`.
    ///
    /// # Errors
    /// Malformed JSON; a number of `diff_ids` that is not the number of layers.
    pub fn parse(bytes: &[u8], manifest: &Manifest) -> Result<Self, DocumentError> {
        if let Some(layer) = manifest.layers.iter().find(|layer| !is_layer(&layer.media_type)) {
            return Err(DocumentError::NotAnImage(layer.media_type.escape_default().to_string()));
        }
        let config = Self::parse_alone(bytes)?;
        if config.diff_ids.len() != manifest.layers.len() {
            return Err(DocumentError::LayerCount { layers: manifest.layers.len(), diff_ids: config.diff_ids.len() });
        }
        Ok(config)
    }

    /// Parses an image config that was compared with its manifest before.
    ///
    /// # Errors
    /// Malformed JSON.
    pub fn parse_alone(bytes: &[u8]) -> Result<Self, DocumentError> {
        let malformed = |source| DocumentError::Malformed { what: "image config", source };
        let wire: WireConfig = serde_json::from_slice(bytes).map_err(malformed)?;
        let runtime = wire.config;
        Ok(Self {
            platform: StatedPlatform::of(&wire.os, &wire.architecture, wire.variant.as_deref()),
            env: runtime.env.unwrap_or_default(),
            entrypoint: runtime.entrypoint.unwrap_or_default(),
            cmd: runtime.cmd.unwrap_or_default(),
            user: runtime.user.unwrap_or_default(),
            working_dir: runtime.working_dir.unwrap_or_default(),
            diff_ids: wire.rootfs.diff_ids,
        })
    }
}

/// Whether an entry of an index may be an image, not an attestation of `BuildKit` or another artifact.
#[must_use]
pub(crate) fn is_image(entry: &Descriptor) -> bool {
    [MANIFEST, DOCKER_MANIFEST].contains(&entry.media_type.as_str())
        && !entry.annotations.contains_key("vnd.docker.reference.type")
}

fn is_layer(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.")
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn layer(kind: &str) -> String {
        format!(r#"{{"mediaType":"{kind}","digest":"{D}","size":3}}"#)
    }

    #[test]
    fn chain_ids_are_those_of_the_specification() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|bytes| Digest::of(bytes));
        assert_eq!(chain_id(&[]), None);
        assert_eq!(chain_id(&[a]), Some(a));
        let ab = Digest::of(format!("{a} {b}").as_bytes());
        assert_eq!(chain_id(&[a, b]), Some(ab));
        assert_eq!(chain_id(&[a, b, c]), Some(Digest::of(format!("{ab} {c}").as_bytes())));
    }

    #[test]
    fn index_and_manifest_are_told_apart() {
        let tar = layer("application/vnd.oci.image.layer.v1.tar+gzip");
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{tar}]}}"#);
        let manifest = format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{tar},"layers":[{tar}]}}"#);
        assert!(matches!(Document::parse(index.as_bytes(), None), Ok(Document::Index(list)) if list.len() == 1));
        assert!(matches!(Document::parse(manifest.as_bytes(), Some(MANIFEST)), Ok(Document::Manifest(_))));
        assert!(matches!(Document::parse(manifest.as_bytes(), Some("text/plain")), Ok(Document::Manifest(_))));
    }

    #[test]
    fn confusion_is_refused() {
        let tar = layer("application/vnd.oci.image.layer.v1.tar");
        let both = format!(r#"{{"schemaVersion":2,"manifests":[],"config":{tar},"layers":[]}}"#);
        let neither = r#"{"schemaVersion":2}"#;
        let lying = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","config":{tar},"layers":[]}}"#);
        let twice = r#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#;
        let nulls = r#"{"schemaVersion":2,"manifests":null,"config":null,"layers":null}"#;
        for bad in [
            both.as_str(),
            neither,
            lying.as_str(),
            twice,
            nulls,
            r#"{"schemaVersion":1,"fsLayers":[]}"#,
            "[]",
            "",
            "{",
        ] {
            assert!(Document::parse(bad.as_bytes(), None).is_err(), "accepted {bad}");
        }
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(matches!(Document::parse(index.as_bytes(), Some(DOCKER_MANIFEST)), Err(DocumentError::Confused(_))));
        for bad in ["-1", "\"3\"", "1e30", "18446744073709551616"] {
            let text =
                format!(r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"x","digest":"{D}","size":{bad}}}]}}"#);
            assert!(Document::parse(text.as_bytes(), None).is_err(), "accepted size {bad}");
        }
    }

    /// Go writes null for empty lists and maps.
    #[test]
    fn null_stands_for_what_is_not_there() {
        let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":null,"annotations":null}}"#);
        assert_eq!(Document::parse(index.as_bytes(), None).unwrap(), Document::Index(vec![]));
        let entry = format!(
            r#"{{"mediaType":"{MANIFEST}","digest":"{D}","size":3,"annotations":null,"urls":null,"data":null,"platform":{{"architecture":null,"os":null,"variant":null,"os.features":null}}}}"#
        );
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{entry}],"config":null,"layers":null}}"#);
        let Document::Index(entries) = Document::parse(index.as_bytes(), Some(INDEX)).unwrap() else { panic!() };
        assert_eq!((entries[0].stated_platform(), entries[0].annotations.len()), (StatedPlatform::Nothing, 0));
        let config = layer("application/vnd.oci.image.config.v1+json");
        let text = format!(r#"{{"schemaVersion":2,"manifests":null,"config":{config},"layers":null,"subject":null}}"#);
        let Document::Manifest(manifest) = Document::parse(text.as_bytes(), Some(MANIFEST)).unwrap() else { panic!() };
        assert_eq!(manifest.layers, []);
        for text in [
            r#"{"architecture":null,"os":null,"variant":null,"config":null,"history":null,"rootfs":null}"#,
            r#"{"config":{"Env":null,"Entrypoint":null,"Cmd":null,"User":null,"WorkingDir":null,"Labels":null,"Volumes":null},"rootfs":{"type":"layers","diff_ids":null}}"#,
            "{}",
        ] {
            assert_eq!(ImageConfig::parse(text.as_bytes(), &manifest).unwrap(), ImageConfig::default(), "{text}");
        }
    }

    #[test]
    fn what_hermes_writes_it_reads() {
        let blob = |media_type| Descriptor::new(media_type, D.parse().unwrap(), 3);
        let manifest = Manifest { config: blob(CONFIG), layers: vec![blob(LAYER), blob(LAYER_GZIP)] };
        let bytes = manifest.write(None).unwrap();
        assert_eq!(Document::parse(&bytes, Some(MANIFEST)).unwrap(), Document::Manifest(manifest.clone()));
        let text = String::from_utf8(bytes).unwrap();
        let start = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"{CONFIG}","digest":"{D}","size":3}},"layers":["#
        );
        assert!(text.starts_with(&start) && !text.contains("null"), "{text}");
        assert!(Manifest { config: Descriptor { size: u64::MAX, ..blob(CONFIG) }, ..manifest }.write(None).is_err());
    }

    #[test]
    fn platforms_of_images_are_compared_by_what_they_mean() {
        let of = |text: &str| text.parse::<WirePlatform>().unwrap();
        for (one, other) in [
            ("linux/arm/v7", "linux-armhf"),
            ("linux/arm64/v8", "linux/aarch64"),
            ("Linux/AMD64/v3", "linux/x86_64/x86-64-v3"),
            ("windows/amd64", "Windows/AMD64"),
        ] {
            assert!(of(one).is_same(&of(other)), "{one} {other}");
        }
        for (one, other) in [("linux/amd64", "linux/amd64/v2"), ("windows/amd64", "linux/amd64"), ("a/b", "a/b/c")] {
            assert!(!of(one).is_same(&of(other)), "{one} {other}");
        }
        for bad in ["", "linux/", "/amd64", "nothing"] {
            assert!(bad.parse::<WirePlatform>().is_err(), "{bad}");
        }
    }

    #[test]
    fn config_must_fit_its_manifest() {
        let descriptor = Descriptor::new("application/vnd.oci.image.layer.v1.tar", D.parse().unwrap(), 1);
        let manifest = Manifest { config: descriptor.clone(), layers: vec![descriptor.clone()] };
        let text = format!(
            r#"{{"os":"linux","architecture":"arm","variant":"v6","config":{{"Env":["A=b"],"Cmd":null,"WorkingDir":"/w"}},"rootfs":{{"type":"layers","diff_ids":["{D}"]}}}}"#
        );
        let config = ImageConfig::parse(text.as_bytes(), &manifest).unwrap();
        assert_eq!(config.platform, StatedPlatform::Linux { platform: Platform::ArmV6, level: 1 });
        assert_eq!((config.env, config.cmd, config.working_dir), (vec!["A=b".to_owned()], vec![], "/w".to_owned()));
        let none = r#"{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":[]}}"#;
        assert!(matches!(ImageConfig::parse(none.as_bytes(), &manifest), Err(DocumentError::LayerCount { .. })));
        let chart = Manifest {
            layers: vec![Descriptor { media_type: "application/vnd.cncf.helm.chart".into(), ..descriptor }],
            ..manifest
        };
        assert!(matches!(ImageConfig::parse(text.as_bytes(), &chart), Err(DocumentError::NotAnImage(_))));
    }
}
