//! Native tools out of packages in a lock: chosen for the images that are in the store, and composed.

use super::{Renewal, What};
use crate::commands::acquire::{State, WantedRoot};
use crate::commands::prepare::native_tools;
use crate::commands::{Error, Target};
use crate::emulation::Accel;
use crate::hint::error_chain;
use crate::lock::{Archive, Entry, Image, Lock, RootKey};
use crate::platform::Platform;
use crate::toolchain::Native;

impl Renewal<'_> {
    /// Puts the native tools of `targets` into `lock`, chosen again if `what` says so, or if the image has changed. Those for an image
    /// that is not in the store stay as they are: its compilers are not known.
    pub(super) fn natives(&mut self, lock: &mut Lock, targets: &[Target], what: &What) -> Result<(), Error> {
        for target in targets {
            if native_tools(target, Accel::default()) != Some(&Native::Auto) {
                continue;
            }
            let key = (target.reference.clone(), target.image_platform);
            self.other_native(lock, target, what);
            let image = lock.images.get(&key).filter(|image| self.store.has_image(image)).cloned();
            let (Some(toolchain), Some(image)) = (&target.toolchain, image) else { continue };
            match self.native(lock, target, &(toolchain.clone(), target.platform), &image, what) {
                // A run does without them.
                Err(error @ (Error::NoNativeTools { .. } | Error::Archive(_) | Error::Solve(_))) => {
                    let name = target.platform.name();
                    let text = format!("not locking native tools for {name}: {}", error_chain(&error));
                    match error {
                        Error::NoNativeTools { source, .. } if source.is_inapplicable() => {
                            self.context.reporter.verbose(&text);
                        }
                        _ => self.context.reporter.warn(&text),
                    }
                }
                done => done?,
            }
        }
        Ok(())
    }

    /// Takes the native tools of `target` from another lock if this one has none for the image.
    fn other_native(&self, lock: &mut Lock, target: &Target, what: &What) {
        let image = lock.images.get(&(target.reference.clone(), target.image_platform));
        let Some((toolchain, chain)) = target.toolchain.as_ref().zip(image.and_then(Image::chain_id)) else { return };
        let key = (toolchain.clone(), target.platform);
        let has = lock.natives.get(&key).is_some_and(|native| native.image == chain);
        if has || what.renews_packages(toolchain) {
            return;
        }
        let mut new = lock.clone();
        if self.others.native(&key, chain, &mut new) {
            lock.take(&Entry::Native(key.0, key.1), &new);
        }
    }

    fn native(
        &mut self,
        lock: &mut Lock,
        target: &Target,
        key: &RootKey,
        image: &Image,
        what: &What,
    ) -> Result<(), Error> {
        let (Some(reference), Some(chain)) = (target.native_reference(), image.chain_id()) else { return Ok(()) };
        let renews = what.renews_packages(&key.0);
        let old = lock.natives.get(key);
        if renews || old.is_none_or(|native| native.image != chain) {
            // The archives of a root have been renewed with it.
            let state = if renews && target.packages.is_none() { State::Current } else { State::Locked };
            let solved = self.acquirer.native_tools(target, image, lock, state)?;
            let mut new = lock.clone();
            solved.put_native(&mut new, key.clone(), chain);
            let digest = |lock: &Lock| {
                let native = lock.natives.get(key)?;
                Some((native.image, native.root.digest(&lock.archives_of(&native.root)?)))
            };
            // The same packages make the same image.
            if digest(&new) == digest(lock) {
                let known = (reference.clone(), Platform::host());
                new.images.extend(lock.images.get(&known).map(|image| (known, image.clone())));
            }
            lock.take(&Entry::Native(key.0.clone(), key.1), &new);
        }
        self.native_image(lock, target, key, what)
    }

    /// Puts the image of native tools into `lock`, composed.
    fn native_image(&mut self, lock: &mut Lock, target: &Target, key: &RootKey, what: &What) -> Result<(), Error> {
        let Some(reference) = target.native_reference() else { return Ok(()) };
        let of = (reference.clone(), Platform::host());
        let is_done = lock.images.contains_key(&of) || *what == What::Check || self.context.locked;
        let Some(root) = lock.natives.get(key).filter(|_| !is_done).map(|native| native.root.clone()) else {
            return Ok(());
        };
        let archives: Vec<Archive> = lock.archives_of(&root).unwrap_or_default().into_iter().cloned().collect();
        let archives: Vec<_> = archives.iter().collect();
        let wanted = WantedRoot {
            reference: &reference,
            toolchain: Some(&key.0),
            packages: target.archive.as_ref().map(|archive| &archive.packages),
            root: &root,
            archives: &archives,
            locked: None,
            emulator: None,
        };
        let (mut image, _) = self.acquirer.root(wanted)?;
        self.acquirer.check_tree(&reference, Platform::host(), &mut image)?;
        lock.images.insert(of, image);
        Ok(())
    }
}
