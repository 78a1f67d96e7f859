//! Archives, roots and native tools in a lock file.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::lock::build::Build;
use crate::lock::entry::{AnyPlatform, WireBlob, WireLayer, WireRoot, address, text};
use crate::lock::model::{Image, Layer, Lock};
use crate::lock::root::{Archive, Deb, NativeTools, Root, native_reference, number, root_reference};
use crate::oci::{self, Descriptor};
use crate::platform::Platform;
use crate::visible::shortened;

/// Most packages of a root. Debian 12 has 63,000.
const MAX_DEBS: usize = 100_000;

/// The tables of packages, which are written apart from the others, with one line for each item of a list.
#[derive(Serialize)]
pub(super) struct WirePackages {
    pub(super) archive: BTreeMap<ArchiveName, WireArchive>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) root: WireRoots,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) native: WireRoots,
}

/// Roots, or native tools, by toolchain and target platform.
pub(super) type WireRoots = BTreeMap<ToolchainName, BTreeMap<AnyPlatform, WireRoot>>;

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

impl ArchiveName {
    pub(super) fn is(&self, name: &str) -> bool {
        self.0 == name
    }
}

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
    /// The tables of `lock`; `None` without archives.
    pub(super) fn of(lock: &Lock) -> Option<Self> {
        let (mut root, mut native) = (WireRoots::new(), WireRoots::new());
        let put = |table: &mut WireRoots, toolchain: &String, platform, wire| {
            table.entry(ToolchainName(toolchain.clone())).or_default().insert(platform, wire);
        };
        for (key, of) in &lock.roots {
            let wire = WireRoot::of(of, lock.image_of_root(key, of));
            put(&mut root, &key.0, AnyPlatform::Known(key.1), wire);
        }
        for (key, of) in &lock.natives {
            let wire = WireRoot::of(&of.root, lock.image_of_native(key, of));
            let wire = WireRoot { image_chain_id: Some(of.image), ..wire };
            put(&mut native, &key.0, AnyPlatform::Known(key.1), wire);
        }
        for (table, unknown) in [(&mut root, &lock.unknown.roots), (&mut native, &lock.unknown.natives)] {
            for ((toolchain, target), wire) in unknown {
                put(table, toolchain, AnyPlatform::Unknown(target.clone()), wire.clone());
            }
        }
        let archive = lock.archives.iter().map(|(name, archive)| (ArchiveName(name.clone()), WireArchive::of(archive)));
        let archive: BTreeMap<_, _> = archive.collect();
        (!archive.is_empty()).then_some(Self { archive, root, native })
    }

    /// Puts the tables into `lock`.
    pub(super) fn read(self, lock: &mut Lock) -> Result<(), String> {
        for (name, wire) in self.archive {
            let archive = wire.read().ok_or_else(|| format!("archive {} is not valid", name.0))?;
            lock.archives.insert(name.0, archive);
        }
        for (toolchain, target, wire) in entries(self.root) {
            let name = format!("root of {} for {}", toolchain.0, target.name());
            check_archives(lock, &name, &wire)?;
            if wire.image_chain_id.is_some() {
                return Err(format!("{name}: only native tools have an image-chain-id"));
            }
            let AnyPlatform::Known(target) = target else {
                let AnyPlatform::Unknown(target) = target else { continue };
                lock.unknown.roots.insert((toolchain.0, target), wire);
                continue;
            };
            let (root, image) = wire.read().map_err(|why| format!("{name}: {why}"))?;
            if let (Some(reference), Some(image)) = (root_reference(&toolchain.0, target, root.platform), image) {
                lock.images.insert((reference, root.platform), image);
            }
            lock.roots.insert((toolchain.0, target), root);
        }
        for (toolchain, target, wire) in entries(self.native) {
            let name = format!("native tools of {} for {}", toolchain.0, target.name());
            check_archives(lock, &name, &wire)?;
            let Some(of_image) = wire.image_chain_id else {
                return Err(format!("{name}: they need an image-chain-id"));
            };
            let AnyPlatform::Known(target) = target else {
                let AnyPlatform::Unknown(target) = target else { continue };
                lock.unknown.natives.insert((toolchain.0, target), wire);
                continue;
            };
            let (root, image) = wire.read().map_err(|why| format!("{name}: {why}"))?;
            if root.scripts {
                return Err(format!("{name}: they have no scripts"));
            }
            if let (Some(reference), Some(image)) = (native_reference(&toolchain.0, target), image) {
                lock.images.insert((reference, root.platform), image);
            }
            lock.natives.insert((toolchain.0, target), NativeTools { image: of_image, root });
        }
        Ok(())
    }
}

/// The entries of a table, by toolchain and platform.
fn entries(table: WireRoots) -> impl Iterator<Item = (ToolchainName, AnyPlatform, WireRoot)> {
    table.into_iter().flat_map(|(toolchain, platforms)| {
        platforms.into_iter().map(move |(target, wire)| (ToolchainName(toolchain.0.clone()), target, wire))
    })
}

/// That the lock has the archives of an entry.
fn check_archives(lock: &Lock, name: &str, wire: &WireRoot) -> Result<(), String> {
    match wire.archives.iter().find(|archive| !lock.archives.contains_key(*archive)) {
        Some(missing) => Err(format!("{name}: the lock has no archive {}", missing.escape_default())),
        None => Ok(()),
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
        let Root { platform, request, archives, components, composer, epoch, apt_sources, scripts, debs } =
            root.clone();
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
            scripts,
            image_chain_id: None,
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
        let Self { request, archives, components, composer, epoch, apt_sources, scripts, .. } = self;
        Ok((Root { platform, request, archives, components, composer, epoch, apt_sources, scripts, debs }, image))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::lock::model::{Emulator, FileOfPackage, Origin};
    use crate::lock::{Entry, differences, parse, render};

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
            scripts: true,
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

    /// The sample with native tools for each root, and an emulator out of a package.
    fn with_tools() -> Lock {
        let mut lock = sample();
        let root = &lock.roots[&("own".to_owned(), Platform::Arm64)];
        let tools = Root {
            platform: Platform::Amd64,
            request: vec!["gcc-12-aarch64-linux-gnu".parse().unwrap()],
            scripts: false,
            debs: vec![deb("gcc-12-aarch64-linux-gnu"), deb("libc6")],
            ..root.clone()
        };
        let image = lock.images.values().next().unwrap().clone();
        let native = NativeTools { image: image.chain_id().unwrap(), root: tools };
        let reference = native_reference("own", Platform::Arm64).unwrap();
        lock.images.insert((reference, Platform::Amd64), Image { platform: Platform::Amd64, ..image });
        for target in [Platform::Arm64, Platform::ArmV7] {
            lock.natives.insert(("own".into(), target), native.clone());
        }
        let file = FileOfPackage {
            deb: deb("qemu-user-static"),
            archives: vec!["bookworm".into()],
            path: "/usr/bin/qemu-aarch64-static".into(),
        };
        let emulator = Emulator { origin: Some(Origin::Package(file)), ..Emulator::new(Digest::of(b"qemu"), 4) };
        lock.emulators.insert(Platform::Arm64, emulator);
        lock
    }

    #[test]
    fn tools_out_of_packages_have_tables_of_their_own() {
        let text = render(&with_tools());
        insta::assert_snapshot!(text);
        let again = parse(&text, Path::new("hermes.lock")).unwrap();
        assert_eq!(again, with_tools());
        assert_eq!(render(&again), text);
        let key = ("own".to_owned(), Platform::Arm64);
        let native = &again.natives[&key];
        assert!(again.image_of_native(&key, native).is_some());
        let reference = native_reference("own", Platform::Arm64).unwrap();
        assert_eq!(again.root(&reference, Platform::Amd64), Some(&native.root));
        assert_eq!(again.root(&reference, Platform::Arm64), None);
    }

    #[test]
    fn all_packages_are_in_one_list() {
        let lock = with_tools();
        let sets: Vec<_> = lock
            .deb_sets()
            .map(|set| (set.entry.to_string(), set.debs.len(), set.archives.len(), set.made.is_some()))
            .collect();
        let set = |entry: &str, debs, made| (entry.to_owned(), debs, 1, made);
        assert_eq!(
            sets,
            [
                set("packages of own for linux-armv7", 3, false),
                set("packages of own for linux-aarch64", 3, true),
                set("native tools of own for linux-armv7", 2, false),
                set("native tools of own for linux-aarch64", 2, true),
                set("emulator for linux-aarch64", 1, true),
            ]
        );
    }

    #[test]
    fn tools_are_taken_with_their_archives_and_images() {
        let (mut lock, tools) = (Lock::default(), with_tools());
        let changes = differences(&lock, &tools);
        assert_eq!(changes.len(), 6, "{changes:?}");
        for change in changes {
            lock.take(&change.entry, &tools);
        }
        assert_eq!(lock, tools);
        let entry = Entry::Native("own".into(), Platform::Arm64);
        lock.take(&entry, &Lock::default());
        let changes: Vec<_> = differences(&tools, &lock).into_iter().map(|change| change.entry).collect();
        assert_eq!(changes, [entry]);
    }

    #[test]
    fn tools_for_unknown_platforms_are_kept_with_their_archive() {
        let mut lock = with_tools();
        lock.roots.clear();
        lock.images.clear();
        let text = render(&lock).replace("linux/arm64", "linux/vax").replace("linux/arm/v7", "linux/pdp11");
        let mut lock = parse(&text, Path::new("hermes.lock")).unwrap();
        assert!(lock.natives.is_empty() && lock.emulators.is_empty());
        assert_eq!(lock.unknown.names(), ["linux/pdp11", "linux/vax"]);
        lock.drop_unused_archives();
        assert_eq!(render(&lock), text);
    }

    #[test]
    fn bad_tools_are_refused() {
        let text = render(&with_tools());
        let chain = with_tools().natives.values().next().unwrap().image;
        for (from, to) in [
            (format!("image-chain-id = \"{chain}\"\n"), ""),
            (format!("image-chain-id = \"{chain}\""), "image-chain-id = \"sha256:0\""),
            ("scripts = false".to_owned(), "scripts = true"),
            ("scripts = false".to_owned(), "scripts = 'no'"),
            ("archives = [\"bookworm\"]\ndeb = ".to_owned(), "archives = [\"trixie\"]\ndeb = "),
            ("archives = [\"bookworm\"]\ndeb = ".to_owned(), "deb = "),
            ("deb = \"qemu-user-static ".to_owned(), "image = \"a/b\"\ndeb = \"qemu-user-static "),
            ("deb = \"qemu-user-static ".to_owned(), "deb = \"QEMU "),
            ("path = \"/usr/bin/qemu-aarch64-static\"\n".to_owned(), ""),
            ("apt-sources = \"http://a/\"".to_owned(), &format!("image-chain-id = \"{chain}\"")),
        ] {
            let bad = text.replace(&from, to);
            assert_ne!(bad, text, "{from}");
            assert!(parse(&bad, Path::new("hermes.lock")).is_err(), "{from} -> {to}");
        }
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
