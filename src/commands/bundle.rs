//! `hermes bundle`: writes everything that a lock references to one file, and reads it back.

mod error;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use serde::Serialize;

pub(crate) use error::BundleError;

use crate::commands::acquire::{Acquirer, Documents, LockSession, LockedRoot};
use crate::commands::prepare::{Purpose, prepare};
use crate::commands::source::acquire::Scope;
use crate::commands::{Context, Error, Target};
use crate::fetch::unpack_local;
use crate::fs::atomic;
use crate::hint::error_chain;
use crate::lock::{Image, Lock, LockFile, UnknownPlatforms};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::rootfs::Rootfs;
use crate::store::{Form, Part, Store};

/// A bundle, written or read.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Bundled {
    /// The file.
    pub file: PathBuf,
    /// What it holds.
    pub parts: Vec<Part>,
}

/// What goes into a bundle.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// Only what is locked for these platforms; empty for all.
    pub platforms: Vec<Platform>,
    /// Packages instead of the images that are composed of them.
    pub packages: bool,
}

/// Writes a bundle of the lock to `file`, which appears when it is complete. Downloads first what the store does not have.
///
/// # Errors
/// There is no lock, or it is empty; something is missing under `--offline`; the file cannot be written.
pub(crate) fn create(context: Context, selection: &Selection, file: &Path) -> Result<Bundled, Error> {
    let unwritable = |source: io::Error| Error::Unwritable { path: file.to_owned(), source };
    write(
        context,
        selection,
        file,
        || atomic::create(file).map_err(unwritable),
        |out| out.publish().map_err(unwritable),
    )
}

/// Writes a bundle to a stream.
pub(crate) fn stream(context: Context, selection: &Selection, out: File) -> Result<Bundled, Error> {
    write(context, selection, Path::new("-"), || Ok(out), |_| Ok(()))
}

fn write<F: io::Write>(
    context: Context,
    selection: &Selection,
    name: &Path,
    open: impl FnOnce() -> Result<F, Error>,
    publish: impl FnOnce(F) -> Result<(), Error>,
) -> Result<Bundled, Error> {
    // The bundle has what the lock references, and not the emulators by which the user replaces a part of it.
    let context = Context { locked: true, emulators: BTreeMap::new(), ..context };
    let platforms = &selection.platforms;
    let file = context.shared_lock().ok_or(BundleError::NoProject)?;
    let mut lock = file.read()?;
    // A hermes that knows these platforms would look for their blobs in the bundle.
    let unknown = std::mem::take(&mut lock.unknown);
    if platforms.is_empty() && unknown != UnknownPlatforms::default() {
        let names = unknown.names().join(", ");
        context
            .reporter
            .warn(&format!("the bundle lacks platforms of the lockfile that this hermes does not know: {names}"));
    }
    if !platforms.is_empty() {
        lock.images.retain(|(_, platform), _| platforms.contains(platform));
        lock.emulators.retain(|platform, _| platforms.contains(platform));
        lock.roots.retain(|_, root| platforms.contains(&root.platform));
        lock.natives.retain(|_, native| platforms.contains(&native.root.platform));
        let roots = &lock.roots;
        lock.toolchain_sources.retain(|(toolchain, platform, _), _| {
            platforms.contains(platform) || roots.contains_key(&(toolchain.clone(), *platform))
        });
        lock.drop_unused_archives();
    }
    // A run does without those that no machine has composed.
    let mut natives = lock.natives.clone();
    natives.retain(|key, native| lock.image_of_native(key, native).is_some());
    lock.natives = natives;
    lock.drop_unused_archives();
    let form = if selection.packages && !(lock.roots.is_empty() && lock.natives.is_empty()) {
        Form::Packages
    } else {
        Form::Images
    };
    let not_composed = LockedRoot::all(&context, &lock).into_iter().find(|root| root.image.is_none());
    if let Some(root) = not_composed.filter(|_| form == Form::Images) {
        return Err(Error::NotComposed { reference: root.reference, platform: root.root.platform });
    }
    if lock.images.is_empty() && form == Form::Images {
        return Err(BundleError::NothingLocked { lock: file.path().to_owned() }.into());
    }
    let store = context.open_store()?;
    let _lease = store.lease_all();
    complete(&context, &store, &lock, form)?;
    let mut out = open()?;
    let buffered = BufWriter::with_capacity(1 << 20, &mut out);
    let parts = store.write_bundle(&lock, form, buffered, context.reporter.as_ref())?;
    publish(out)?;
    Ok(Bundled { file: name.to_owned(), parts })
}

/// Fetches what a bundle of `lock` has and the store does not.
fn complete(context: &Context, store: &Store, lock: &Lock, form: Form) -> Result<(), Error> {
    let lacking = store.lacking(lock, form)?;
    if lacking.is_empty() {
        return Ok(());
    }
    if context.offline {
        return Err(BundleError::lacking(lacking).into());
    }
    let is_lacking = |image: &Image| {
        let blobs = image.index.iter().chain([&image.manifest, &image.config]);
        blobs.chain(image.layers.iter().map(|layer| &layer.blob)).any(|blob| !store.has_blob(blob))
    };
    let is_image = |key: &(Reference, Platform)| lock.root(&key.0, key.1).is_none();
    let images: Vec<_> = lock.images.iter().filter(|(key, image)| is_image(key) && is_lacking(image)).collect();
    let mut lease = store.lease();
    let mut acquirer = Acquirer::new(context, store, &mut lease);
    if !images.is_empty() {
        acquirer.blobs(images.into_iter().map(|((reference, _), image)| (reference, image)))?;
    }
    for (platform, _) in lock.emulators.iter().filter(|(_, emulator)| !store.has_blob(&emulator.blob())) {
        let Some((reference, _)) = lock.images.keys().find(|(_, wanted)| wanted == platform) else { continue };
        let (reference, platform) = (reference.clone(), *platform);
        prepare(context, store, &Target::image(reference, platform), Purpose::pull())?;
    }
    for root in LockedRoot::all(context, lock) {
        if !root.is_native() {
            acquirer.documents(root.wanted(), Documents::All)?;
        }
        match form {
            Form::Packages => drop(acquirer.debs(root.wanted())?),
            Form::Images if root.image.is_some_and(is_lacking) => compose(&mut acquirer, &root)?,
            Form::Images => {}
        }
    }
    let is_missing = lock.sources.values().any(|source| !store.has_blob(&source.blob()));
    if let Some(project) = context.project.as_ref().filter(|_| is_missing) {
        let allowed = context.allow_sources(&project.sources)?;
        let sources = acquirer.sources(context.lock_of_project(project), &project.sources, Scope::Project, &allowed)?;
        // The archive of an unpacked source may have been removed.
        acquirer.archives(&project.sources, &allowed, &sources)?;
    }
    acquirer.archives_of_toolchains(lock)?;
    match store.lacking(lock, form)? {
        lacking if lacking.is_empty() => Ok(()),
        lacking => Err(BundleError::lacking(lacking).into()),
    }
}

/// Composes a root, with the emulator of its lock.
fn compose(acquirer: &mut Acquirer<'_>, root: &LockedRoot<'_>) -> Result<(), Error> {
    let platform = root.root.platform;
    let is_runnable = !root.root.scripts || Platform::host().runs(platform) || root.emulator.is_some();
    if !is_runnable && acquirer.composed(root.wanted())?.is_none() {
        return Err(Error::NotComposed { reference: root.reference.clone(), platform });
    }
    let (mut image, _) = acquirer.root(root.wanted())?;
    acquirer.check_tree(&root.reference, platform, &mut image)
}

/// Imports the bundle `file` into the store, unpacks its images and composes its packages, so that runs by its lock need no
/// network. With `write_lock`, writes its lock if the project has none.
///
/// # Errors
/// The file is not a bundle, has another version or is damaged: nothing is imported then. With `write_lock`, a different
/// lock exists. Packages are composed to another image than the locked one.
pub(crate) fn load(context: &Context, file: &Path, write_lock: bool) -> Result<Bundled, Error> {
    let own = context.shared_lock();
    if write_lock && own.is_none() {
        return Err(BundleError::NoProject.into());
    }
    let store = context.open_store()?;
    let mut lease = store.lease_all();
    let bundle = store.stage_bundle(file, context.reporter.as_ref())?;
    let lock = bundle.lock();
    let before = own.as_ref().map(LockFile::read).transpose()?.unwrap_or_default();
    if write_lock && before != Lock::default() && before != *lock {
        let path = own.map(|own| own.path().to_owned()).unwrap_or_default();
        return Err(BundleError::OtherLock { path }.into());
    }
    bundle.publish(&store, &mut lease)?;
    let is_packed = |key: &(Reference, Platform)| bundle.form() == Form::Packages && lock.root(&key.0, key.1).is_some();
    for ((reference, platform), image) in lock.images.iter().filter(|(key, _)| !is_packed(key)) {
        unpack_local(image, &store, context.reporter.as_ref())?;
        Rootfs::make_ready(image, &store)?;
        if image.tree.is_some() {
            Acquirer::new(context, &store, &mut lease).check_tree(reference, *platform, &mut image.clone())?;
        }
        // The tag may mean something newer here.
        store.set_ref(&reference.pinned(image.top().digest), image.top())?;
    }
    if bundle.form() == Form::Packages {
        // The bundle is all that there is to compose from.
        let context = Context { offline: true, emulators: BTreeMap::new(), ..context.clone() };
        for root in LockedRoot::all(&context, lock) {
            match compose(&mut Acquirer::new(&context, &store, &mut lease), &root) {
                // Another host can compose them.
                Err(error @ Error::NotComposed { .. }) => context.reporter.warn(&error_chain(&error)),
                composed => composed?,
            }
        }
    }
    if let Some(own) = &own {
        let now = if write_lock { settle(own, lock)? } else { before };
        tell_of(context, &store, own, &now, lock)?;
    } else {
        context
            .reporter
            .warn("there is no project here; write the lockfile of the bundle with --write-lock --lock FILE");
    }
    Ok(Bundled { file: file.to_owned(), parts: bundle.parts().to_vec() })
}

/// Writes `lock` if the project has none.
fn settle(own: &LockFile, lock: &Lock) -> Result<Lock, Error> {
    let now = own.update(|now| {
        if *now == Lock::default() {
            *now = lock.clone();
        }
    })?;
    if now == *lock { Ok(now) } else { Err(BundleError::OtherLock { path: own.path().to_owned() }.into()) }
}

/// Makes the lock a root of the garbage collector, and tells the user what the store lacks of it.
fn tell_of(context: &Context, store: &Store, own: &LockFile, now: &Lock, of_bundle: &Lock) -> Result<(), Error> {
    let (path, reporter) = (own.path(), context.reporter.as_ref());
    if *now == Lock::default() {
        let what = format!("{} does not exist; write the lockfile of the bundle with --write-lock", path.display());
        reporter.warn(&what);
        return Ok(());
    }
    LockSession::of(context, store, own.clone(), Lock::default()).add_gc_root();
    if now != of_bundle {
        let lacking = store.lacking(now, Form::Images)?;
        let mut names: Vec<_> = lacking.into_iter().map(|(_, name)| name).collect();
        names.dedup();
        for name in names.iter().take(10) {
            reporter.warn(&format!(
                "{} references {name}, which is neither in the bundle nor in the store",
                path.display()
            ));
        }
    }
    Ok(())
}
