//! Packages that were chosen, and how they get into a lock.

use std::collections::{BTreeMap, BTreeSet};

use crate::archive::Suite;
use crate::digest::Digest;
use crate::dpkg::Request;
use crate::lock::{Archive, Deb, Entry, Lock, NativeTools, Root, RootKey, native_reference};
use crate::platform::Platform;
use crate::toolchain::Packages;

/// The version of the rules by which this hermes composes roots.
pub(in crate::commands) const COMPOSER: u32 = 1;

/// A root whose packages were chosen, and its archives.
#[derive(Debug)]
pub(in crate::commands) struct Solved {
    pub(in crate::commands) root: Root,
    /// In the order of the suites, with their indexes; without names.
    pub(in crate::commands) archives: Vec<Archive>,
}

impl Solved {
    /// These packages for programs of `platform`, out of the suites of `wanted`, for `request`.
    pub(super) fn new(
        wanted: &Packages,
        platform: Platform,
        request: Vec<Request>,
        mut debs: Vec<Deb>,
        suites: Vec<Suite>,
    ) -> Self {
        debs.sort_by(|a, b| a.name.cmp(&b.name));
        let archives: Vec<_> = suites.into_iter().map(|suite| suite.archive).collect();
        let newest = archives.iter().map(|archive| archive.date).max().unwrap_or_default();
        let root = Root {
            platform,
            request,
            archives: Vec::new(),
            components: wanted.debian.components.clone(),
            composer: COMPOSER,
            epoch: wanted.debian.epoch.unwrap_or(newest),
            apt_sources: wanted.debian.apt_sources.clone(),
            scripts: wanted.scripts,
            debs,
        };
        Self { root, archives }
    }

    /// A root of a lock, with the parts of its archives that concern it.
    pub(super) fn of(root: &Root, archives: &[&Archive]) -> Self {
        let own = |archive: &&Archive| {
            let indexes = root.indexes(archive).into_iter();
            let indexes = indexes.map(|(path, blob)| (path.clone(), blob.clone())).collect();
            Archive { indexes, ..(*archive).clone() }
        };
        Self { root: root.clone(), archives: archives.iter().map(own).collect() }
    }

    /// Adds the root `key` to `lock`, and replaces an older one.
    pub(in crate::commands) fn put(self, lock: &mut Lock, key: RootKey) {
        let Self { mut root, archives } = self;
        root.archives = put_archives(lock, &Entry::Root(key.0.clone(), key.1), archives);
        lock.roots.insert(key, root);
    }

    /// Adds native tools for the image with this chain id to `lock`, and replaces older ones.
    pub(in crate::commands) fn put_native(self, lock: &mut Lock, key: RootKey, image: Digest) {
        let Self { mut root, archives } = self;
        root.archives = put_archives(lock, &Entry::Native(key.0.clone(), key.1), archives);
        if let Some(reference) = native_reference(&key.0, key.1) {
            lock.images.remove(&(reference, root.platform));
        }
        lock.natives.insert(key, NativeTools { image, root });
    }
}

/// Adds the archives of a new `entry` to `lock`. The archive of a suite has the name of the suite, unless an entry that stays uses
/// another state of it. Returns the names.
pub(in crate::commands) fn put_archives(lock: &mut Lock, entry: &Entry, archives: Vec<Archive>) -> Vec<String> {
    let names = names(lock, entry, &archives);
    for (name, archive) in names.iter().zip(archives) {
        let known = lock.archives.get(name).filter(|known| known.release == archive.release);
        let mut indexes = known.map(|known| known.indexes.clone()).unwrap_or_default();
        indexes.extend(archive.indexes);
        let uri = known.map_or(archive.uri, |known| known.uri.clone());
        lock.archives.insert(name.clone(), Archive { uri, indexes, ..archive });
    }
    names
}

/// The names of `archives` in `lock`, for a new `entry`.
fn names(lock: &Lock, entry: &Entry, archives: &[Archive]) -> Vec<String> {
    let others: BTreeSet<&String> =
        lock.deb_sets().filter(|set| set.entry != *entry).flat_map(|set| set.archives).collect();
    let mut taken: BTreeMap<String, &Archive> = BTreeMap::new();
    for archive in archives {
        let is_free = |name: &String| {
            let of_others = lock.archives.get(name).filter(|_| others.contains(name));
            of_others.or(taken.get(name).copied()).is_none_or(|known| known.release == archive.release)
        };
        let with_date = format!("{}@{}", archive.suite, archive.date);
        let with_digest = format!("{}@{}", archive.suite, archive.release.digest.hex());
        let names = [archive.suite.clone(), with_date, with_digest];
        let name = names.iter().find(|name| is_free(name)).unwrap_or(&names[2]).clone();
        taken.insert(name, archive);
    }
    // In the order of the suites.
    let name_of =
        |archive: &Archive| taken.iter().find(|(_, of)| std::ptr::eq(**of, archive)).map(|(name, _)| name.clone());
    archives.iter().filter_map(name_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Descriptor;

    fn archive(suite: &str, state: &str, date: u64) -> Archive {
        let blob = |text: &str| Descriptor::new("", Digest::of(text.as_bytes()), 1);
        Archive {
            suite: suite.into(),
            uri: None,
            codename: suite.into(),
            date,
            release: blob(state),
            signed_by: vec![],
            indexes: BTreeMap::from([(format!("index of {state}"), blob(state))]),
        }
    }

    fn solved(archives: Vec<Archive>) -> Solved {
        let root = Root {
            platform: Platform::Amd64,
            request: vec![],
            archives: vec![],
            components: vec!["main".into()],
            composer: COMPOSER,
            epoch: 1,
            apt_sources: None,
            scripts: true,
            debs: vec![],
        };
        Solved { root, archives }
    }

    #[test]
    fn states_of_a_suite_that_other_roots_use_stay() {
        let mut lock = Lock::default();
        let key = |name: &str| (name.to_owned(), Platform::Amd64);
        solved(vec![archive("a", "old", 1), archive("b", "b", 1)]).put(&mut lock, key("one"));
        solved(vec![archive("a", "old", 1)]).put(&mut lock, key("two"));
        assert_eq!(lock.archives.keys().collect::<Vec<_>>(), ["a", "b"]);
        // The other one still uses the old state.
        solved(vec![archive("a", "new", 2)]).put(&mut lock, key("two"));
        lock.drop_unused_archives();
        assert_eq!(lock.archives.keys().collect::<Vec<_>>(), ["a", "a@2", "b"]);
        assert_eq!(lock.roots[&key("one")].archives, ["a", "b"]);
        assert_eq!(lock.roots[&key("two")].archives, ["a@2"]);
        // Now nobody does.
        solved(vec![archive("a", "new", 2)]).put(&mut lock, key("one"));
        solved(vec![archive("a", "new", 2)]).put(&mut lock, key("two"));
        lock.drop_unused_archives();
        assert_eq!(lock.archives.keys().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn native_tools_share_the_state_of_their_root() {
        let mut lock = Lock::default();
        let key = |platform| ("own".to_owned(), platform);
        solved(vec![archive("a", "old", 1)]).put(&mut lock, key(Platform::Arm64));
        solved(vec![archive("a", "old", 1)]).put_native(&mut lock, key(Platform::Arm64), Digest::of(b"image"));
        assert_eq!(lock.archives.keys().collect::<Vec<_>>(), ["a"]);
        // They stay with theirs when the root gets another.
        solved(vec![archive("a", "new", 2)]).put(&mut lock, key(Platform::Arm64));
        lock.drop_unused_archives();
        assert_eq!(lock.archives.keys().collect::<Vec<_>>(), ["a", "a@2"]);
        solved(vec![archive("a", "new", 2)]).put_native(&mut lock, key(Platform::Arm64), Digest::of(b"image"));
        lock.drop_unused_archives();
        assert_eq!(lock.archives.keys().collect::<Vec<_>>(), ["a", "a@2"], "one state by two names");
        lock.unify_archives();
        assert_eq!(lock.archives.keys().collect::<Vec<_>>(), ["a"]);
        assert!(lock.deb_sets().all(|set| set.archives == ["a"]));
    }

    #[test]
    fn two_states_of_one_date_get_different_names() {
        let mut lock = Lock::default();
        let key = |name: &str| (name.to_owned(), Platform::Amd64);
        for (name, state) in [("one", "x"), ("two", "y"), ("three", "z")] {
            solved(vec![archive("a", state, 1)]).put(&mut lock, key(name));
        }
        assert_eq!(lock.archives.len(), 3);
        assert_eq!(lock.archives.values().map(|archive| archive.release.digest).collect::<BTreeSet<_>>().len(), 3);
    }
}
