//! Roots composed of packages: out of the store, else out of a site store, else composed of packages that are fetched.

use super::solved::COMPOSER;
use super::wanted_root::WantedRoot;
use super::{Acquirer, How};
use crate::commands::Error;
use crate::fetch::{FetchReport, unpack_local};
use crate::lock::Image;
use crate::resolve::{Wanted, resolve_local};
use crate::store::Store;

impl Acquirer<'_> {
    /// The image of a root that this machine has or can unpack from what it has. `None` if the root has to be composed.
    pub(in crate::commands) fn composed(&mut self, wanted: WantedRoot<'_>) -> Result<Option<(Image, How)>, Error> {
        let name = wanted.name();
        let known = match (wanted.locked, &name) {
            (Some(locked), _) => Some(locked.clone()),
            (None, Some(name)) => resolve_local(name, wanted.root.platform, self.store).ok().flatten(),
            (None, None) => None,
        };
        let Some(image) = known else { return Ok(None) };
        self.hold_image(&image);
        if self.store.has_image(&image) {
            return Ok(Some((image, How::Present)));
        }
        unpack_local(&image, self.store, self.context.reporter.as_ref())?;
        let of_site = Wanted::from(wanted.root.platform);
        if self.store.has_image(&image)
            || self.sites().find(self.store, wanted.reference, &of_site, Some(&image))?.is_some()
        {
            self.hold_image(&image);
            return Ok(Some((image, How::Local)));
        }
        Ok(None)
    }

    /// Makes the store hold a root: composes it of its packages, which are fetched, unless it is there.
    ///
    /// # Errors
    /// Packages that are gone or changed; a script that fails; an image that differs from the locked one.
    pub(in crate::commands) fn root(&mut self, wanted: WantedRoot<'_>) -> Result<(Image, How), Error> {
        if let Some(found) = self.composed(wanted)? {
            return Ok(found);
        }
        let reference = wanted.reference;
        let base = self.store.composed_layer(&wanted.base_key()).filter(|_| wanted.root.scripts);
        if let Some(base) = &base {
            self.hold(|needs| needs.layer(base));
        }
        let bytes_downloaded = self.debs_to_compose(wanted, base.is_some())?;
        let mut image = super::composition::compose(self, wanted)?;
        self.hold_image(&image);
        if let Some(locked) = wanted.locked.filter(|locked| locked.manifest.digest != image.manifest.digest) {
            let (locked, found) = (Box::new(locked.manifest.digest), Box::new(image.manifest.digest));
            return Err(Error::Composed { reference: Box::new(reference.clone()), locked, found });
        }
        image.tree = wanted.locked.and_then(|locked| locked.tree);
        self.name(wanted, &image)?;
        Ok((image, How::Registry(FetchReport { bytes_downloaded, ..FetchReport::default() })))
    }

    /// Composes a root again, whether the store has it or not, into the store `to`, which has nothing of it.
    ///
    /// # Errors
    /// Packages that are gone or changed; a script that fails.
    pub(in crate::commands) fn composed_again(&mut self, wanted: WantedRoot<'_>, to: &Store) -> Result<Image, Error> {
        self.debs_to_compose(wanted, false)?;
        super::composition::into(self.context, to, (self.store, wanted), None, &mut |_| ())
    }

    /// Makes the store hold the packages of a root that this hermes can compose, with `has_base` only those that are not of the base.
    /// Returns the number of bytes that were downloaded.
    fn debs_to_compose(&mut self, wanted: WantedRoot<'_>, has_base: bool) -> Result<u64, Error> {
        let (root, reference) = (wanted.root, wanted.reference);
        if root.composer != COMPOSER {
            let (reference, composer) = (reference.clone(), root.composer);
            return Err(Error::Composer { reference, composer, known: COMPOSER });
        }
        let bytes_downloaded = self.debs_above(wanted, has_base)?;
        if wanted.tools().is_none() {
            let s = if root.debs.len() == 1 { "" } else { "s" };
            let what = format!("composing {} of {} package{s}", reference.repository(), root.debs.len());
            self.context.reporter.warn(&what);
        }
        Ok(bytes_downloaded)
    }

    /// Names a composed image in the store, so that the next lock with the same packages finds it.
    fn name(&self, wanted: WantedRoot<'_>, image: &Image) -> Result<(), Error> {
        let store: &Store = self.store;
        match wanted.name() {
            Some(name) if store.find_ref(&name)?.is_none_or(|top| top.digest != image.top().digest) => {
                Ok(store.set_ref(&name, image.top())?)
            }
            _ => Ok(()),
        }
    }
}
