//! What is known of a root of packages before it is acquired.

use crate::archive::{self, ArchiveError};
use crate::commands::Context;
use crate::debian::Index;
use crate::digest::{Digest, Hasher};
use crate::dpkg::Architecture;
use crate::lock::{Archive, Emulator, Image, Lock, Root, RootKey, native_key, native_reference, root_reference};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::Store;
use crate::toolchain::Packages;

/// A root that is wanted, or native tools.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) struct WantedRoot<'a> {
    /// Its reserved reference.
    pub(in crate::commands) reference: &'a Reference,
    /// The toolchain, for the user's consent to its addresses.
    pub(in crate::commands) toolchain: Option<&'a str>,
    /// The definition, whose addresses are tried first; `None` where only the lock is known.
    pub(in crate::commands) packages: Option<&'a Packages>,
    pub(in crate::commands) root: &'a Root,
    pub(in crate::commands) archives: &'a [&'a Archive],
    /// The image, where a lock has it.
    pub(in crate::commands) locked: Option<&'a Image>,
    /// What runs the programs of a foreign platform; a blob in the store.
    pub(in crate::commands) emulator: Option<&'a Emulator>,
}

/// A root, or native tools, in a lock, with what this machine knows of the toolchain.
#[derive(Debug)]
pub(in crate::commands) struct LockedRoot<'a> {
    pub(in crate::commands) reference: Reference,
    toolchain: &'a str,
    packages: Option<Packages>,
    pub(in crate::commands) root: &'a Root,
    archives: Vec<&'a Archive>,
    pub(in crate::commands) image: Option<&'a Image>,
    /// The emulator in the lock, if its programs are foreign.
    pub(in crate::commands) emulator: Option<&'a Emulator>,
}

impl<'a> LockedRoot<'a> {
    /// All roots and native tools of a lock.
    pub(in crate::commands) fn all(context: &Context, lock: &'a Lock) -> Vec<Self> {
        let of_one = |key: &'a RootKey, reference: Option<Reference>, root: &'a Root| {
            let (toolchain, target) = key;
            let definition = context.catalog.target(toolchain, *target).ok();
            let packages = definition.and_then(|of| of.packages.or(of.archive.map(|archive| archive.packages)));
            let reference = reference?;
            Some(Self {
                image: lock.images.get(&(reference.clone(), root.platform)),
                reference,
                toolchain,
                packages,
                root,
                archives: lock.archives_of(root)?,
                emulator: lock.emulators.get(&root.platform).filter(|_| !Platform::host().runs(root.platform)),
            })
        };
        let roots = lock.roots.iter();
        let roots = roots.filter_map(|(key, root)| of_one(key, root_reference(&key.0, key.1, root.platform), root));
        let natives = lock.natives.iter();
        let natives = natives.filter_map(|(key, of)| of_one(key, native_reference(&key.0, key.1), &of.root));
        roots.chain(natives).collect()
    }

    /// Whether these are native tools.
    pub(in crate::commands) fn is_native(&self) -> bool {
        native_key(&self.reference).is_some()
    }

    /// The root as it is wanted.
    pub(in crate::commands) fn wanted(&self) -> WantedRoot<'_> {
        WantedRoot {
            reference: &self.reference,
            toolchain: Some(self.toolchain),
            packages: self.packages.as_ref(),
            root: self.root,
            archives: &self.archives,
            locked: self.image,
            emulator: self.emulator,
        }
    }
}

impl WantedRoot<'_> {
    /// What native tools are called in notes; `None` of a root.
    pub(super) fn tools(&self) -> Option<String> {
        native_key(self.reference).map(|(_, target)| format!("native tools for {}", target.name()))
    }

    /// The name in the store of the image that is composed of these packages, whoever asked for them. It covers the emulator:
    /// a project may name one that runs scripts in another way, and other projects must not get what comes of that.
    pub(super) fn name(&self) -> Option<Reference> {
        let digest = self.with_emulator(self.root.digest(self.archives)).hex();
        format!("{}/{}:{digest}", self.reference.registry(), self.reference.repository()).parse().ok()
    }

    /// Identifies the base of the root in the store, for all roots that have the same. It covers the emulator, as the name does.
    pub(super) fn base_key(&self) -> Digest {
        self.with_emulator(self.root.base_digest(self.archives))
    }

    fn with_emulator(&self, digest: Digest) -> Digest {
        let Some(emulator) = self.emulator.filter(|_| self.root.scripts) else { return digest };
        let mut hasher = Hasher::default();
        hasher.update(format!("{digest}\nemulator {}\n", emulator.digest).as_bytes());
        hasher.finish()
    }

    /// Reads the locked indexes that describe the packages, which `store` has, in their order.
    ///
    /// # Errors
    /// An index is missing, damaged or malformed; all of them are too large together.
    pub(super) fn read_indexes(&self, store: &Store, mut each: impl FnMut(Index)) -> Result<(), ArchiveError> {
        let architecture = Architecture::of(self.root.platform);
        let mut left = archive::MAX_INDEXES;
        for archive in self.archives {
            for (path, blob) in self.root.indexes(archive) {
                each(archive::read_index(store, blob, &archive.suite, path, &architecture, &mut left)?);
            }
        }
        Ok(())
    }

    /// The text for apt in the root.
    pub(super) fn apt_sources(&self) -> Option<String> {
        let (uri, archive) = (self.root.apt_sources.as_ref()?, self.archives.first()?);
        Some(archive::for_root(uri, &archive.codename, &self.root.components, self.root.epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_emulator_makes_of_packages_has_a_name_of_its_own() {
        let reference = root_reference("own", Platform::Arm64, Platform::Arm64).unwrap();
        let root = Root {
            platform: Platform::Arm64,
            request: vec![],
            archives: vec![],
            components: vec![],
            composer: 1,
            epoch: 1,
            apt_sources: None,
            scripts: true,
            debs: vec![],
        };
        let emulators = [b"one", b"two"].map(|bytes| Emulator::new(Digest::of(bytes), 3));
        let names = |root: &Root| {
            [None, Some(&emulators[0]), Some(&emulators[1])].map(|emulator| {
                let wanted = WantedRoot {
                    reference: &reference,
                    toolchain: None,
                    packages: None,
                    root,
                    archives: &[],
                    locked: None,
                    emulator,
                };
                (wanted.name().unwrap().to_string(), wanted.base_key())
            })
        };
        // It makes nothing of packages whose scripts do not run.
        let unpacked = names(&Root { scripts: false, ..root.clone() });
        let names = names(&root);
        assert!(unpacked[0] == unpacked[1] && unpacked[0] != names[0], "{unpacked:?}");
        let (names, keys): (Vec<_>, Vec<_>) = names.into_iter().unzip();
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2], "{keys:?}");
        assert!(names.iter().all(|name| name.starts_with("packages.hermes.invalid/own:")), "{names:?}");
        assert!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2], "{names:?}");
    }
}
