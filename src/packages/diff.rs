//! Differences between the packages of two images.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::packages::{Inventory, Kind, Package};

/// Packages that are not the same in two images, each list sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct PackageChanges {
    /// Those only the new image has.
    pub added: Vec<Package>,
    /// Those only the old image has.
    pub removed: Vec<Package>,
    /// Those of which it has another version.
    pub changed: Vec<Changed>,
}

/// A package with two versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Changed {
    /// Its package manager.
    pub kind: Kind,
    pub name: String,
    pub architecture: String,
    /// The version in the old image.
    pub old: String,
    /// The version in the new one.
    pub new: String,
}

/// By what a package of two images is the same one.
type Key<'a> = (Kind, &'a str, &'a str);

impl PackageChanges {
    /// What changed from `old` to `new`. Of a package that is there in several versions at once, as kernels are,
    /// those that both have are left out.
    #[must_use]
    pub(crate) fn between(old: &Inventory, new: &Inventory) -> Self {
        let (old, new) = (versions(old), versions(new));
        let mut changes = Self::default();
        for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            let none = BTreeMap::new();
            let (before, after) = (old.get(key).unwrap_or(&none), new.get(key).unwrap_or(&none));
            let mut gone: Vec<&Package> = before
                .iter()
                .filter(|(version, _)| !after.contains_key(*version))
                .map(|(_, package)| *package)
                .collect();
            let mut come: Vec<&Package> = after
                .iter()
                .filter(|(version, _)| !before.contains_key(*version))
                .map(|(_, package)| *package)
                .collect();
            let both = gone.len().min(come.len());
            for (old, new) in gone.drain(..both).zip(come.drain(..both)) {
                let (kind, name, architecture) = (old.kind, old.name.clone(), old.architecture.clone());
                let (old, new) = (old.version.clone(), new.version.clone());
                changes.changed.push(Changed { kind, name, architecture, old, new });
            }
            changes.removed.extend(gone.into_iter().cloned());
            changes.added.extend(come.into_iter().cloned());
        }
        changes
    }
}

fn versions(inventory: &Inventory) -> BTreeMap<Key<'_>, BTreeMap<&str, &Package>> {
    let mut versions: BTreeMap<Key<'_>, BTreeMap<&str, &Package>> = BTreeMap::new();
    for package in &inventory.packages {
        let key = (package.kind, &*package.name, &*package.architecture);
        versions.entry(key).or_default().insert(&package.version, package);
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(packages: &[&str]) -> Inventory {
        let package = |text: &&str| {
            let [name, architecture, version]: [&str; 3] = text.split(' ').collect::<Vec<_>>().try_into().unwrap();
            Package {
                kind: Kind::Deb,
                name: name.into(),
                architecture: architecture.into(),
                version: version.into(),
                source: None,
                license: None,
            }
        };
        Inventory { packages: packages.iter().map(package).collect(), ..Inventory::default() }
    }

    #[test]
    fn added_removed_and_changed() {
        let old = inventory(&[
            "gcc amd64 12",
            "libc6 amd64 2.36",
            "libc6 i386 2.36",
            "linux amd64 5",
            "linux amd64 6",
            "perl all 5",
        ]);
        let new = inventory(&[
            "gcc amd64 13",
            "libc6 amd64 2.36",
            "linux amd64 6",
            "linux amd64 7",
            "linux amd64 8",
            "zlib amd64 1",
        ]);
        let changes = PackageChanges::between(&old, &new);
        let names = |packages: &[Package]| -> Vec<_> {
            packages
                .iter()
                .map(|package| format!("{} {} {}", package.name, package.architecture, package.version))
                .collect()
        };
        assert_eq!(names(&changes.added), ["linux amd64 8", "zlib amd64 1"]);
        assert_eq!(names(&changes.removed), ["libc6 i386 2.36", "perl all 5"]);
        let versions: Vec<_> = changes.changed.iter().map(|it| format!("{} {} {}", it.name, it.old, it.new)).collect();
        assert_eq!(versions, ["gcc 12 13", "linux 5 7"]);
        let same = PackageChanges::between(&old, &old);
        assert!(same.added.is_empty() && same.removed.is_empty() && same.changed.is_empty());
    }
}
