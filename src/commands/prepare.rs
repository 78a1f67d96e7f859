//! From a target to bytes on disk: lock, images, emulator.

mod emulator;

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::commands::site_stores::Sites;
use crate::commands::{Context, Error, Target, network, recording};
use crate::digest::Digest;
use crate::emulation::Accel;
use crate::fetch::{FetchReport, fetch, unpack_local};
use crate::hint::error_chain;
use crate::lock::{Build, Emulator, Image, Lock, LockFile, Source};
use crate::oci::Descriptor;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::resolve::{ResolveError, Wanted, resolve, resolve_stored};
use crate::store::{Closure, Lease, Store};

pub(super) use emulator::{describe, new_emulator, origin};

/// A target, ready to run.
pub(super) struct Prepared {
    /// What builds see of their surroundings.
    pub(super) build: Build,
    /// The image, unpacked in the store.
    pub(super) image: Image,
    /// The emulator and its file in the store, where the image is foreign.
    pub(super) emulator: Option<(Emulator, PathBuf)>,
    /// The image with native tools, unpacked in the store, where they are wanted and can be had.
    pub(super) native: Option<Image>,
    /// The sources of the project, for a run of it.
    pub(super) sources: BTreeMap<String, Source>,
    /// What was fetched; `None` where no socket was opened.
    pub(super) fetched: Option<FetchReport>,
    /// Keeps all of it in the store.
    pub(super) lease: Lease,
}

/// What something is made ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A run on this host, now.
    Run(Accel),
    /// The same, with whatever emulator this host has registered.
    RunByHost(Accel),
    /// The same, with the blobs of layers that are unpacked already.
    Pull,
    /// Any later one, perhaps elsewhere: an emulator is welcome, but not needed.
    Prefetch {
        /// What the reference leads to, if that was found out before and the lock does not say.
        top: Option<Digest>,
    },
}

impl Purpose {
    /// What is wanted of native tools.
    fn accel(self) -> Accel {
        if let Self::Run(accel) | Self::RunByHost(accel) = self { accel } else { Accel::default() }
    }
}

/// Makes the store hold what `target` means, and the lock say it.
pub(super) fn prepare(context: &Context, store: &Store, target: &Target, purpose: Purpose) -> Result<Prepared, Error> {
    let file = context.lock_file(target);
    let lock = file.read()?;
    let mut state = Preparation::new(context, store, purpose, file, lock);
    loop {
        state.keep_locked(target);
        state.build()?;
        state.locked(&(target.reference.clone(), target.image_platform))?;
        // The emulator before the image: where there is none, nothing is downloaded in vain.
        let is_the_hosts = matches!(purpose, Purpose::RunByHost(_));
        let emulator = if is_the_hosts { None } else { state.emulator(target)? };
        let top = if let Purpose::Prefetch { top } = purpose { top } else { None };
        let image = state.image(&target.reference, &target.wanted(), top)?;
        let native = state.native(target)?;
        if state.commit()? {
            // What records name is no lock of anybody's: it keeps nothing.
            let of_record = state.file.path().starts_with(recording::records(store));
            if !of_record && let Err(error) = store.add_gc_root(state.file.path()) {
                // In a store that cannot be written nothing is removed either.
                context.reporter.verbose(&format!("{} is not remembered: {error}", state.file.path().display()));
            }
            return Ok(Prepared {
                build: context.build_by(&state.lock),
                image,
                emulator,
                native,
                sources: BTreeMap::new(),
                fetched: state.fetched,
                lease: state.lease,
            });
        }
    }
}

/// The native tools that `target` wants.
pub(super) fn native_image(target: &Target, accel: Accel) -> Option<&Reference> {
    target.native.as_ref().filter(|_| target.is_foreign() && accel != Accel::Off).map(|native| &native.image)
}

/// A target, being made ready.
struct Preparation<'a> {
    context: &'a Context,
    store: &'a Store,
    purpose: Purpose,
    file: LockFile,
    /// What the file says.
    lock: Lock,
    /// What it does not say yet.
    found: Lock,
    lease: Lease,
    /// `Some` as soon as a socket may have been opened.
    fetched: Option<FetchReport>,
}

impl<'a> Preparation<'a> {
    fn new(context: &'a Context, store: &'a Store, purpose: Purpose, file: LockFile, lock: Lock) -> Self {
        // Whatever is found to be there from here on stays there.
        Self { context, store, purpose, file, lock, found: Lock::default(), lease: store.lease(), fetched: None }
    }

    /// Keeps in the store what the lock has for `target`.
    fn keep_locked(&mut self, target: &Target) {
        let mut needs = Closure::default();
        let native = native_image(target, self.purpose.accel()).map(|image| (image.clone(), Platform::host()));
        for key in std::iter::once((target.reference.clone(), target.image_platform)).chain(native) {
            if let Some(image) = self.lock.images.get(&key) {
                needs.image(image);
            }
        }
        if let Some(emulator) = self.lock.emulators.get(&target.image_platform) {
            needs.blob(&emulator.blob());
        }
        if needs != Closure::default() {
            self.lease.add(&needs);
        }
    }

    /// Adds to the lock what was found. `false` where another hermes was there first with something else: somebody may
    /// rely on that by now, so it is to be taken. All that is needed is in the lock then, so this comes to an end the
    /// second time.
    fn commit(&mut self) -> Result<bool, Error> {
        if self.found == Lock::default() {
            return Ok(true);
        }
        let found = std::mem::take(&mut self.found);
        let build = self.context.build_by(&self.lock);
        let now = self.file.update(|lock| {
            if found.build.is_some() || lock.build.is_none() {
                lock.build = Some(build);
            }
            for (key, image) in &found.images {
                lock.images.entry(key.clone()).or_insert_with(|| image.clone());
            }
            for (platform, emulator) in &found.emulators {
                lock.emulators.entry(*platform).or_insert_with(|| emulator.clone());
            }
        })?;
        let ours = found.images.iter().all(|(key, image)| now.images.get(key) == Some(image))
            && found.emulators.iter().all(|(platform, emulator)| now.emulators.get(platform) == Some(emulator));
        let images = found.images.keys().map(|(reference, platform)| format!("{reference} for {}", platform.name()));
        let emulators = found.emulators.keys().map(|platform| format!("the emulator for {}", platform.name()));
        let build = found.build.iter().map(|_| "what builds see of their surroundings".to_owned());
        self.context.reporter.warn(&format!(
            "{} {} in {}",
            if ours { "locked" } else { "another hermes has just locked" },
            images.chain(emulators).chain(build).collect::<Vec<_>>().join(", "),
            self.file.path().display()
        ));
        self.lock = now;
        Ok(ours)
    }

    /// What the lock has; what it has not it must be allowed to get.
    fn locked(&self, key: &(Reference, Platform)) -> Result<Option<Image>, Error> {
        let (reference, platform) = key;
        match self.lock.images.get(key) {
            None if self.context.locked => Err(self.stale(format!("{reference} for {}", platform.name()))),
            image => Ok(image.cloned()),
        }
    }

    /// What builds see of their surroundings is what the project asks for, and the lock has to agree with it. From a lock
    /// alone nothing is taken, so that a stranger's opens nothing.
    fn build(&mut self) -> Result<(), Error> {
        let wanted = self.context.build_by(&self.lock);
        match &self.lock.build {
            Some(locked) if !locked.is_same(&wanted) => {
                if self.context.locked {
                    return Err(self.stale("[build] as hermes.toml has it".to_owned()));
                }
                self.found.build = Some(wanted);
            }
            // A lock that an older hermes wrote gets it with the next thing that is added.
            _ => {}
        }
        Ok(())
    }

    fn stale(&self, what: String) -> Error {
        Error::Stale { lock: self.file.path().to_owned(), what }
    }

    /// The native tools, where they are wanted; without them if they are only welcome.
    fn native(&mut self, target: &Target) -> Result<Option<Image>, Error> {
        let accel = self.purpose.accel();
        let Some(reference) = native_image(target, accel) else { return Ok(None) };
        match self.image(reference, &Platform::host().into(), None) {
            Err(error) if accel == Accel::Auto && error.is_absence() => {
                if !self.context.reexecuted {
                    let name = target.image_platform.name();
                    self.context.reporter.warn(&format!("without native tools for {name}: {}", error_chain(&error)));
                }
                Ok(None)
            }
            outcome => outcome.map(Some),
        }
    }

    /// An image, whole and unpacked: out of the lock, else out of the store, else out of a registry, by the digest `top`
    /// if there is one.
    fn image(&mut self, reference: &Reference, wanted: &Wanted, top: Option<Digest>) -> Result<Image, Error> {
        let platform = wanted.platform;
        let key = (reference.clone(), platform);
        let locked = self.locked(&key)?;
        let is_new = locked.is_none();
        let (mut image, was_there) = self.whole(reference, wanted, top, locked)?;
        if is_new || (!was_there && image.tree.is_some()) {
            let found = self.store.tree_digest(&image.diff_ids())?;
            match image.tree {
                Some(locked) if locked != found => {
                    let (reference, locked, found) = (Box::new(reference.clone()), Box::new(locked), Box::new(found));
                    return Err(Error::Tree { reference, platform, locked, found });
                }
                _ => image.tree = Some(found),
            }
        }
        if is_new {
            self.found.images.insert(key, image.clone());
        }
        Ok(image)
    }

    /// That image, and whether nothing had to be done for it.
    fn whole(
        &mut self,
        reference: &Reference,
        wanted: &Wanted,
        top: Option<Digest>,
        locked: Option<Image>,
    ) -> Result<(Image, bool), Error> {
        let platform = wanted.platform;
        let Self { context, store, purpose, lease, .. } = self;
        let known = match locked {
            Some(image) => Some(image),
            None => match resolve_stored(reference, wanted, store) {
                Ok(None) => None,
                Ok(Some((image, doubt))) => {
                    lease.add(&needs_of(&image));
                    if let Some(doubt) = doubt {
                        context.reporter.warn(&doubt);
                    }
                    Some(image)
                }
                // What is here has no such platform; the registry may.
                Err(ResolveError::NoPlatform { .. }) if !context.offline => None,
                Err(error) => return Err(error.into()),
            },
        };
        let sites = LazyCell::new(|| Sites::open(context));
        let is_there = |image: &Image| {
            let with_blobs = !matches!(purpose, Purpose::Run(_) | Purpose::RunByHost(_)) && !context.offline;
            store.has_image(image) && (!with_blobs || has_blobs(store, image, |blob| sites.has_blob(blob)))
        };
        if let Some(image) = &known {
            if is_there(image) {
                return Ok((image.clone(), true));
            }
            unpack_local(image, store, context.reporter.as_ref())?;
            if is_there(image) {
                return Ok((image.clone(), false));
            }
        }
        if let Some(image) = sites.find(store, reference, wanted, known.as_ref())? {
            lease.add(&needs_of(&image));
            // Before that somebody may have removed it.
            if store.has_image(&image) {
                return Ok((image, false));
            }
        }
        if context.offline {
            return Err(Error::Offline { reference: reference.clone(), platform });
        }
        let before = *self.fetched.get_or_insert_default();
        let (image, report) = network::run(context, async |client| {
            let (image, from) = if let Some(image) = known {
                // Not what the tag means by now.
                let pinned = reference.pinned(image.top().digest);
                (image, pinned)
            } else {
                let asked = top.map_or_else(|| reference.clone(), |top| reference.pinned(top));
                let image = resolve(&asked, wanted.clone(), store, &client, context.reporter.as_ref()).await?;
                lease.add(&needs_of(&image));
                sites.unpack(store, &image);
                (image, reference.clone())
            };
            let report =
                fetch(&from, &image, store, &client, &context.reporter, context.jobs, &|blob| sites.has_blob(blob))
                    .await?;
            Ok((image, report))
        })?;
        self.fetched = Some(before + report);
        Ok((image, false))
    }
}

/// Whether the blobs of all layers are here or `elsewhere`: one that was damaged and taken out is not, although the layer
/// may be unpacked.
pub(super) fn has_blobs(store: &Store, image: &Image, elsewhere: impl Fn(&Descriptor) -> bool) -> bool {
    image.layers.iter().all(|layer| store.has_blob(&layer.blob) || elsewhere(&layer.blob))
}

/// What `image` needs of the store.
pub(super) fn needs_of(image: &Image) -> Closure {
    let mut needs = Closure::default();
    needs.image(image);
    needs
}
