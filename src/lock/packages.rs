//! Archives and roots in a lock file.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::lock::build::Build;
use crate::lock::entry::{AnyPlatform, WireBlob, WireLayer, WireRoot, address, text};
use crate::lock::model::{Image, Layer, Lock};
use crate::lock::root::{Archive, Deb, Root, number, root_reference};
use crate::oci::{self, Descriptor};
use crate::platform::Platform;
use crate::visible::shortened;

/// Most packages of a root. Debian 12 has 63,000.
const MAX_DEBS: usize = 100_000;

/// The tables of packages, which are written apart from the others, with one line for each item of a list.
#[derive(Serialize)]
pub(super) struct WirePackages {
    pub(super) archive: BTreeMap<ArchiveName, WireArchive>,
    pub(super) root: BTreeMap<ToolchainName, BTreeMap<AnyPlatform, WireRoot>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WireArchive {
    #[serde(deserialize_with = "text")]
    suite: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "address")]
    uri: Option<String>,
    #[serde(deserialize_with = "text")]
    codename: String,
    date: u64,
    #[serde(deserialize_with = "fingerprints")]
    signed_by: Vec<String>,
    /// Lines of path, SHA-256 and size.
    index: Vec<String>,
    release: WireFile,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFile {
    digest: Digest,
    size: u64,
}

/// A valid name of an archive in a lock.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(super) struct ArchiveName(String);

/// A valid name of a toolchain of packages.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(super) struct ToolchainName(String);

fn fingerprints<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let all = Vec::<String>::deserialize(deserializer)?;
    // Of a key of version 4 or 6 (RFC 9580, §5.5.4).
    let is_one = |text: &String| matches!(text.len(), 40 | 64) && text.bytes().all(|c| c.is_ascii_hexdigit());
    if all.iter().all(is_one) { Ok(all) } else { Err(D::Error::custom("expected fingerprints of keys")) }
}

impl<'de> Deserialize<'de> for ArchiveName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for ToolchainName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_name = root_reference(&text, Platform::Amd64, Platform::Amd64).is_some();
        if is_name { Ok(Self(text)) } else { Err(D::Error::custom("not the name of a toolchain of packages")) }
    }
}

impl WirePackages {
    /// The tables of `lock`; `None` without roots.
    pub(super) fn of(lock: &Lock) -> Option<Self> {
        let mut root: BTreeMap<ToolchainName, BTreeMap<AnyPlatform, WireRoot>> = BTreeMap::new();
        for ((toolchain, target), of) in &lock.roots {
            let reference = root_reference(toolchain, *target, of.platform)?;
            let wire = WireRoot::of(of, lock.images.get(&(reference, of.platform)));
            root.entry(ToolchainName(toolchain.clone())).or_default().insert(AnyPlatform::Known(*target), wire);
        }
        for ((toolchain, target), wire) in &lock.unknown.roots {
            let platforms = root.entry(ToolchainName(toolchain.clone())).or_default();
            platforms.insert(AnyPlatform::Unknown(target.clone()), wire.clone());
        }
        let archive = lock.archives.iter().map(|(name, archive)| (ArchiveName(name.clone()), WireArchive::of(archive)));
        let archive = archive.collect();
        (!root.is_empty()).then_some(Self { archive, root })
    }

    /// Puts the tables into `lock`.
    pub(super) fn read(self, lock: &mut Lock) -> Result<(), String> {
        for (name, wire) in self.archive {
            let archive = wire.read().ok_or_else(|| format!("archive {} is not valid", name.0))?;
            lock.archives.insert(name.0, archive);
        }
        for (toolchain, platforms) in self.root {
            for (target, wire) in platforms {
                let name = format!("root of {} for {}", toolchain.0, target.name());
                if let Some(missing) = wire.archives.iter().find(|archive| !lock.archives.contains_key(*archive)) {
                    return Err(format!("{name}: the lock has no archive {}", missing.escape_default()));
                }
                let AnyPlatform::Known(target) = target else {
                    let AnyPlatform::Unknown(target) = target else { continue };
                    lock.unknown.roots.insert((toolchain.0.clone(), target), wire);
                    continue;
                };
                let (root, image) = wire.read().map_err(|why| format!("{name}: {why}"))?;
                if let (Some(reference), Some(image)) = (root_reference(&toolchain.0, target, root.platform), image) {
                    lock.images.insert((reference, root.platform), image);
                }
                lock.roots.insert((toolchain.0.clone(), target), root);
            }
        }
        Ok(())
    }
}

impl WireArchive {
    fn of(archive: &Archive) -> Self {
        let Archive { suite, uri, codename, date, release, signed_by, indexes } = archive.clone();
        let line = |(path, blob): (&String, &Descriptor)| format!("{path} {} {}", blob.digest.hex(), blob.size);
        let index = indexes.iter().map(line).collect();
        let release = WireFile { digest: release.digest, size: release.size };
        Self { suite, uri, codename, date, signed_by, index, release }
    }

    fn read(self) -> Option<Archive> {
        let index = |line: String| {
            let mut words = line.split(' ');
            let (path, hex, size) = (words.next()?, words.next()?, words.next()?);
            let is_whole = words.next().is_none() && Deb::is_path(path);
            let blob = Descriptor::new(Archive::INDEX, Digest::from_hex(hex).ok()?, number(size)?);
            is_whole.then(|| (path.to_owned(), blob))
        };
        let Self { suite, uri, codename, date, signed_by, release, .. } = self;
        let release = Descriptor::new(Archive::RELEASE, release.digest, release.size);
        let indexes = self.index.into_iter().map(index).collect::<Option<_>>()?;
        let is_valid = Deb::is_path(&suite) && Build::is_epoch(date);
        is_valid.then_some(Archive { suite, uri, codename, date, release, signed_by, indexes })
    }
}

impl WireRoot {
    fn of(root: &Root, image: Option<&Image>) -> Self {
        let Root { platform, request, archives, components, composer, epoch, apt_sources, debs } = root.clone();
        let layer = |layer: &Layer| WireLayer {
            digest: layer.blob.digest,
            size: layer.blob.size,
            media_type: layer.blob.media_type.clone(),
            diff_id: layer.diff_id,
        };
        Self {
            platform: AnyPlatform::Known(platform),
            request,
            archives,
            components,
            composer,
            epoch,
            apt_sources,
            chain_id: image.and_then(Image::chain_id),
            tree: image.and_then(|image| image.tree),
            base: debs.iter().filter(|deb| deb.is_base).map(Deb::line).collect(),
            deb: debs.iter().filter(|deb| !deb.is_base).map(Deb::line).collect(),
            manifest: image.map(|image| WireBlob::of(&image.manifest)),
            config: image.map(|image| WireBlob::of(&image.config)),
            layer: image.map(|image| image.layers.iter().map(layer).collect()).unwrap_or_default(),
        }
    }

    fn read(self) -> Result<(Root, Option<Image>), String> {
        let AnyPlatform::Known(platform) = self.platform else {
            return Err(format!("its programs are for {}", self.platform.name()));
        };
        let lines = self.base.iter().map(|line| (line, true)).chain(self.deb.iter().map(|line| (line, false)));
        let debs = lines.map(|(line, is_base)| {
            Deb::parse(line, is_base).ok_or_else(|| format!("'{}' is not a package", shortened(line, 200)))
        });
        let mut debs = debs.collect::<Result<Vec<_>, _>>()?;
        if debs.len() > MAX_DEBS {
            return Err(format!("more than {MAX_DEBS} packages"));
        }
        debs.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(twice) = debs.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(format!("package {} is there twice", twice[0].name));
        }
        if !Build::is_epoch(self.epoch) || !self.components.iter().all(|component| Deb::is_path(component)) {
            return Err("its epoch or components are not valid".to_owned());
        }
        let layers: Vec<Layer> = self
            .layer
            .into_iter()
            .map(|layer| Layer {
                blob: Descriptor::new(&layer.media_type, layer.digest, layer.size),
                diff_id: layer.diff_id,
            })
            .collect();
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id).collect();
        let (chain_id, tree) = (self.chain_id, self.tree);
        let image = match (self.manifest, self.config) {
            (Some(manifest), Some(config)) if chain_id == oci::chain_id(&diff_ids) => {
                let (manifest, config) = (manifest.read(), config.read());
                Some(Image { platform, label: None, index: None, manifest, config, layers, tree })
            }
            (None, None) if layers.is_empty() && chain_id.is_none() && tree.is_none() => None,
            _ => return Err("manifest, config, chain-id and layers do not belong together".to_owned()),
        };
        let Self { request, archives, components, composer, epoch, apt_sources, .. } = self;
        Ok((Root { platform, request, archives, components, composer, epoch, apt_sources, debs }, image))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::lock::{parse, render};

    fn blob(text: &str, kind: &str) -> Descriptor {
        Descriptor::new(kind, Digest::of(text.as_bytes()), text.len() as u64)
    }

    fn deb(name: &str) -> Deb {
        Deb {
            name: name.parse().unwrap(),
            version: "1:2-3".parse().unwrap(),
            architecture: "arm64".parse().unwrap(),
            digest: Digest::of(name.as_bytes()),
            size: 7,
            path: format!("pool/main/{name}_2-3_arm64.deb"),
            is_base: name == "dpkg",
        }
    }

    /// A lock with a root that was composed, and one that was not.
    fn sample() -> Lock {
        let index = blob("index", Archive::INDEX);
        let archive = Archive {
            suite: "bookworm".into(),
            uri: Some("https://deb.example.org/debian".into()),
            codename: "bookworm".into(),
            date: 1_783_764_997,
            release: blob("release", Archive::RELEASE),
            signed_by: vec!["4CB50190207B4758A3F73A796ED0E7B82643E131".into()],
            indexes: BTreeMap::from([("main/binary-arm64/Packages.xz".into(), index)]),
        };
        let root = Root {
            platform: Platform::Arm64,
            request: vec!["gcc".parse().unwrap(), "cmake=3-1".parse().unwrap()],
            archives: vec!["bookworm".into()],
            components: vec!["main".into()],
            composer: 1,
            epoch: 1_783_900_800,
            apt_sources: None,
            debs: vec![deb("cmake"), deb("dpkg"), deb("gcc")],
        };
        let layer =
            Layer { blob: blob("layer", "application/vnd.oci.image.layer.v1.tar+zstd"), diff_id: Digest::of(b"L") };
        let image = Image {
            platform: Platform::Arm64,
            label: None,
            index: None,
            manifest: blob("manifest", oci::MANIFEST),
            config: blob("config", "application/vnd.oci.image.config.v1+json"),
            layers: vec![layer],
            tree: Some(Digest::of(b"tree")),
        };
        let mut lock = Lock::default();
        lock.archives.insert("bookworm".into(), archive);
        let reference = root_reference("own", Platform::Arm64, Platform::Arm64).unwrap();
        lock.images.insert((reference, Platform::Arm64), image);
        lock.roots
            .insert(("own".into(), Platform::ArmV7), Root { apt_sources: Some("http://a/".into()), ..root.clone() });
        lock.roots.insert(("own".into(), Platform::Arm64), root);
        lock
    }

    #[test]
    fn the_bytes_are_stable_and_packages_have_lines() {
        let text = render(&sample());
        insta::assert_snapshot!(text);
        let again = parse(&text, Path::new("hermes.lock")).unwrap();
        assert_eq!(again, sample());
        assert_eq!(render(&again), text);
    }

    #[test]
    fn roots_for_unknown_platforms_are_kept_with_their_archive() {
        let text = render(&sample()).replace("linux/arm64", "linux/vax").replace("linux/arm/v7", "linux/pdp11");
        let mut lock = parse(&text, Path::new("hermes.lock")).unwrap();
        assert!(lock.roots.is_empty() && lock.images.is_empty());
        assert_eq!(lock.unknown.names(), ["linux/pdp11", "linux/vax"]);
        lock.drop_unused_archives();
        assert_eq!(render(&lock), text);
    }

    #[test]
    fn archives_that_no_root_uses_are_dropped() {
        let mut lock = sample();
        let archive = lock.archives["bookworm"].clone();
        lock.archives.insert("old".into(), archive);
        lock.drop_unused_archives();
        assert_eq!(lock, sample());
    }

    #[test]
    fn bad_roots_are_refused() {
        let text = render(&sample());
        let hex = Digest::of(b"cmake").hex();
        for (from, to) in [
            ("archives = [\"bookworm\"]".to_owned(), "archives = [\"trixie\"]"),
            (hex, "abc"),
            ("pool/main".to_owned(), "../main"),
            ("cmake 1:2-3".to_owned(), "gcc 1:2-3"),
            ("[root.own.".to_owned(), "[root.\"Own\"."),
            ("composer = 1".to_owned(), "composer = -1"),
            ("epoch = 1783900800".to_owned(), "epoch = 999999999999999"),
            (format!("chain-id = \"{}\"", Digest::of(b"L")), "chain-id = \"sha256:0\""),
            (format!("chain-id = \"{}\"\n", Digest::of(b"L")), ""),
            (format!("diff-id = \"{}\"", Digest::of(b"L")), &format!("diff-id = \"{}\"", Digest::of(b"M"))),
            ("\"gcc\"".to_owned(), "\"GCC\""),
            ("4CB50190207B4758".to_owned(), "zzzz"),
            ("binary-arm64/Packages.xz".to_owned(), "../../Packages.xz"),
            ("suite = \"bookworm\"".to_owned(), "suite = \"../bookworm\""),
            ("codename = \"bookworm\"".to_owned(), "codename = \"\\u001b[31m\""),
            ("composer = 1".to_owned(), "composer = 1\nscripts = 'x'"),
        ] {
            let bad = text.replace(&from, to);
            assert_ne!(bad, text, "{from}");
            assert!(parse(&bad, Path::new("hermes.lock")).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn addresses_are_no_files_of_the_host() {
        let text = render(&sample());
        for (from, to) in [
            ("uri = \"https://deb.example.org/debian\"", "uri = \"/srv/debian\""),
            ("uri = \"https:", "uri = \"file:"),
            ("uri = \"https://deb", "uri = \"https://me:secret@deb"),
            ("apt-sources = \"http://a/\"", "apt-sources = \"/a\""),
        ] {
            let bad = text.replace(from, to);
            assert_ne!(bad, text, "{from}");
            let error = parse(&bad, Path::new("hermes.lock")).unwrap_err();
            let error = crate::hint::error_chain(&error);
            assert!(error.contains("expected an address with https or http"), "{to}: {error}");
        }
    }
}
