//! `hermes bundle`: writes everything that a lock references to one file, and reads it back.

mod error;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use serde::Serialize;

pub(crate) use error::BundleError;

use crate::commands::acquire::{Acquirer, LockSession, WantedRoot};
use crate::commands::prepare::{Purpose, prepare};
use crate::commands::source::acquire::Scope;
use crate::commands::{Context, Error, Target};
use crate::fetch::unpack_local;
use crate::fs::atomic;
use crate::lock::{Image, Lock, LockFile, UnknownPlatforms, native_key, root_key, root_reference};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::rootfs::Rootfs;
use crate::store::{Part, Store};

/// A bundle, written or read.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Bundled {
    /// The file.
    pub file: PathBuf,
    /// What it holds.
    pub parts: Vec<Part>,
}

/// Writes a bundle of the lock to `file`, which appears when it is complete. Downloads first what the store does not have.
/// With `platforms`, the bundle has these only.
///
/// # Errors
/// There is no lock, or it is empty; something is missing under `--offline`; the file cannot be written.
pub(crate) fn create(context: Context, platforms: &[Platform], file: &Path) -> Result<Bundled, Error> {
    let unwritable = |source: io::Error| Error::Unwritable { path: file.to_owned(), source };
    write(
        context,
        platforms,
        file,
        || atomic::create(file).map_err(unwritable),
        |out| out.publish().map_err(unwritable),
    )
}

/// Writes a bundle to a stream.
pub(crate) fn stream(context: Context, platforms: &[Platform], out: File) -> Result<Bundled, Error> {
    write(context, platforms, Path::new("-"), || Ok(out), |_| Ok(()))
}

fn write<F: io::Write>(
    context: Context,
    platforms: &[Platform],
    name: &Path,
    open: impl FnOnce() -> Result<F, Error>,
    publish: impl FnOnce(F) -> Result<(), Error>,
) -> Result<Bundled, Error> {
    // The bundle has what the lock references, and not the emulators by which the user replaces a part of it.
    let context = Context { locked: true, emulators: BTreeMap::new(), ..context };
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
    if let Some(((toolchain, target), root)) =
        lock.roots.iter().find(|(key, root)| lock.image_of_root(key, root).is_none())
        && let Some(reference) = root_reference(toolchain, *target, root.platform)
    {
        return Err(Error::NotComposed { reference, platform: root.platform });
    }
    // A run does without those that no machine has composed.
    let mut natives = lock.natives.clone();
    natives.retain(|key, native| lock.image_of_native(key, native).is_some());
    lock.natives = natives;
    lock.drop_unused_archives();
    if lock.images.is_empty() {
        return Err(BundleError::NothingLocked { lock: file.path().to_owned() }.into());
    }
    let store = context.open_store()?;
    let _lease = store.lease_all();
    complete(&context, &store, &lock)?;
    let mut out = open()?;
    let parts = store.write_bundle(&lock, BufWriter::with_capacity(1 << 20, &mut out), context.reporter.as_ref())?;
    publish(out)?;
    Ok(Bundled { file: name.to_owned(), parts })
}

/// Fetches what `lock` names and the store does not have.
fn complete(context: &Context, store: &Store, lock: &Lock) -> Result<(), Error> {
    let lacking = store.lacking(lock)?;
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
    let lacking_images = lock.images.iter().filter(|(_, image)| is_lacking(image));
    let (roots, images): (Vec<_>, Vec<_>) =
        lacking_images.partition(|((reference, platform), _)| lock.root(reference, *platform).is_some());
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
    for ((reference, platform), image) in roots {
        compose(context, &mut acquirer, lock, (reference, *platform), image)?;
    }
    let is_missing = lock.sources.values().any(|source| !store.has_blob(&source.blob()));
    if let Some(project) = context.project.as_ref().filter(|_| is_missing) {
        let allowed = context.allow_sources(&project.sources)?;
        let sources = acquirer.sources(context.lock_of_project(project), &project.sources, Scope::Project, &allowed)?;
        // The archive of an unpacked source may have been removed.
        acquirer.archives(&project.sources, &allowed, &sources)?;
    }
    acquirer.archives_of_toolchains(lock)?;
    match store.lacking(lock)? {
        lacking if lacking.is_empty() => Ok(()),
        lacking => Err(BundleError::lacking(lacking).into()),
    }
}

/// Composes the root of `key`, whose image `lock` has, with the emulator of the lock.
fn compose(
    context: &Context,
    acquirer: &mut Acquirer<'_>,
    lock: &Lock,
    key: (&Reference, Platform),
    image: &Image,
) -> Result<(), Error> {
    let (reference, platform) = key;
    let Some(root) = lock.root(reference, platform) else { return Ok(()) };
    let archives = lock.archives_of(root).unwrap_or_default();
    let key = root_key(reference, platform).or_else(|| native_key(reference));
    let toolchain = key.as_ref().map(|(toolchain, _)| toolchain.as_str());
    let target = key.as_ref().and_then(|(toolchain, target)| context.catalog.target(toolchain, *target).ok());
    let wanted = WantedRoot {
        reference,
        toolchain,
        packages: target
            .as_ref()
            .and_then(|target| target.packages.as_ref().or(target.archive.as_ref().map(|archive| &archive.packages))),
        root,
        archives: &archives,
        locked: Some(image),
        emulator: lock.emulators.get(&platform).filter(|_| !Platform::host().runs(platform)),
    };
    acquirer.root(wanted).map(drop)
}

/// Imports the bundle `file` into the store and unpacks it, so that runs by its lock need no network. With `write_lock`,
/// writes its lock if the project has none.
///
/// # Errors
/// The file is not a bundle, has another version or is damaged: nothing is imported then. With `write_lock`, a different
/// lock exists.
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
    for ((reference, platform), image) in &lock.images {
        unpack_local(image, &store, context.reporter.as_ref())?;
        Rootfs::make_ready(image, &store)?;
        if image.tree.is_some() {
            Acquirer::new(context, &store, &mut lease).check_tree(reference, *platform, &mut image.clone())?;
        }
        // The tag may mean something newer here.
        store.set_ref(&reference.pinned(image.top().digest), image.top())?;
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
        let lacking = store.lacking(now)?;
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
