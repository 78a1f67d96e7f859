//! Comparing locks, entry by entry.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize as _, Serialize, Serializer};

use crate::digest::Digest;
use crate::lock::{
    Archive, Build, Emulator, Image, Lock, NativeTools, Origin, Root, RootKey, Source, ToolchainSourceKey,
    native_reference, root_reference,
};
use crate::platform::Platform;
use crate::reference::Reference;

/// The name of an entry of a lock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// An image for a platform.
    Image(Reference, Platform),
    /// The emulator of a platform.
    Emulator(Platform),
    /// A source.
    Source(String),
    /// A source of a toolchain, for a target platform.
    ToolchainSource(String, Platform, String),
    /// A setting of `[build]`.
    Build(String),
    /// The state of an archive of packages.
    Archive(String),
    /// The root of a toolchain of packages, for a target platform.
    Root(String, Platform),
    /// Native tools of a toolchain, for a target platform.
    Native(String, Platform),
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(reference, platform) => write!(f, "{reference} for {}", platform.name()),
            Self::Emulator(platform) => write!(f, "emulator for {}", platform.name()),
            Self::Source(name) => write!(f, "source {name}"),
            Self::ToolchainSource(toolchain, platform, name) => {
                write!(f, "source {name} of {toolchain} for {}", platform.name())
            }
            Self::Build(setting) => write!(f, "build.{setting}"),
            Self::Archive(name) => write!(f, "archive {name}"),
            Self::Root(toolchain, platform) => write!(f, "packages of {toolchain} for {}", platform.name()),
            Self::Native(toolchain, platform) => write!(f, "native tools of {toolchain} for {}", platform.name()),
        }
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An entry that differs between two locks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub entry: Entry,
    /// Its value in the first lock, if it has the entry.
    pub old: Option<String>,
    /// Its value in the second lock, if it has the entry.
    pub new: Option<String>,
}

/// The entries that differ between `old` and `new`, sorted. Ignores the sandbox policy, and values that one of the locks
/// lacks: `[build]` in version 1, the tree digest of an image that was not unpacked.
#[must_use]
pub fn differences(old: &Lock, new: &Lock) -> Vec<Change> {
    let settings = old.build.as_ref().zip(new.build.as_ref()).map(|(old, new)| (settings(old), settings(new)));
    let (old_settings, new_settings) = settings.unwrap_or_default();
    let build = changes(&old_settings, &new_settings, |setting| Entry::Build(setting.clone()), Clone::clone);
    let image = |(reference, platform): &(Reference, Platform)| Entry::Image(reference.clone(), *platform);
    let images = changes(&contents(old), &contents(new), image, |image: &Image| image.top().digest.to_string());
    let emulators = changes(&old.emulators, &new.emulators, |platform| Entry::Emulator(*platform), described);
    let sources = changes(&old.sources, &new.sources, |name| Entry::Source(name.clone()), recipe);
    let of_toolchain = |(toolchain, platform, name): &ToolchainSourceKey| {
        Entry::ToolchainSource(toolchain.clone(), *platform, name.clone())
    };
    let of_toolchains = changes(&old.toolchain_sources, &new.toolchain_sources, of_toolchain, recipe);
    let archive = |name: &String| Entry::Archive(name.clone());
    let archives = changes(&signed(old), &signed(new), archive, ToString::to_string);
    let root = |(toolchain, platform): &RootKey| Entry::Root(toolchain.clone(), *platform);
    let roots = changes(&composed(old), &composed(new), root, ToString::to_string);
    let native = |(toolchain, platform): &RootKey| Entry::Native(toolchain.clone(), *platform);
    let natives = changes(&composed_tools(old), &composed_tools(new), native, ToString::to_string);
    [images, roots, natives, archives, emulators, sources, of_toolchains, build].concat()
}

/// What is signed of an archive; not the address at which it was found.
#[derive(PartialEq, Eq)]
struct Signed(Archive);

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Archive { codename, date, release, .. }) = self;
        write!(f, "{codename} of {}, {}", time(*date), release.digest)
    }
}

fn signed(lock: &Lock) -> BTreeMap<String, Signed> {
    let without_place = |archive: &Archive| Signed(Archive { uri: None, ..archive.clone() });
    lock.archives.iter().map(|(name, archive)| (name.clone(), without_place(archive))).collect()
}

/// A root or native tools, and their image, where it was composed.
struct Composed<'a> {
    root: &'a Root,
    image: Option<Image>,
    /// Of native tools: what they are for.
    of_image: Option<Digest>,
}

impl PartialEq for Composed<'_> {
    fn eq(&self, other: &Self) -> bool {
        // A lock may lack the image.
        let images = self.image.as_ref().zip(other.image.as_ref());
        (self.root, self.of_image) == (other.root, other.of_image) && images.is_none_or(|(one, two)| one == two)
    }
}

impl fmt::Display for Composed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, archives) = (self.root.debs.len(), self.root.archives.join(", "));
        let s = if count == 1 { "" } else { "s" };
        write!(f, "{count} package{s} of {archives}")?;
        self.image.as_ref().map_or(Ok(()), |image| write!(f, ", {}", image.manifest.digest))
    }
}

fn composed(lock: &Lock) -> BTreeMap<RootKey, Composed<'_>> {
    let mut all = BTreeMap::new();
    for (key, root) in &lock.roots {
        let image = lock.image_of_root(key, root).map(without_tree);
        all.insert(key.clone(), Composed { root, image, of_image: None });
    }
    all
}

fn composed_tools(lock: &Lock) -> BTreeMap<RootKey, Composed<'_>> {
    let mut all = BTreeMap::new();
    for (key, native) in &lock.natives {
        let image = lock.image_of_native(key, native).map(without_tree);
        all.insert(key.clone(), Composed { root: &native.root, image, of_image: Some(native.image) });
    }
    all
}

fn without_tree(image: &Image) -> Image {
    Image { tree: None, ..image.clone() }
}

/// A date in ISO 8601.
fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0));
    time.map_or_else(|| seconds.to_string(), |time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// The images but those of roots, without the tree digests, which a lock may lack.
fn contents(lock: &Lock) -> BTreeMap<(Reference, Platform), Image> {
    let images = lock.images.iter().filter(|((reference, platform), _)| lock.root(reference, *platform).is_none());
    images.map(|(key, image)| (key.clone(), without_tree(image))).collect()
}

/// Describes a source: package, archive, stripped components, patches.
fn recipe(source: &Source) -> String {
    let package = source.package.as_ref().map_or(String::new(), |package| format!("{}, ", package.requirement));
    let strip = format!("{package}{} without {} leading components", source.digest, source.strip);
    source.patches.iter().fold(strip, |text, patch| text + ", patched by " + &patch.short())
}

fn described(emulator: &Emulator) -> String {
    let version = emulator.version.as_ref().map(|version| format!(" (QEMU {version})"));
    format!("{}{}", emulator.digest, version.unwrap_or_default())
}

fn changes<K: Ord, V: PartialEq>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
    entry: impl Fn(&K) -> Entry,
    shown: impl Fn(&V) -> String,
) -> Vec<Change> {
    let keys: BTreeSet<&K> = old.keys().chain(new.keys()).collect();
    keys.into_iter()
        .map(|key| (key, old.get(key), new.get(key)))
        .filter(|(_, old, new)| old != new)
        .map(|(key, old, new)| Change { entry: entry(key), old: old.map(&shown), new: new.map(&shown) })
        .collect()
}

/// The settings as in the file, without the policy.
fn settings(build: &Build) -> BTreeMap<String, String> {
    let table = toml::Table::try_from(build).unwrap_or_default();
    table.into_iter().filter(|(name, _)| name != "policy").map(|(name, value)| (name, value.to_string())).collect()
}

impl Lock {
    /// Takes one entry from `other`; removes it if `other` has none.
    pub fn take(&mut self, entry: &Entry, other: &Self) {
        fn put<K: Ord + Clone, V: Clone>(into: &mut BTreeMap<K, V>, key: &K, from: &BTreeMap<K, V>) {
            match from.get(key) {
                Some(value) => drop(into.insert(key.clone(), value.clone())),
                None => drop(into.remove(key)),
            }
        }
        match entry {
            Entry::Image(reference, platform) => {
                put(&mut self.images, &(reference.clone(), *platform), &other.images);
            }
            Entry::Emulator(platform) => {
                put(&mut self.emulators, platform, &other.emulators);
                if let Some(Origin::Package(file)) = other.emulators.get(platform).and_then(|of| of.origin.as_ref()) {
                    self.copy_archives(&file.archives, other);
                }
            }
            Entry::Source(name) => put(&mut self.sources, name, &other.sources),
            Entry::ToolchainSource(toolchain, platform, name) => {
                let key = (toolchain.clone(), *platform, name.clone());
                put(&mut self.toolchain_sources, &key, &other.toolchain_sources);
            }
            Entry::Archive(name) => put(&mut self.archives, name, &other.archives),
            Entry::Root(toolchain, platform) => self.take_root(&(toolchain.clone(), *platform), other),
            Entry::Native(toolchain, platform) => self.take_native(&(toolchain.clone(), *platform), other),
            Entry::Build(setting) => {
                self.build =
                    self.build.as_ref().zip(other.build.as_ref()).map(|(own, other)| with(own, setting, other));
            }
        }
    }
}

impl Lock {
    /// Takes a root from `other` with its image and archives; removes it if `other` has none.
    fn take_root(&mut self, key: &RootKey, other: &Self) {
        let image_key = |root: &Root| Some((root_reference(&key.0, key.1, root.platform)?, root.platform));
        if let Some(old) = self.roots.remove(key).as_ref().and_then(image_key) {
            self.images.remove(&old);
        }
        let Some(root) = other.roots.get(key) else { return };
        self.copy_archives(&root.archives, other);
        if let Some(key) = image_key(root) {
            self.images.extend(other.images.get(&key).map(|image| (key, image.clone())));
        }
        self.roots.insert(key.clone(), root.clone());
    }

    /// The same of native tools.
    fn take_native(&mut self, key: &RootKey, other: &Self) {
        let image_key = |native: &NativeTools| Some((native_reference(&key.0, key.1)?, native.root.platform));
        if let Some(old) = self.natives.remove(key).as_ref().and_then(image_key) {
            self.images.remove(&old);
        }
        let Some(native) = other.natives.get(key) else { return };
        self.copy_archives(&native.root.archives, other);
        if let Some(key) = image_key(native) {
            self.images.extend(other.images.get(&key).map(|image| (key, image.clone())));
        }
        self.natives.insert(key.clone(), native.clone());
    }
}

/// Takes one setting of `other` into `own`.
fn with(own: &Build, setting: &str, other: &Build) -> Build {
    let [mut table, mut from] = [own, other].map(|build| toml::Table::try_from(build).unwrap_or_default());
    match from.remove(setting) {
        Some(value) => drop(table.insert(setting.to_owned(), value)),
        None => drop(table.remove(setting)),
    }
    // Settings are valid independently of each other.
    Build::deserialize(toml::Value::Table(table)).unwrap_or_else(|_| own.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::BuildSettings;
    use crate::oci::Descriptor;

    fn lock(images: &[(&str, &str)], build: &str) -> Lock {
        let wanted: BuildSettings = toml::from_str(build).unwrap();
        let mut lock = Lock { build: Some(Build::new(&wanted, Digest::of(build.as_bytes()))), ..Lock::default() };
        for (name, content) in images {
            let blob = Descriptor::new("", Digest::of(content.as_bytes()), 1);
            let tree = Some(blob.digest).filter(|_| content.len() > 1);
            let (manifest, config) = (blob.clone(), blob);
            let image =
                Image { platform: Platform::Amd64, label: None, index: None, manifest, config, layers: vec![], tree };
            lock.images.insert((name.parse().unwrap(), Platform::Amd64), image);
        }
        lock
    }

    #[test]
    fn entries_that_differ_and_no_others() {
        let old = lock(&[("same", "s"), ("moved", "a"), ("gone", "b")], "epoch = 1\nenv = { A = '1' }\n");
        let mut new = lock(&[("same", "s"), ("moved", "x"), ("added", "c")], "epoch = 2\nuid = 1000\n");
        new.emulators.insert(Platform::Arm64, Emulator::new(Digest::of(b"qemu"), 4));
        let found: Vec<_> = differences(&old, &new)
            .into_iter()
            .map(|change| (change.entry.to_string(), change.old.is_some(), change.new.is_some()))
            .collect();
        let want = [
            ("docker.io/library/added:latest for linux-x86_64", false, true),
            ("docker.io/library/gone:latest for linux-x86_64", true, false),
            ("docker.io/library/moved:latest for linux-x86_64", true, true),
            ("emulator for linux-aarch64", false, true),
            ("build.env", true, false),
            ("build.epoch", true, true),
        ];
        assert_eq!(found, want.map(|(entry, old, new)| (entry.to_owned(), old, new)));
        assert_eq!(differences(&new, &new), []);
        // A value that one of them lacks is no difference.
        let known = lock(&[("i", "xx")], "");
        let mut unknown = Lock { build: None, ..known.clone() };
        unknown.images.values_mut().for_each(|image| image.tree = None);
        assert_eq!(differences(&known, &unknown), []);
    }

    #[test]
    fn entries_are_taken_one_by_one() {
        let old = lock(&[("moved", "a"), ("gone", "b")], "epoch = 1\nenv = { A = '1' }\n");
        let new = lock(&[("moved", "x"), ("added", "c")], "epoch = 2\n");
        let changes = differences(&old, &new);
        assert_eq!(changes.len(), 5);
        for change in &changes {
            let mut one = old.clone();
            one.take(&change.entry, &new);
            assert_eq!(differences(&old, &one), std::slice::from_ref(change), "only what was taken");
        }
        let mut all = old.clone();
        for change in &changes {
            all.take(&change.entry, &new);
        }
        assert_eq!(differences(&all, &new), []);
    }
}
