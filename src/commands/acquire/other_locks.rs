//! The locks that are used where the lock file of a command has no entry: that of the user for the toolchain, and the one that
//! hermes ships.

use super::packages::newest;
use super::solved::{Solved, put_archives};
use crate::commands::{Context, Error, Target};
use crate::digest::Digest;
use crate::dpkg::Architecture;
use crate::hint::error_chain;
use crate::lock::{Archive, Emulator, Entry, Image, Lock, LockFile, Origin, RootKey, native_reference};
use crate::platform::Platform;
use crate::reference::Reference;

/// The other locks of a toolchain.
#[derive(Debug, Default)]
pub(in crate::commands) struct OtherLocks {
    /// The user's lock, for a project. Only its packages are used: images are resolved by the names in the store.
    user: Lock,
    /// The lock that hermes ships.
    shipped: Lock,
}

impl OtherLocks {
    /// The other locks of `toolchain`; empty ones if a lock file is required to have all entries: that of a project with
    /// `--locked`. Outside of projects the shipped lock counts as locked.
    pub(in crate::commands) fn of(context: &Context, toolchain: &str) -> Result<Self, Error> {
        let is_shared = context.shared_lock().is_some();
        if context.locked && is_shared {
            return Ok(Self::default());
        }
        let user = LockFile::own(context.locks.join(format!("{toolchain}.lock")));
        let user = if is_shared { user.read() } else { Ok(Lock::default()) };
        let user = user.unwrap_or_else(|error| {
            // Nothing needs it.
            context.reporter.verbose(&error_chain(&error));
            Lock::default()
        });
        let shipped = context.catalog.shipped_lock(toolchain)?.unwrap_or_default();
        Ok(Self { user, shipped })
    }

    /// The packages of `target`, and their image if it was composed. None of another state of an archive than `known` has: all
    /// roots of a lock are chosen from one state, as far as possible.
    pub(in crate::commands) fn root(&self, target: &Target, known: &Lock) -> Option<(Solved, Option<Image>)> {
        let wanted = target.packages.as_ref()?;
        [&self.user, &self.shipped].into_iter().find_map(|lock| {
            let (reference, platform) = target.key();
            let root = lock.root(reference, platform)?;
            let solved = Solved::of(root, &lock.archives_of(root)?);
            let fits = root.fits(wanted, platform, &solved.archives.iter().collect::<Vec<_>>());
            let is_known =
                |archive: &Archive| newest(known, &archive.suite).is_none_or(|known| known.release == archive.release);
            let image = lock.images.get(&(reference.clone(), platform)).cloned();
            (fits && solved.archives.iter().all(is_known)).then_some((solved, image))
        })
    }

    /// The image of a reference.
    pub(in crate::commands) fn image(&self, key: &(Reference, Platform)) -> Option<&Image> {
        self.shipped.images.get(key)
    }

    /// Puts the native tools `key` for the image with this chain id, on this host, into `lock`, with their image if it was
    /// composed. Returns whether a lock has them.
    pub(in crate::commands) fn native(&self, key: &RootKey, chain: Digest, lock: &mut Lock) -> bool {
        let found = [&self.user, &self.shipped].into_iter().find_map(|other| {
            let native = other.natives.get(key).filter(|native| native.image == chain)?;
            let root = Some(&native.root).filter(|root| root.platform == Platform::host())?;
            Some((Solved::of(root, &other.archives_of(root)?), other.image_of_native(key, native)))
        });
        let Some((solved, image)) = found else { return false };
        solved.put_native(lock, key.clone(), chain);
        let reference = native_reference(&key.0, key.1).map(|reference| (reference, Platform::host()));
        lock.images.extend(reference.zip(image.cloned()));
        true
    }

    /// Puts the emulator for a platform into `lock`, with the image or the archives that it can be fetched from.
    pub(in crate::commands) fn emulator(&self, platform: Platform, lock: &mut Lock) {
        let is_package = |emulator: &&Emulator| matches!(emulator.origin, Some(Origin::Package(_)));
        let of_user = self.user.emulators.get(&platform).filter(is_package).map(|emulator| (&self.user, emulator));
        let of_hermes = || self.shipped.emulators.get(&platform).map(|emulator| (&self.shipped, emulator));
        let Some((other, emulator)) = of_user.or_else(of_hermes) else { return };
        let mut emulator = emulator.clone();
        match &mut emulator.origin {
            Some(Origin::Image(file)) => {
                let key = (file.image.clone(), Platform::host());
                lock.images.extend(other.images.get(&key).map(|image| (key.clone(), image.clone())));
            }
            Some(Origin::Package(file)) => {
                let Some(archives) = other.archives_named(&file.archives) else { return };
                let archives = archives.into_iter().map(|archive| for_architecture(archive, &file.deb.architecture));
                file.archives = put_archives(lock, &Entry::Emulator(platform), archives.collect());
            }
            None => {}
        }
        lock.emulators.insert(platform, emulator);
    }
}

/// An archive with the indexes for one architecture alone.
fn for_architecture(archive: &Archive, architecture: &Architecture) -> Archive {
    let part = format!("/binary-{architecture}/");
    let indexes = archive.indexes.iter().filter(|(path, _)| path.contains(&part));
    let indexes = indexes.map(|(path, blob)| (path.clone(), blob.clone())).collect();
    Archive { indexes, ..archive.clone() }
}
