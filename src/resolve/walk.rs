//! Choosing one image from the documents that a reference leads to. Does no I/O.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde::Deserialize;

use super::error::ResolveError;
use crate::lock;
use crate::oci::{self, Descriptor, Document, ImageConfig, Manifest, WirePlatform};
use crate::platform::{self, Platform, StatedPlatform};
use crate::reference::Reference;

/// Most platforms listed in an error.
const MAX_LISTED: usize = 40;

/// Which of the images of a reference is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The platform it is for.
    pub platform: Platform,
    /// The platform that it states, if the user chose it by that (`--image-platform`).
    pub label: Option<WirePlatform>,
}

impl From<Platform> for Wanted {
    fn from(platform: Platform) -> Self {
        Self { platform, label: None }
    }
}

/// The reference and what is wanted of it.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    pub reference: &'a Reference,
    pub wanted: &'a Wanted,
    /// x86-64 level of the processor.
    pub level: u8,
}

/// What follows the first document.
pub(super) enum Step {
    /// It was a manifest.
    Manifest(Draft),
    /// It was an index; the manifest has to be read.
    Child(Child),
}

/// An entry chosen from an index.
pub(super) struct Child {
    index: Descriptor,
    /// The manifest to read.
    pub entry: Descriptor,
    /// The platform that the index states, if any.
    platform: Option<Platform>,
}

/// An image whose config has to be read.
pub(super) struct Draft {
    index: Option<Descriptor>,
    descriptor: Descriptor,
    manifest: Manifest,
    /// The platform that the index states.
    claimed: Option<Platform>,
}

impl Draft {
    /// The image config to read.
    pub(super) fn config(&self) -> &Descriptor {
        &self.manifest.config
    }
}

impl<'a> Walk<'a> {
    /// For this host.
    pub(super) fn new(reference: &'a Reference, wanted: &'a Wanted) -> Self {
        Self { reference, wanted, level: platform::level() }
    }

    /// Reads the document `top` that the reference names.
    pub(super) fn enter(
        &self,
        top: Descriptor,
        bytes: &[u8],
        content_type: Option<&str>,
    ) -> Result<Step, ResolveError> {
        match Document::parse(bytes, content_type).map_err(ResolveError::document(self.reference, top.digest))? {
            Document::Manifest(manifest) => {
                Ok(Step::Manifest(Draft { index: None, descriptor: top, manifest, claimed: None }))
            }
            Document::Index(entries) => {
                let (entry, platform) = self.choose(&entries)?;
                // Platform and annotations belong to the index, not to the manifest.
                let entry = Descriptor::new(&entry.media_type, entry.digest, entry.size);
                Ok(Step::Child(Child { index: top, entry, platform }))
            }
        }
    }

    /// Reads the manifest chosen from an index.
    pub(super) fn descend(
        &self,
        child: Child,
        bytes: &[u8],
        content_type: Option<&str>,
    ) -> Result<Draft, ResolveError> {
        let Child { index, entry, platform } = child;
        match Document::parse(bytes, content_type).map_err(ResolveError::document(self.reference, entry.digest))? {
            Document::Manifest(manifest) => {
                Ok(Draft { index: Some(index), descriptor: entry, manifest, claimed: platform })
            }
            Document::Index(_) => {
                Err(ResolveError::Nested { reference: Box::new(self.reference.clone()), digest: entry.digest })
            }
        }
    }

    /// Returns the image, and a warning if it may not fit. The platform in the index takes precedence over that in the
    /// config, as with other tools, since many configs lack the variant. The user's label takes precedence over both.
    pub(super) fn finish(&self, draft: Draft, config: &[u8]) -> Result<(lock::Image, Option<String>), ResolveError> {
        let Draft { index, descriptor, manifest, claimed } = draft;
        let parsed = ImageConfig::parse(config, &manifest)
            .map_err(ResolveError::document(self.reference, manifest.config.digest))?;
        let wanted = self.wanted.platform;
        let (platform, doubt) = match (claimed, parsed.platform) {
            (Some(platform), _) if self.wanted.label.is_some() => (platform, None),
            (Some(platform), stated) => {
                let other = stated.known().filter(|made_for| made_for.architecture().0 != platform.architecture().0);
                let doubt = other.map(|made_for| {
                    let (listed, says) = (platform.name(), made_for.name());
                    format!("{} is listed as {listed} but its config says {says}: it may not run", self.reference)
                });
                (platform, doubt)
            }
            (None, StatedPlatform::Nothing) => {
                let name = wanted.name();
                (wanted, Some(format!("{} does not name its platform; using it for {name}", self.reference)))
            }
            (None, stated) => {
                let says = serde_json::from_slice::<WirePlatform>(config).ok();
                match (says, &self.wanted.label) {
                    (Some(says), Some(asked)) if says.is_same(asked) => (wanted, None),
                    (_, None) if self.serves(stated).is_some() => (stated.known().unwrap_or(wanted), None),
                    (says, _) => return Err(self.missing(says.iter())),
                }
            }
        };
        let layers = manifest.layers.into_iter().zip(parsed.diff_ids);
        let layers = layers.map(|(blob, diff_id)| lock::Layer { blob, diff_id }).collect();
        let image = lock::Image {
            platform,
            label: self.wanted.label.clone(),
            index,
            manifest: descriptor,
            config: manifest.config,
            layers,
            tree: None,
        };
        Ok((image, doubt))
    }

    /// Rank of an image that states this platform, lower being better; `None` if it does not fit. Of several x86-64 levels
    /// that the processor supports, the highest ranks best.
    fn serves(&self, stated: StatedPlatform) -> Option<(u8, Reverse<u8>)> {
        let StatedPlatform::Linux { platform, level } = stated else { return None };
        Some((platform.serves(self.wanted.platform)?, Reverse(level))).filter(|_| level <= self.level)
    }

    /// The entry with the best rank; of equals the first (image index spec, "manifests"). If none fits, the first that
    /// states no platform: its config may state one.
    fn choose<'d>(&self, entries: &'d [Descriptor]) -> Result<(&'d Descriptor, Option<Platform>), ResolveError> {
        let missing = || self.missing(entries.iter().filter_map(|entry| entry.platform.as_ref()));
        if let Some(asked) = &self.wanted.label {
            let is_asked = |entry: &&Descriptor| entry.platform.as_ref().is_some_and(|stated| stated.is_same(asked));
            let entry = entries.iter().find(is_asked).ok_or_else(missing)?;
            return Ok((entry, Some(self.wanted.platform)));
        }
        let serving = entries.iter().filter_map(|entry| Some((self.serves(entry.stated_platform())?, entry)));
        if let Some((_, entry)) = serving.min_by_key(|(rank, _)| *rank) {
            return Ok((entry, entry.known_platform()));
        }
        let says_nothing =
            |entry: &&Descriptor| entry.stated_platform() == StatedPlatform::Nothing && oci::is_image(entry);
        entries.iter().find(says_nothing).map(|entry| (entry, None)).ok_or_else(missing)
    }

    fn missing<'p>(&self, has: impl Iterator<Item = &'p WirePlatform>) -> ResolveError {
        let names: BTreeSet<_> = has.filter_map(shown).collect();
        let available = names.into_iter().take(MAX_LISTED).collect();
        ResolveError::NoPlatform {
            reference: Box::new(self.reference.clone()),
            wanted: self.wanted.platform,
            available,
        }
    }
}

/// Checks that this host's processor has the x86-64 level that the config states: a lock may come from a host with a newer
/// processor. The user may choose a higher level by its label.
pub(crate) fn check_level(
    reference: &Reference,
    image: &lock::Image,
    config: &ImageConfig,
) -> Result<(), ResolveError> {
    check_level_of(Platform::host(), platform::level, reference, image, config)
}

fn check_level_of(
    host: Platform,
    supported: impl FnOnce() -> u8,
    reference: &Reference,
    image: &lock::Image,
    config: &ImageConfig,
) -> Result<(), ResolveError> {
    let StatedPlatform::Linux { platform: Platform::Amd64, level } = config.platform else { return Ok(()) };
    if host != Platform::Amd64 || image.label.is_some() || level == 1 {
        return Ok(());
    }
    // Not asked before it matters: a hypervisor takes its time to answer `cpuid`.
    let supported = supported();
    if level <= supported {
        return Ok(());
    }
    Err(ResolveError::Level { reference: Box::new(reference.clone()), level, supported })
}

/// The name of a platform for `--platform`, or its escaped text if hermes does not know it. `None` for the
/// `unknown/unknown` of attestations.
fn shown(platform: &WirePlatform) -> Option<String> {
    let WirePlatform { os, architecture, variant } = platform;
    if let StatedPlatform::Linux { platform, level: 1 } = platform.stated_platform() {
        return Some(platform.name().to_owned());
    }
    let parts = [Some(os), Some(architecture), variant.as_ref().filter(|variant| !variant.is_empty())];
    let raw: Vec<_> = parts.into_iter().flatten().map(String::as_str).collect();
    let raw: String = raw.join("/").chars().take(60).collect();
    (architecture != "unknown" && !architecture.is_empty()).then(|| raw.escape_default().to_string())
}

/// The media type of a document: the one in it, else the sender's, else OCI's. Always one of the four that exist, so that
/// no text of a sender gets into a lock.
pub(super) fn media_type(bytes: &[u8], content_type: Option<&str>) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Peek {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let peek = serde_json::from_slice::<Peek>(bytes).unwrap_or(Peek { media_type: None, manifests: None });
    let known = [oci::INDEX, oci::MANIFEST, oci::DOCKER_INDEX, oci::DOCKER_MANIFEST];
    let said = peek.media_type.as_deref().into_iter().chain(content_type).find(|kind| known.contains(kind));
    said.unwrap_or(if peek.manifests.is_some() { oci::INDEX } else { oci::MANIFEST }).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn entry(number: u8, platform: Option<(&str, &str, Option<&str>)>) -> Descriptor {
        let platform = platform.map(|(os, architecture, variant)| WirePlatform {
            os: os.into(),
            architecture: architecture.into(),
            variant: variant.map(Into::into),
        });
        Descriptor { platform, ..Descriptor::new(oci::MANIFEST, Digest::of(&[number]), u64::from(number)) }
    }

    fn choose(wanted: Platform, entries: &[Descriptor]) -> Result<u64, Vec<String>> {
        choose_with(&Wanted::from(wanted), 1, entries)
    }

    fn choose_with(wanted: &Wanted, level: u8, entries: &[Descriptor]) -> Result<u64, Vec<String>> {
        let reference: Reference = "debian".parse().unwrap();
        match (Walk { reference: &reference, wanted, level }).choose(entries) {
            Ok((entry, _)) => Ok(entry.size),
            Err(ResolveError::NoPlatform { available, .. }) => Err(available),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn the_best_serving_entry_is_chosen() {
        let entries = [
            entry(2, Some(("unknown", "unknown", None))),
            entry(3, Some(("linux", "arm", Some("v5")))),
            entry(4, Some(("linux", "arm", Some("v7")))),
            entry(5, Some(("linux", "amd64", None))),
            entry(6, Some(("linux", "amd64", Some("")))),
            entry(7, Some(("windows", "amd64", None))),
            entry(8, Some(("linux", "amd64", Some("v3")))),
            entry(9, Some(("linux", "x\x1b", None))),
        ];
        assert_eq!(choose(Platform::ArmV7, &entries), Ok(4));
        assert_eq!(choose(Platform::ArmV6, &entries), Ok(3), "arm/v7 must never serve arm/v6");
        assert_eq!(choose(Platform::ArmV5, &entries), Ok(3));
        assert_eq!(choose(Platform::Amd64, &entries), Ok(5), "of equals the first");
        let has = ["linux-armv5", "linux-armv7", "linux-x86_64", "linux/amd64/v3", "linux/x\\u{1b}", "windows/amd64"];
        assert_eq!(choose(Platform::Riscv64, &entries), Err(has.map(str::to_owned).to_vec()));
        assert_eq!(choose(Platform::Amd64, &[]), Err(vec![]));
        // An entry without a platform ranks last; an attestation is no image.
        let attestation = Descriptor {
            annotations: [("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned())].into(),
            ..entry(10, None)
        };
        let blob = Descriptor { media_type: "text/plain".into(), ..entry(11, None) };
        let silent = [
            attestation,
            blob,
            entry(12, Some(("linux", "", None))),
            entry(1, None),
            entry(3, Some(("linux", "arm", None))),
        ];
        assert_eq!(choose(Platform::ArmV7, &silent), Ok(3));
        assert_eq!(choose(Platform::Amd64, &silent), Ok(12));
    }

    #[test]
    fn the_highest_level_that_the_processor_has_is_chosen() {
        let levels = |levels: &[u8]| -> Vec<Descriptor> {
            levels.iter().map(|level| entry(*level, Some(("linux", "amd64", Some(&format!("v{level}")))))).collect()
        };
        let amd64 = Wanted::from(Platform::Amd64);
        for (has, level, chosen) in [
            (&[2][..], 2, Ok(2)),
            (&[2], 4, Ok(2)),
            (&[1, 2, 3, 4], 3, Ok(3)),
            (&[4, 3, 2, 1], 4, Ok(4)),
            (&[1, 2, 3, 4], 1, Ok(1)),
            (&[2, 3], 1, Err(vec!["linux/amd64/v2".to_owned(), "linux/amd64/v3".to_owned()])),
        ] {
            assert_eq!(choose_with(&amd64, level, &levels(has)), chosen, "{has:?} at level {level}");
        }
        let base = [entry(1, Some(("linux", "amd64", None))), entry(3, Some(("linux", "amd64", Some("v3"))))];
        assert_eq!((choose_with(&amd64, 3, &base), choose_with(&amd64, 2, &base)), (Ok(3), Ok(1)));
        // The user's label decides.
        let labelled = |text: &str| Wanted { label: Some(text.parse().unwrap()), ..amd64.clone() };
        assert_eq!(choose_with(&labelled("linux/amd64/v3"), 1, &base), Ok(3));
        assert_eq!(choose_with(&labelled("linux/amd64/v1"), 4, &base), Ok(1));
        assert!(choose_with(&labelled("linux/amd64/v4"), 4, &base).is_err());
        let foreign = [entry(7, Some(("linux", "arm", Some("v8"))))];
        assert_eq!(choose_with(&labelled("linux/arm/v8"), 1, &foreign), Ok(7));
    }

    #[test]
    fn a_locked_image_of_a_higher_level_is_refused() {
        let reference: Reference = "debian".parse().unwrap();
        let blob = Descriptor::new("", Digest::of(b"x"), 1);
        let (manifest, config) = (blob.clone(), blob);
        let image = lock::Image {
            platform: Platform::Amd64,
            label: None,
            index: None,
            manifest,
            config,
            layers: vec![],
            tree: None,
        };
        let labelled = lock::Image { label: Some("linux/amd64/v3".parse().unwrap()), ..image.clone() };
        let states = |platform, level| ImageConfig {
            platform: StatedPlatform::Linux { platform, level },
            ..ImageConfig::default()
        };
        for (host, supported, image, config, ok) in [
            (Platform::Amd64, 2, &image, states(Platform::Amd64, 3), false),
            (Platform::Amd64, 3, &image, states(Platform::Amd64, 3), true),
            (Platform::Amd64, 1, &image, states(Platform::Amd64, 1), true),
            (Platform::Amd64, 1, &image, ImageConfig::default(), true),
            (Platform::Amd64, 2, &labelled, states(Platform::Amd64, 3), true),
            // An emulator decides what it supports.
            (Platform::Arm64, 1, &image, states(Platform::Amd64, 3), true),
        ] {
            let checked = check_level_of(host, || supported, &reference, image, &config);
            assert_eq!(checked.is_ok(), ok, "{host} {supported} {config:?}: {checked:?}");
        }
    }

    #[test]
    fn the_media_type_is_one_of_four() {
        let own = format!(r#"{{"mediaType":"{}","manifests":[]}}"#, oci::DOCKER_INDEX);
        assert_eq!(media_type(own.as_bytes(), Some(oci::INDEX)), oci::DOCKER_INDEX);
        assert_eq!(media_type(br#"{"manifests":[]}"#, Some("text/plain")), oci::INDEX);
        assert_eq!(media_type(b"{}", Some(oci::DOCKER_MANIFEST)), oci::DOCKER_MANIFEST);
        assert_eq!(media_type(br#"{"mediaType":"evil"}"#, None), oci::MANIFEST);
    }
}
