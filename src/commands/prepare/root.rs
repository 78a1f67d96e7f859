//! The root of a target whose toolchain names packages: chosen, locked and composed. Native tools out of packages are composed in the
//! same way.

use super::Preparation;
use crate::commands::acquire::{How, State, WantedRoot};
use crate::commands::{Error, Target};
use crate::lock::{Emulator, Image, Lock, root_key};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::toolchain::Packages;

/// An image that is composed of packages.
#[derive(Clone, Copy)]
pub(super) struct Packaged<'a> {
    /// The reserved reference.
    pub(super) reference: &'a Reference,
    /// The platform of the programs.
    pub(super) platform: Platform,
    /// The toolchain, for the user's consent to its addresses.
    pub(super) toolchain: Option<&'a str>,
    /// The definition, whose addresses are tried first.
    pub(super) packages: Option<&'a Packages>,
    pub(super) compose: Compose<'a>,
}

/// Whether an image can be composed.
#[derive(Clone, Copy)]
pub(super) enum Compose<'a> {
    /// With this emulator, if its platform is foreign.
    With(Option<&'a Emulator>),
    /// Nothing runs its scripts.
    Never,
}

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
        let is_known = known.is_some();
        let mut new = lock.clone();
        let solved = match self.others()?.root(target, &new) {
            Some((solved, image)) => {
                self.found.lock.images.extend(image.map(|image| ((reference.clone(), platform), image)));
                solved
            }
            None if self.context().locked => {
                let state = if is_known { " as the toolchain has them" } else { "" };
                let what = format!("packages of {toolchain} for {}{state}", target.platform.name());
                return Err(self.session.stale(what));
            }
            None => self.acquirer.solve(toolchain, wanted, platform, &new, State::Locked)?,
        };
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
        let found = self.found.lock.root(reference, platform).or_else(|| self.session.lock.root(reference, platform));
        let scripts = found.is_some_and(|root| root.scripts);
        let (toolchain, packages) = (target.toolchain.as_deref(), target.packages.as_ref());
        let compose =
            if scripts && target.is_foreign() && emulator.is_none() { Compose::Never } else { Compose::With(emulator) };
        if let Some(image) = self.packages_image(Packaged { reference, platform, toolchain, packages, compose })? {
            return Ok(image);
        }
        self.commit()?;
        self.session.add_gc_root();
        Err(Error::NotComposed { reference: reference.clone(), platform })
    }

    /// The image of packages in the lock, or of those that were found, composed unless it is there. `None` if it cannot be composed;
    /// then the packages are fetched.
    pub(super) fn packages_image(&mut self, of: Packaged<'_>) -> Result<Option<Image>, Error> {
        let Packaged { reference, platform, toolchain, packages, compose } = of;
        let key = (reference.clone(), platform);
        let found = self.found.lock.root(reference, platform);
        let lock: &Lock = if found.is_some() { &self.found.lock } else { &self.session.lock };
        let stale = || self.session.stale(format!("packages of {reference} for {}", platform.name()));
        let root = lock.root(reference, platform).cloned().ok_or_else(stale)?;
        let archives: Vec<_> = lock.archives_of(&root).unwrap_or_default().into_iter().cloned().collect();
        let archives: Vec<_> = archives.iter().collect();
        let locked = lock.images.get(&key).cloned();
        let (archives, locked_image) = (archives.as_slice(), locked.as_ref());
        let emulator = match compose {
            Compose::With(emulator) => emulator,
            Compose::Never => None,
        };
        let wanted =
            WantedRoot { reference, toolchain, packages, root: &root, archives, locked: locked_image, emulator };
        if let (None, true) = (&locked, self.context().locked) {
            return Err(self.session.stale(format!("the composed root of {reference} for {}", platform.name())));
        }
        let (mut image, how) = match (self.acquirer.composed(wanted)?, compose) {
            (Some(found), _) => found,
            (None, Compose::With(_)) => self.acquirer.root(wanted)?,
            (None, Compose::Never) => {
                self.acquirer.debs(wanted)?;
                return Ok(None);
            }
        };
        if locked.is_none() || (how != How::Present && image.tree.is_some()) {
            self.acquirer.check_tree(reference, platform, &mut image)?;
        }
        if locked.is_none() {
            self.found.lock.images.insert(key, image.clone());
        }
        Ok(Some(image))
    }
}
