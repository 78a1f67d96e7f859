//! Comparing locks, entry by entry.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize as _, Serialize, Serializer};

use crate::lock::{Build, Emulator, Image, Lock, Source};
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
    /// A setting of `[build]`.
    Build(String),
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Image(reference, platform) => write!(f, "{reference} for {}", platform.name()),
            Self::Emulator(platform) => write!(f, "emulator for {}", platform.name()),
            Self::Source(name) => write!(f, "source {name}"),
            Self::Build(setting) => write!(f, "build.{setting}"),
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
    [images, emulators, sources, build].concat()
}

/// The images, without the tree digests, which a lock may lack.
fn contents(lock: &Lock) -> BTreeMap<(Reference, Platform), Image> {
    lock.images.iter().map(|(key, image)| (key.clone(), Image { tree: None, ..image.clone() })).collect()
}

/// Describes a source: archive, stripped components, patches.
fn recipe(source: &Source) -> String {
    let strip = format!("{} without {} leading components", source.digest, source.strip);
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
            Entry::Emulator(platform) => put(&mut self.emulators, platform, &other.emulators),
            Entry::Source(name) => put(&mut self.sources, name, &other.sources),
            Entry::Build(setting) => {
                self.build =
                    self.build.as_ref().zip(other.build.as_ref()).map(|(own, other)| with(own, setting, other));
            }
        }
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
    use crate::digest::Digest;
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
