//! The root of a target whose toolchain names packages: chosen, locked and composed.

use super::Preparation;
use crate::commands::acquire::{How, State, WantedRoot};
use crate::commands::{Error, Target};
use crate::lock::{Emulator, Image, Lock, root_key};

impl Preparation<'_> {
    /// Makes the lock have the packages of `target`, as its toolchain wants them. Returns whether the target is a root of
    /// packages: a recorded run has it by its lock alone.
    pub(super) fn choose_packages(&mut self, target: &Target) -> Result<bool, Error> {
        let (reference, platform) = (&target.reference, target.image_platform);
        let lock = &self.session.lock;
        let known = lock.root(reference, platform);
        let Some(wanted) = &target.packages else { return Ok(known.is_some()) };
        let archives = known.and_then(|root| lock.archives_of(root)).unwrap_or_default();
        if known.is_some_and(|root| root.fits(wanted, platform, &archives)) {
            return Ok(true);
        }
        let (Some(toolchain), Some(key)) = (&target.toolchain, root_key(reference, platform)) else { return Ok(false) };
        if self.context().locked {
            let state = if known.is_some() { " as the toolchain has them" } else { "" };
            return Err(self.session.stale(format!("packages of {toolchain} for {}{state}", target.platform.name())));
        }
        let solved = self.acquirer.solve(toolchain, wanted, platform, lock, State::Locked)?;
        let mut new = lock.clone();
        solved.put(&mut new, key.clone());
        if let Some(root) = new.roots.remove(&key) {
            new.archives.retain(|name, _| root.archives.contains(name));
            self.found.lock.archives.extend(new.archives);
            self.found.lock.roots.insert(key, root);
        }
        Ok(true)
    }

    /// The image of the packages of `target`, composed unless it is there.
    pub(super) fn root(&mut self, target: &Target, emulator: Option<&Emulator>) -> Result<Image, Error> {
        let (reference, platform) = (&target.reference, target.image_platform);
        let key = (reference.clone(), platform);
        let (of, is_new): (&Lock, bool) = match self.found.lock.root(reference, platform) {
            Some(_) => (&self.found.lock, true),
            None => (&self.session.lock, false),
        };
        let stale = || self.session.stale(format!("packages of {reference} for {}", platform.name()));
        let root = of.root(reference, platform).cloned().ok_or_else(stale)?;
        let archives: Vec<_> = of.archives_of(&root).unwrap_or_default().into_iter().cloned().collect();
        let archives: Vec<_> = archives.iter().collect();
        let locked = self.session.lock.images.get(&key).filter(|_| !is_new).cloned();
        let (toolchain, packages) = (target.toolchain.as_deref(), target.packages.as_ref());
        let (archives, locked_image) = (archives.as_slice(), locked.as_ref());
        let wanted =
            WantedRoot { reference, toolchain, packages, root: &root, archives, locked: locked_image, emulator };
        if let (None, true) = (&locked, self.context().locked) {
            return Err(self.session.stale(format!("the composed root of {reference} for {}", platform.name())));
        }
        let found = match self.acquirer.composed(wanted)? {
            Some(found) => Some(found),
            None if target.is_foreign() && emulator.is_none() => None,
            None => Some(self.acquirer.root(wanted)?),
        };
        let Some((mut image, how)) = found else {
            self.acquirer.debs(wanted)?;
            self.commit()?;
            self.session.add_gc_root();
            return Err(Error::NotComposed { reference: reference.clone(), platform });
        };
        if locked.is_none() || (how != How::Present && image.tree.is_some()) {
            self.acquirer.check_tree(reference, platform, &mut image)?;
        }
        if locked.is_none() {
            self.found.lock.images.insert(key, image.clone());
        }
        Ok(image)
    }
}
