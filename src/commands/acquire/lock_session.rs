//! A lock file, from the moment it is read until what was found is written into it.

use std::collections::BTreeMap;

use crate::commands::{Context, Error};
use crate::lock::{Build, Entry, Lock, LockFile, RootKey, ToolchainSourceKey, native_reference, root_reference};
use crate::store::Store;

/// A lock file that was read, and is to be added to.
pub(in crate::commands) struct LockSession<'a> {
    context: &'a Context,
    store: &'a Store,
    pub(in crate::commands) file: LockFile,
    /// What the file says, as far as it was read.
    pub(in crate::commands) lock: Lock,
}

/// New and changed entries for a lock.
#[derive(Debug, Default)]
pub(in crate::commands) struct Found {
    /// Entries that are new or changed. `build` replaces whatever the lock has.
    pub(in crate::commands) lock: Lock,
    /// Written where the lock has no `[build]`.
    pub(in crate::commands) missing_build: Option<Build>,
    /// Names of sources that the project has no longer.
    pub(in crate::commands) dropped_sources: Vec<String>,
    /// Sources that a toolchain has no longer.
    pub(in crate::commands) dropped_toolchain_sources: Vec<ToolchainSourceKey>,
}

/// Whose entries the lock file has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Merged {
    /// Those that were found.
    Ours,
    /// At least one entry is what another process wrote first. That process may already rely on it, so this one has to use it too.
    Theirs,
}

impl<'a> LockSession<'a> {
    /// Reads the lock file.
    pub(in crate::commands) fn open(context: &'a Context, store: &'a Store, file: LockFile) -> Result<Self, Error> {
        let lock = file.read()?;
        Ok(Self::of(context, store, file, lock))
    }

    /// A session with a lock that was read before.
    pub(in crate::commands) fn of(context: &'a Context, store: &'a Store, file: LockFile, lock: Lock) -> Self {
        Self { context, store, file, lock }
    }

    /// The lock would have to change, and must not.
    pub(in crate::commands) fn stale(&self, what: String) -> Error {
        Error::Stale { lock: self.file.path().to_owned(), what }
    }

    /// Writes into the lock file what was found, except where another process has changed an entry since it was read. With
    /// `--locked`, what was found in the lock that hermes ships is used, and not written.
    pub(in crate::commands) fn merge(&mut self, found: &Found) -> Result<Merged, Error> {
        if found.is_empty() {
            return Ok(Merged::Ours);
        }
        let (new, read) = (&found.lock, &self.lock);
        let put_all = |lock: &mut Lock| {
            if new.build.is_some() {
                lock.build.clone_from(&new.build);
            } else if lock.build.is_none() {
                lock.build.clone_from(&found.missing_build);
            }
            // The images of other packages.
            let roots = new.roots.iter().filter(|(key, root)| lock.roots.get(key).is_some_and(|old| old != *root));
            let roots =
                roots.filter_map(|(key, root)| Some((root_reference(&key.0, key.1, root.platform)?, root.platform)));
            let natives = new.natives.iter().filter(|(key, of)| lock.natives.get(key).is_some_and(|old| old != *of));
            let natives = natives.filter_map(|(key, of)| Some((native_reference(&key.0, key.1)?, of.root.platform)));
            let stale: Vec<_> = roots.chain(natives).filter(|key| !new.images.contains_key(key)).collect();
            lock.images.retain(|key, _| !stale.contains(key));
            put(&mut lock.images, &new.images, &read.images);
            put(&mut lock.emulators, &new.emulators, &read.emulators);
            put(&mut lock.sources, &new.sources, &read.sources);
            put(&mut lock.toolchain_sources, &new.toolchain_sources, &read.toolchain_sources);
            put(&mut lock.archives, &new.archives, &read.archives);
            put(&mut lock.roots, &new.roots, &read.roots);
            put(&mut lock.natives, &new.natives, &read.natives);
            lock.sources.retain(|name, _| !found.dropped_sources.contains(name));
            lock.toolchain_sources.retain(|key, _| !found.dropped_toolchain_sources.contains(key));
        };
        if self.context.locked {
            let mut now = read.clone();
            put_all(&mut now);
            self.lock = now;
            return Ok(Merged::Ours);
        }
        let now = self.file.update(put_all)?;
        let ours = has(&now.images, &new.images)
            && has(&now.emulators, &new.emulators)
            && has(&now.sources, &new.sources)
            && has(&now.toolchain_sources, &new.toolchain_sources)
            && has(&now.archives, &new.archives)
            && has(&now.roots, &new.roots)
            && has(&now.natives, &new.natives);
        let names = names(new);
        if !names.is_empty() {
            self.context.reporter.warn(&format!(
                "{} {names} in {}",
                if ours { "locked" } else { "another hermes has just locked" },
                self.file.path().display()
            ));
        }
        self.lock = now;
        Ok(if ours { Merged::Ours } else { Merged::Theirs })
    }

    /// Makes the lock file a root of the garbage collector: what it names stays in the store. The lock inside a record is no user's,
    /// and keeps nothing.
    pub(in crate::commands) fn add_gc_root(&self) {
        let path = self.file.path();
        if path.starts_with(self.store.records()) {
            return;
        }
        if let Err(error) = self.store.add_gc_root(path) {
            // In a store that cannot be written nothing is removed either.
            self.context.reporter.verbose(&format!("cannot keep the images in {}: {error}", path.display()));
        }
    }
}

impl Found {
    /// Whether there is nothing to be written.
    pub(in crate::commands) fn is_empty(&self) -> bool {
        self.lock == Lock::default() && self.dropped_sources.is_empty() && self.dropped_toolchain_sources.is_empty()
    }
}

fn put<K: Ord + Clone, V: Clone + PartialEq>(into: &mut BTreeMap<K, V>, new: &BTreeMap<K, V>, read: &BTreeMap<K, V>) {
    for (key, value) in new {
        if into.get(key) == read.get(key) {
            into.insert(key.clone(), value.clone());
        }
    }
}

fn has<K: Ord, V: PartialEq>(all: &BTreeMap<K, V>, some: &BTreeMap<K, V>) -> bool {
    some.iter().all(|(key, value)| all.get(key) == Some(value))
}

/// The entries of a lock, as text for the user.
fn names(lock: &Lock) -> String {
    let images = lock.images.keys().filter(|(reference, platform)| lock.root(reference, *platform).is_none());
    let images = images.map(|(reference, platform)| format!("{reference} for {}", platform.name()));
    let root = |(toolchain, platform): &RootKey| Entry::Root(toolchain.clone(), *platform).to_string();
    let images = images.chain(lock.roots.keys().map(root));
    let native = |(toolchain, platform): &RootKey| Entry::Native(toolchain.clone(), *platform).to_string();
    let images = images.chain(lock.natives.keys().map(native));
    let emulators = lock.emulators.keys().map(|platform| format!("the emulator for {}", platform.name()));
    let build = lock.build.iter().map(|_| "build settings".to_owned());
    let sources: Vec<_> = lock.sources.keys().map(String::as_str).collect();
    let sources = (!sources.is_empty()).then(|| format!("source {}", sources.join(", ")));
    let of_toolchain = |(toolchain, platform, name): &ToolchainSourceKey| {
        Entry::ToolchainSource(toolchain.clone(), *platform, name.clone()).to_string()
    };
    let of_toolchains = lock.toolchain_sources.keys().map(of_toolchain);
    images.chain(emulators).chain(build).chain(sources).chain(of_toolchains).collect::<Vec<_>>().join(", ")
}
