//! The preparation of a target: its image, emulator and native tools in the store, and the lock updated.

mod emulator;
mod native;
mod root;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::commands::acquire::{Acquirer, Found, How, LockSession, Merged, OtherLocks, State, Want};
use crate::commands::{Context, Error, Target};
use crate::digest::Digest;
use crate::emulation::Accel;
use crate::fetch::FetchReport;
use crate::lock::{Build, Emulator, Image, Lock, Origin, Source, ToolchainSourceKey};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::resolve::Wanted;
use crate::store::{Lease, Store};
use crate::toolchain::Native;

pub(super) use emulator::{describe, new_emulator, origin};

/// A target, ready to run.
pub(super) struct Prepared {
    /// The build environment.
    pub(super) build: Build,
    /// The image, unpacked in the store.
    pub(super) image: Image,
    /// The lock's entries for the packages that the image and the native tools are composed of, and the archives of the emulator,
    /// as far as they are out of packages; and for the sources of the toolchain.
    pub(super) packages: Lock,
    /// The emulator and its file in the store, where the image is foreign.
    pub(super) emulator: Option<(Emulator, PathBuf)>,
    /// The image with native tools, unpacked in the store, where they are wanted and available.
    pub(super) native: Option<Image>,
    /// The sources of the project, for a run of it.
    pub(super) sources: BTreeMap<String, Source>,
    /// Report of what was fetched; `None` if no socket was opened.
    pub(super) fetched: Option<FetchReport>,
    /// Keeps everything in the store.
    pub(super) lease: Lease,
}

/// What has to be in the store for a target.
#[derive(Debug, Clone, Copy)]
pub(super) struct Purpose {
    /// Whether native tools are wanted.
    accel: Accel,
    /// Whether the emulator is wanted.
    emulator: Need,
    /// The blobs of layers that are unpacked are wanted as well.
    blobs: bool,
    /// The digest that the reference leads to, if that was found out before and the lock does not say.
    top: Option<Digest>,
    /// The state of an archive that the package of an emulator is chosen from.
    state: State,
}

/// Whether something is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    Welcome,
    None,
}

impl Purpose {
    /// For a run on this host, now.
    pub(super) const fn run(accel: Accel) -> Self {
        Self { accel, emulator: Need::Required, blobs: false, top: None, state: State::Locked }
    }

    /// For a run with the emulator that this host has registered.
    pub(super) const fn run_by_host(accel: Accel) -> Self {
        Self { emulator: Need::None, ..Self::run(accel) }
    }

    /// For runs on this host, and for other stores that read this one.
    pub(super) fn pull() -> Self {
        Self { blobs: true, ..Self::run(Accel::default()) }
    }

    /// For a later run, perhaps on another host.
    pub(super) fn prefetch(top: Option<Digest>) -> Self {
        Self { emulator: Need::Welcome, top, ..Self::pull() }
    }
}

/// Acquires everything that `target` needs, and adds it to the lock.
pub(super) fn prepare(context: &Context, store: &Store, target: &Target, purpose: Purpose) -> Result<Prepared, Error> {
    // Whatever is found to be there from here on stays there.
    let mut lease = store.lease();
    let session = LockSession::open(context, store, context.lock_file(target))?;
    let mut state = Preparation::new(Acquirer::new(context, store, &mut lease), session, target, purpose);
    loop {
        state.hold_locked(target);
        state.build()?;
        let is_root = state.choose_packages(target)?;
        if !is_root {
            state.locked(&(target.reference.clone(), target.image_platform))?;
        }
        // The emulator comes first, so that a missing one fails before the image is downloaded.
        let emulator = if purpose.emulator == Need::None { None } else { state.emulator(target)? };
        let image = if is_root {
            state.root(target, emulator.as_ref().map(|(emulator, _)| emulator))?
        } else {
            state.image(&target.reference, &target.wanted(), purpose.top)?
        };
        let native = state.native(target, &image)?;
        state.additions(target)?;
        if state.commit()? == Merged::Ours {
            state.session.add_gc_root();
            let mut packages = state.packages(target, emulator.is_some(), native.is_some());
            packages.toolchain_sources = added(target, &state.session.lock);
            return Ok(Prepared {
                packages,
                build: context.build_by(&state.session.lock),
                image,
                emulator,
                native,
                sources: BTreeMap::new(),
                fetched: state.acquirer.fetched,
                lease,
            });
        }
    }
}

/// The image of native tools that the toolchain of `target` names, if they are wanted.
pub(super) fn native_image(target: &Target, accel: Accel) -> Option<&Reference> {
    match native_tools(target, accel)? {
        Native::Image { image, .. } => Some(image),
        Native::Auto | Native::Off => None,
    }
}

/// The native tools for `target`, if they are wanted.
pub(super) fn native_tools(target: &Target, accel: Accel) -> Option<&Native> {
    target.native.as_ref().filter(|_| target.is_foreign() && accel != Accel::Off)
}

/// The sources that `lock` has for the toolchain of `target`.
fn added(target: &Target, lock: &Lock) -> BTreeMap<ToolchainSourceKey, Source> {
    let is_added = |(toolchain, platform, name): &ToolchainSourceKey| {
        Some(toolchain) == target.toolchain.as_ref()
            && *platform == target.platform
            && target.additions.sources.contains_key(name)
    };
    let sources = lock.toolchain_sources.iter().filter(|(key, _)| is_added(key));
    sources.map(|(key, source)| (key.clone(), source.clone())).collect()
}

/// A target in preparation.
struct Preparation<'a> {
    acquirer: Acquirer<'a>,
    session: LockSession<'a>,
    purpose: Purpose,
    /// What the lock lacks.
    found: Found,
    /// The toolchain of the target, or for an image the one whose emulator it gets.
    toolchain: String,
    /// Opened when the lock lacks an entry.
    others: Option<OtherLocks>,
}

impl<'a> Preparation<'a> {
    fn new(acquirer: Acquirer<'a>, session: LockSession<'a>, target: &Target, purpose: Purpose) -> Self {
        let toolchain = acquirer.context.toolchain(target.toolchain.clone());
        // What is chosen from the present state of an archive goes past other locks.
        let others = (purpose.state == State::Current).then(OtherLocks::default);
        Self { acquirer, session, purpose, found: Found::default(), toolchain, others }
    }

    fn context(&self) -> &'a Context {
        self.acquirer.context
    }

    fn store(&self) -> &'a Store {
        self.acquirer.store
    }

    /// The locks that are used where the lock has no entry.
    fn others(&mut self) -> Result<&OtherLocks, Error> {
        let others = match self.others.take() {
            Some(others) => others,
            None => OtherLocks::of(self.acquirer.context, &self.toolchain)?,
        };
        Ok(self.others.insert(others))
    }

    /// Keeps in the store what the lock has for `target`.
    fn hold_locked(&mut self, target: &Target) {
        let native = native_tools(target, self.purpose.accel).and_then(|_| target.native_reference());
        let native = native.map(|image| (image, Platform::host()));
        let lock = &self.session.lock;
        self.acquirer.hold(|needs| {
            for key in std::iter::once((target.reference.clone(), target.image_platform)).chain(native) {
                if let Some(image) = lock.images.get(&key) {
                    needs.image(image);
                } else if let Some(root) = lock.root(&key.0, key.1) {
                    needs.packages(&root.debs, &lock.archives_of(root).unwrap_or_default());
                }
            }
            if let Some(emulator) = lock.emulators.get(&target.image_platform) {
                needs.blob(&emulator.blob());
            }
            for source in added(target, lock).values() {
                needs.source(source);
            }
        });
    }

    /// Acquires the sources that the toolchain adds, and drops those that it has added before.
    fn additions(&mut self, target: &Target) -> Result<(), Error> {
        let locked = &self.session.lock;
        let mut new = BTreeMap::new();
        for (key, source) in self.acquirer.additions(target, locked, self.acquirer.context.locked)? {
            let stale = || self.session.stale(format!("source {} of {} for {}", key.2, key.0, key.1.name()));
            let source = source.ok_or_else(stale)?;
            if locked.toolchain_sources.get(&key) != Some(&source) {
                new.insert(key, source);
            }
        }
        let is_dropped = |key: &&ToolchainSourceKey| {
            Some(&key.0) == target.toolchain.as_ref()
                && key.1 == target.platform
                && !target.additions.sources.contains_key(&key.2)
        };
        let dropped = locked.toolchain_sources.keys().filter(is_dropped).cloned().collect();
        if !self.context().locked {
            self.found.lock.toolchain_sources = new;
            self.found.dropped_toolchain_sources = dropped;
        }
        Ok(())
    }

    /// Adds to the lock what was found. With [`Merged::Theirs`] all that is needed is in the lock, so that the second time comes
    /// to an end.
    fn commit(&mut self) -> Result<Merged, Error> {
        let found = std::mem::take(&mut self.found);
        if found.is_empty() {
            return Ok(Merged::Ours);
        }
        let missing_build = Some(self.context().build_by(&self.session.lock));
        self.session.merge(&Found { missing_build, ..found })
    }

    /// The locked image; an error where the lock has none and must not change.
    fn locked(&mut self, key: &(Reference, Platform)) -> Result<Option<Image>, Error> {
        let (reference, platform) = key;
        if let Some(image) = self.session.lock.images.get(key).or_else(|| self.found.lock.images.get(key)) {
            return Ok(Some(image.clone()));
        }
        match self.others()?.image(key).cloned() {
            Some(image) => {
                self.found.lock.images.insert(key.clone(), image.clone());
                Ok(Some(image))
            }
            None if self.context().locked => Err(self.session.stale(format!("{reference} for {}", platform.name()))),
            None => Ok(None),
        }
    }

    /// Compares the build environment that the project requests with the lock's, which has to agree with it. Nothing is taken
    /// from the lock alone, so that a lock from a stranger grants no access.
    fn build(&mut self) -> Result<(), Error> {
        let wanted = self.context().build_by(&self.session.lock);
        match &self.session.lock.build {
            Some(locked) if !locked.is_same(&wanted) => {
                if self.context().locked {
                    return Err(self.session.stale("the [build] settings of hermes.toml".to_owned()));
                }
                self.found.lock.build = Some(wanted);
            }
            // A lock that an older hermes wrote gets it with the next thing that is added.
            _ => {}
        }
        Ok(())
    }

    /// The lock with what was found since it was read.
    fn lock_so_far(&self) -> Lock {
        let (mut lock, found) = (self.session.lock.clone(), self.found.lock.clone());
        lock.images.extend(found.images);
        lock.emulators.extend(found.emulators);
        lock.archives.extend(found.archives);
        lock.roots.extend(found.roots);
        lock.natives.extend(found.natives);
        lock
    }

    /// The lock's entries for packages that a run of `target` uses.
    fn packages(&self, target: &Target, emulator: bool, native: bool) -> Lock {
        let (mut packages, lock) = (Lock::default(), &self.session.lock);
        packages.copy_root(&target.reference, target.image_platform, lock);
        if let Some(reference) = target.native_reference().filter(|_| native) {
            packages.copy_root(&reference, Platform::host(), lock);
        }
        let locked = lock.emulators.get(&target.image_platform).filter(|_| emulator);
        if let Some(Origin::Package(file)) = locked.and_then(|locked| locked.origin.as_ref()) {
            packages.copy_archives(&file.archives, lock);
        }
        packages
    }

    /// An image, complete and unpacked, as the lock has it; one that the lock lacks is added to it. `top` is the digest
    /// that the reference leads to, if that is known.
    fn image(&mut self, reference: &Reference, wanted: &Wanted, top: Option<Digest>) -> Result<Image, Error> {
        let platform = wanted.platform;
        let key = (reference.clone(), platform);
        let locked = self.locked(&key)?;
        let is_new = locked.is_none();
        let want = Want { wanted: wanted.clone(), locked, top, blobs: self.purpose.blobs };
        let (mut image, how) = self.acquirer.image(reference, want)?;
        if is_new || (how != How::Present && image.tree.is_some()) {
            self.acquirer.check_tree(reference, platform, &mut image)?;
        }
        if is_new {
            self.found.lock.images.insert(key, image.clone());
        }
        Ok(image)
    }
}
