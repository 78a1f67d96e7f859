//! Roots of packages in a lock: chosen again where that is asked for, and composed where this host can.

use super::{Renewal, Request, What};
use crate::commands::acquire::{Solved, State, WantedRoot};
use crate::commands::{Context, Error, Target, TargetSelector};
use crate::hint::error_chain;
use crate::lock::{Archive, Emulator, Image, Lock, RootKey, root_key, root_reference};
use crate::platform::Platform;
use crate::reference::Reference;

impl What {
    /// Whether the packages of this toolchain are chosen again.
    pub(super) fn renews_packages(&self, toolchain: &str) -> bool {
        match self {
            Self::Complete => false,
            Self::Check => true,
            Self::Update(names) => names.is_empty() || names.iter().any(|name| name == toolchain),
        }
    }
}

impl Request {
    /// The roots of other toolchains in a lock, which an update of everything renews too.
    pub(super) fn other_roots(&self, context: &Context, toolchain: &str, lock: &Lock) -> Vec<Target> {
        let is_all = self.what.renews_all();
        let is_asked = |(name, platform): &&RootKey| {
            is_all && name != toolchain && (self.platforms.is_empty() || self.platforms.contains(platform))
        };
        let target = |(name, platform): &RootKey| {
            let (toolchain, platform) = (Some(name.clone()), Some(*platform));
            context.choose(TargetSelector { platform, toolchain, ..TargetSelector::default() }).ok()
        };
        lock.roots.keys().filter(is_asked).filter_map(target).collect()
    }
}

/// Whether both locks have the same packages for the root of this reserved reference.
fn is_same(old: &Lock, new: &Lock, reference: &Reference, platform: Platform) -> bool {
    let digest = |lock: &Lock| {
        let root = lock.root(reference, platform)?;
        Some(root.digest(&lock.archives_of(root)?))
    };
    digest(old) == digest(new)
}

impl Renewal<'_> {
    /// Puts the roots of `targets` into `lock`, whose packages are chosen again if `what` says so or the toolchain has changed. What
    /// another lock has is taken from it.
    pub(super) fn roots(&mut self, lock: &mut Lock, old: &Lock, targets: &[Target], what: &What) -> Result<(), Error> {
        // What the archives have now: one state for all platforms.
        let mut now = Lock::default();
        let mut chosen: Vec<(RootKey, Solved, Option<Image>)> = Vec::new();
        for target in targets {
            let (Some(wanted), Some(toolchain)) = (&target.packages, &target.toolchain) else { continue };
            let Some(key) = root_key(&target.reference, target.image_platform) else { continue };
            let archives = |root| old.archives_of(root).unwrap_or_default();
            let fits =
                old.roots.get(&key).is_some_and(|root| root.fits(wanted, target.image_platform, &archives(root)));
            let renews = what.renews_packages(toolchain);
            if fits && !renews {
                continue;
            }
            if !renews && let Some((solved, image)) = self.others.root(target, old) {
                chosen.push((key, solved, image));
                continue;
            }
            let is_known = |suite: &String| now.archives.values().any(|archive| archive.suite == *suite);
            let (known, state) = match renews {
                true if wanted.debian.suites.iter().all(is_known) => (&now, State::Locked),
                true => (old, State::Current),
                false => (old, State::Locked),
            };
            let solved = self.acquirer.solve(toolchain, wanted, target.image_platform, known, state)?;
            for archive in &solved.archives {
                now.archives.insert(format!("{} {}", archive.suite, archive.release.digest), archive.clone());
            }
            chosen.push((key, solved, None));
        }
        for (key, ..) in &chosen {
            lock.roots.remove(key);
        }
        lock.drop_unused_archives();
        for (key, solved, image) in chosen {
            let (target, platform) = (key.1, solved.root.platform);
            let Some(reference) = root_reference(&key.0, target, platform) else { continue };
            solved.put(lock, key);
            if !is_same(old, lock, &reference, platform) {
                lock.images.remove(&(reference.clone(), platform));
            }
            lock.images.extend(image.map(|image| ((reference, platform), image)));
        }
        let mut targets = targets.iter().filter(|target| target.packages.is_some());
        targets.try_for_each(|target| self.root_image(lock, target, what))
    }

    /// Puts the image of a root into `lock`, composed if this host can do that.
    fn root_image(&mut self, lock: &mut Lock, target: &Target, what: &What) -> Result<(), Error> {
        let (reference, platform) = (&target.reference, target.image_platform);
        let key = (reference.clone(), platform);
        let Some(root) = lock.root(reference, platform).cloned() else { return Ok(()) };
        let archives: Vec<Archive> = lock.archives_of(&root).unwrap_or_default().into_iter().cloned().collect();
        let archives: Vec<_> = archives.iter().collect();
        if lock.images.contains_key(&key) || *what == What::Check || self.context.locked {
            return Ok(());
        }
        let (toolchain, packages) = (target.toolchain.as_deref(), target.packages.as_ref());
        let emulator = self.emulator(lock, target);
        let archives = archives.as_slice();
        let wanted = WantedRoot { reference, toolchain, packages, root: &root, archives, locked: None, emulator };
        let found = if root.scripts && target.is_foreign() && emulator.is_none() {
            self.acquirer.composed(wanted)
        } else {
            self.acquirer.root(wanted).map(Some)
        };
        let mut image = match found {
            Ok(Some((image, _))) => image,
            Ok(None) => return Ok(()),
            // The packages are locked all the same.
            Err(error) if error.is_offline() || matches!(error, Error::NotComposed { .. }) => {
                self.context.reporter.warn(&error_chain(&error));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.acquirer.check_tree(reference, platform, &mut image)?;
        lock.images.insert(key, image);
        Ok(())
    }

    /// The emulator in the lock for a foreign target, if the store has it.
    fn emulator<'l>(&self, lock: &'l Lock, target: &Target) -> Option<&'l Emulator> {
        let emulator = lock.emulators.get(&target.image_platform)?;
        (target.is_foreign() && self.store.has_blob(&emulator.blob())).then_some(emulator)
    }
}
