//! The acquisition of images: out of the store, else out of the stores of others, else from a registry, under a lease.
//!
//! `hermes run`, `pull`, `fetch`, `lock` and `bundle` all get images, emulators and native tools through [`Acquirer`], and what
//! they found reaches the lock file through [`LockSession`].

pub(crate) mod compose;
mod composition;
mod emulator;
mod lock_session;
mod native;
mod other_locks;
mod packages;
mod paragraphs;
mod root;
mod solved;
mod wanted_root;

use std::cell::OnceCell;

pub(super) use lock_session::{Found, LockSession, Merged};
pub(super) use other_locks::OtherLocks;
pub(super) use packages::{Documents, State, apt_sources};
use paragraphs::Paragraphs;
pub(super) use solved::{Solved, put_archives};
pub(super) use wanted_root::{LockedRoot, WantedRoot};

use crate::commands::site_stores::Sites;
use crate::commands::{Context, Error, network};
use crate::digest::Digest;
use crate::fetch::{FetchReport, fetch, unpack_local};
use crate::lock::{Image, Lock, Source};
use crate::oci::Descriptor;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::Client;
use crate::resolve::{ResolveError, Wanted, resolve, resolve_local, resolve_stored};
use crate::store::{Closure, Lease, Store};

/// An image for a platform, as locks name it.
pub(super) type Key = (Reference, Platform);

/// What a reference means, for each key that was asked for.
type Answers<'k> = Vec<(&'k Key, Result<Image, Error>)>;

/// Gets images, and keeps all that it got in the store until its lease ends.
pub(super) struct Acquirer<'a> {
    pub(super) context: &'a Context,
    pub(super) store: &'a Store,
    pub(super) lease: &'a mut Lease,
    /// Opened when they are needed first.
    sites: OnceCell<Sites<'a>>,
    /// Report of what was fetched; `Some` as soon as a socket may have been opened.
    pub(super) fetched: Option<FetchReport>,
    /// Of the base of the last root whose packages were chosen.
    paragraphs: Option<Paragraphs>,
}

/// An image that is wanted.
#[derive(Debug, Clone)]
pub(super) struct Want {
    /// Which of the images that the reference leads to.
    pub(super) wanted: Wanted,
    /// The image, where a lock has it.
    pub(super) locked: Option<Image>,
    /// The digest that the reference leads to, where that is known but not locked.
    pub(super) top: Option<Digest>,
    /// The blobs of all layers are wanted as well, where a registry may be asked for them.
    pub(super) blobs: bool,
}

/// The way in which an image came into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// It was there.
    Present,
    /// From files of this host: its blobs in the store, or a site store.
    Local,
    /// A registry was asked.
    Registry(FetchReport),
}

impl<'a> Acquirer<'a> {
    pub(super) fn new(context: &'a Context, store: &'a Store, lease: &'a mut Lease) -> Self {
        Self { context, store, lease, sites: OnceCell::new(), fetched: None, paragraphs: None }
    }

    /// Makes the store hold an image, unpacked: the locked one, else the one that the store knows by this name, else one of a
    /// site store, else what a registry says.
    pub(super) fn image(&mut self, reference: &Reference, want: Want) -> Result<(Image, How), Error> {
        let Want { wanted, locked, top, blobs } = want;
        let known = match locked {
            Some(image) => Some(image),
            None => self.known(reference, &wanted)?,
        };
        let with_blobs = blobs && !self.context.offline;
        if let Some(image) = &known {
            if self.has(image, with_blobs) {
                return Ok((image.clone(), How::Present));
            }
            unpack_local(image, self.store, self.context.reporter.as_ref())?;
            if self.has(image, with_blobs) {
                return Ok((image.clone(), How::Local));
            }
        }
        if let Some(image) = self.sites().find(self.store, reference, &wanted, known.as_ref())? {
            self.hold_image(&image);
            // Another process may have removed it before the lease had it.
            if self.store.has_image(&image) {
                return Ok((image, How::Local));
            }
        }
        self.go_online(reference, wanted.platform)?;
        let (image, report) = network::run(self.context, async |client| {
            let (image, from) = if let Some(image) = known {
                // The tag may have moved since.
                let pinned = reference.pinned(image.top().digest);
                (image, pinned)
            } else {
                let asked = top.map_or_else(|| reference.clone(), |top| reference.pinned(top));
                let image = self.resolve(&client, &asked, &wanted).await?;
                self.sites().unpack(self.store, &image);
                (image, reference.clone())
            };
            let report = self.fetch(&client, &from, &image).await?;
            Ok((image, report))
        })?;
        Ok((image, How::Registry(report)))
    }

    /// Makes the store hold the image that a registry has under this name now. What a digest names does not change, so that the
    /// registry is not asked where the store has all of it.
    pub(super) fn current(&mut self, reference: &Reference, wanted: &Wanted) -> Result<(Image, How), Error> {
        // Damage in the store is not reported: what is missing or wrong is fetched.
        let known = resolve_local(reference, wanted.clone(), self.store).ok().flatten();
        if let Some(image) = &known {
            self.hold_image(image);
        }
        let whole = known.filter(|image| self.has(image, true));
        if let Some(image) = whole.as_ref().filter(|_| reference.digest().is_some()) {
            return Ok((image.clone(), How::Present));
        }
        self.go_online(reference, wanted.platform)?;
        let (image, report) = network::run(self.context, async |client| {
            if let Some(image) = whole
                && client.digest(reference).await? == Some(image.top().digest)
            {
                self.store.tidy()?;
                return Ok((image, FetchReport::default()));
            }
            let image = self.resolve(&client, reference, wanted).await?;
            self.sites().unpack(self.store, &image);
            let report = self.fetch(&client, reference, &image).await?;
            Ok((image, report))
        })?;
        Ok((image, How::Registry(report)))
    }

    /// Resolves references with the registry or, offline, with the store. An image that `lock` has by a label is selected by
    /// that label again. With `layers`, fetches the layers too. Each reference has its own result, so that the caller decides
    /// which failures matter.
    pub(super) fn resolve_all<'k>(
        &mut self,
        keys: impl IntoIterator<Item = &'k Key>,
        lock: &Lock,
        layers: bool,
    ) -> Result<Answers<'k>, Error> {
        let mut keys = keys.into_iter().peekable();
        if keys.peek().is_none() {
            return Ok(vec![]);
        }
        let wanted =
            |key: &Key| Wanted { platform: key.1, label: lock.images.get(key).and_then(|image| image.label.clone()) };
        if self.context.offline {
            let here = |key: &'k Key| {
                let (reference, platform) = (&key.0, key.1);
                let here = resolve_local(reference, wanted(key), self.store).map_err(Error::from);
                let absent = || Error::Offline { reference: reference.clone(), platform };
                (key, here.and_then(|image| image.ok_or_else(absent)))
            };
            return Ok(keys.map(here).collect());
        }
        network::run(self.context, async |client| {
            let mut answers = Vec::new();
            for key in keys {
                let image = self.resolve(&client, &key.0, &wanted(key)).await;
                if let (Ok(image), true) = (&image, layers) {
                    self.fetch(&client, &key.0, image).await?;
                }
                answers.push((key, image));
            }
            Ok(answers)
        })
    }

    /// Fetches all blobs of images, those of layers that are unpacked or in a site store as well.
    pub(super) fn blobs<'k>(
        &mut self,
        images: impl IntoIterator<Item = (&'k Reference, &'k Image)>,
    ) -> Result<(), Error> {
        network::run(self.context, async |client| {
            for (reference, image) in images {
                let pinned = reference.pinned(image.top().digest);
                let (context, store) = (self.context, self.store);
                fetch(&pinned, image, store, &client, &context.reporter, context.jobs, &|_| false).await?;
            }
            Ok(())
        })
    }

    /// Compares the unpacked layers of an image with the tree that a lock has of it; gives the image its tree where it has none.
    pub(super) fn check_tree(&self, reference: &Reference, platform: Platform, image: &mut Image) -> Result<(), Error> {
        let found = self.store.tree_digest(&image.diff_ids())?;
        match image.tree {
            Some(locked) if locked != found => {
                let (reference, locked, found) = (Box::new(reference.clone()), Box::new(locked), Box::new(found));
                Err(Error::Tree { reference, platform, locked, found })
            }
            _ => {
                image.tree = Some(found);
                Ok(())
            }
        }
    }

    /// Keeps an image in the store.
    pub(super) fn hold_image(&mut self, image: &Image) {
        self.hold(|needs| needs.image(image));
    }

    /// Keeps a blob in the store.
    pub(super) fn hold_blob(&mut self, blob: &Descriptor) {
        self.hold(|needs| needs.blob(blob));
    }

    /// Keeps a source in the store.
    pub(super) fn hold_source(&mut self, source: &Source) {
        self.hold(|needs| needs.source(source));
    }

    /// Keeps what `add` adds, if that is anything.
    pub(super) fn hold(&mut self, add: impl FnOnce(&mut Closure)) {
        let mut needs = Closure::default();
        add(&mut needs);
        if needs != Closure::default() {
            self.lease.add(&needs);
        }
    }

    /// The image that the store has under this name.
    fn known(&mut self, reference: &Reference, wanted: &Wanted) -> Result<Option<Image>, Error> {
        match resolve_stored(reference, wanted, self.store) {
            Ok(None) => Ok(None),
            Ok(Some((image, doubt))) => {
                self.hold_image(&image);
                if let Some(doubt) = doubt {
                    self.context.reporter.warn(&doubt);
                }
                Ok(Some(image))
            }
            // The registry may have the platform, even if the store does not.
            Err(ResolveError::NoPlatform { .. }) if !self.context.offline => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether an image is unpacked and, if they are wanted, all blobs of its layers are here or in a site store: a blob that was
    /// damaged and removed is missing, although its layer may be unpacked.
    fn has(&self, image: &Image, with_blobs: bool) -> bool {
        let has_blob = |blob: &Descriptor| self.store.has_blob(blob) || self.sites().has_blob(blob);
        self.store.has_image(image) && (!with_blobs || image.layers.iter().all(|layer| has_blob(&layer.blob)))
    }

    fn sites(&self) -> &Sites<'a> {
        self.sites.get_or_init(|| Sites::open(self.context))
    }

    /// Refuses the network where it is forbidden; else notes that it was used.
    fn go_online(&mut self, reference: &Reference, platform: Platform) -> Result<(), Error> {
        if self.context.offline {
            return Err(Error::Offline { reference: reference.clone(), platform });
        }
        self.fetched.get_or_insert_default();
        Ok(())
    }

    /// What a registry says that a reference means. What came is looked for again when it is fetched, and so fetched again if
    /// another process removed it before the lease had it.
    async fn resolve(&mut self, client: &Client, reference: &Reference, wanted: &Wanted) -> Result<Image, Error> {
        let reporter = self.context.reporter.as_ref();
        let image = resolve(reference, wanted.clone(), self.store, client, reporter).await?;
        self.hold_image(&image);
        Ok(image)
    }

    /// Fetches what neither the store nor a site store has of an image.
    async fn fetch(&mut self, client: &Client, from: &Reference, image: &Image) -> Result<FetchReport, Error> {
        let (context, store) = (self.context, self.store);
        let elsewhere = |blob: &Descriptor| self.sites().has_blob(blob);
        let report = fetch(from, image, store, client, &context.reporter, context.jobs, &elsewhere).await?;
        let before = self.fetched.unwrap_or_default();
        self.fetched = Some(before + report);
        Ok(report)
    }
}
