//! All packages of a lock, whatever they are for.

use std::collections::{BTreeMap, BTreeSet};

use crate::lock::diff::Entry;
use crate::lock::model::{Emulator, Image, Lock, Origin};
use crate::lock::root::Deb;

/// Packages of a lock that belong together.
#[derive(Debug, Clone)]
pub(crate) struct DebSet<'a> {
    /// The entry of the lock that has them.
    pub(crate) entry: Entry,
    pub(crate) debs: &'a [Deb],
    /// The names of the archives in the lock that they are from.
    pub(crate) archives: &'a [String],
    /// What is made of them; `None` if no machine has made it yet. A store that has it does not need the packages any more.
    pub(crate) made: Option<Made<'a>>,
}

/// What is made of packages.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Made<'a> {
    /// The image of a root, or of native tools.
    Image(&'a Image),
    /// The program of an emulator.
    Program(&'a Emulator),
}

impl Lock {
    /// The packages of roots, of native tools and of emulators.
    pub(crate) fn deb_sets(&self) -> impl Iterator<Item = DebSet<'_>> {
        let roots = self.roots.iter().map(|(key, root)| DebSet {
            entry: Entry::Root(key.0.clone(), key.1),
            debs: &root.debs,
            archives: &root.archives,
            made: self.image_of_root(key, root).map(Made::Image),
        });
        let natives = self.natives.iter().map(|(key, native)| DebSet {
            entry: Entry::Native(key.0.clone(), key.1),
            debs: &native.root.debs,
            archives: &native.root.archives,
            made: self.image_of_native(key, native).map(Made::Image),
        });
        let emulators = self.emulators.iter().filter_map(|(platform, emulator)| {
            let Some(Origin::Package(file)) = &emulator.origin else { return None };
            Some(DebSet {
                entry: Entry::Emulator(*platform),
                debs: std::slice::from_ref(&file.deb),
                archives: &file.archives,
                made: Some(Made::Program(emulator)),
            })
        });
        roots.chain(natives).chain(emulators)
    }

    /// Gives the only state of a suite that is in use the name of the suite.
    pub(crate) fn unify_archives(&mut self) {
        self.drop_unused_archives();
        let mut states: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, archive) in &self.archives {
            states.entry(archive.suite.clone()).or_default().push(name.clone());
        }
        for (suite, names) in states {
            let mut of = names.iter().filter_map(|name| self.archives.get(name));
            let Some(first) = of.next().cloned() else { continue };
            let is_kept = |name: &String| self.unknown.uses_archive(name) && *name != suite;
            if names == [suite.clone()] || names.iter().any(is_kept) || of.any(|other| other.release != first.release) {
                continue;
            }
            let mut one = first;
            for archive in names.iter().filter_map(|name| self.archives.remove(name)) {
                one.indexes.extend(archive.indexes);
            }
            self.archives.insert(suite.clone(), one);
            for used in self.archive_names() {
                used.iter_mut().filter(|name| names.contains(name)).for_each(|name| name.clone_from(&suite));
            }
        }
    }

    /// The names of archives in all entries.
    fn archive_names(&mut self) -> impl Iterator<Item = &mut Vec<String>> {
        let roots = self.roots.values_mut().map(|root| &mut root.archives);
        let natives = self.natives.values_mut().map(|native| &mut native.root.archives);
        let emulators = self.emulators.values_mut().filter_map(|emulator| match &mut emulator.origin {
            Some(Origin::Package(file)) => Some(&mut file.archives),
            _ => None,
        });
        roots.chain(natives).chain(emulators)
    }

    /// Removes archives that no package is from.
    pub fn drop_unused_archives(&mut self) {
        let used: BTreeSet<String> = self.deb_sets().flat_map(|set| set.archives).cloned().collect();
        let unknown = &self.unknown;
        self.archives.retain(|name, _| used.contains(name) || unknown.uses_archive(name));
    }
}
