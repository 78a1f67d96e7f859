//! `hermes lock`: creates, updates, checks and compares lockfiles.

mod natives;
mod roots;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::commands::OwnError;
use crate::commands::acquire::{Acquirer, Key, LockSession, OtherLocks, State};
use crate::commands::image_diff::{self, ImageChanges};
use crate::commands::mirror::missing;
use crate::commands::prepare::{native_image, new_emulator, origin};
use crate::commands::{Context, Error, Target, TargetSelector};
use crate::emulation::Accel;
use crate::hint::{ErrorKind, Hint, error_chain};
use crate::lock::{Change, Emulator, Entry, Image, Lock, LockFile, Origin, differences};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::source::Label;
use crate::store::Store;
use crate::toolchain::EmulatorSource;

/// What to do with a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// Add missing entries; existing ones stay.
    Complete,
    /// Resolve these references again, or all if there are none; the name of a toolchain stands for all of its images.
    Update(Vec<String>),
    /// As [`Self::Update`] of all entries, but write nothing.
    Check,
}

/// A request to `hermes lock`.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Name of the toolchain; `None` for the project's.
    pub toolchain: Option<String>,
    /// Platforms; empty for all that the toolchain has.
    pub platforms: Vec<Platform>,
    /// The action.
    pub what: What,
    /// Whether layers are fetched too.
    pub fetch: bool,
}

/// A change of an entry, with the changes inside its image.
#[derive(Debug, Serialize)]
pub(crate) struct Changed {
    /// The entry.
    #[serde(flatten)]
    pub change: Change,
    /// Changes of packages and settings, if the store has the configs of both images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageChanges>,
}

/// The result of locking, or what it would be.
#[derive(Debug, Serialize)]
pub(crate) struct Locked {
    /// The file; `None` for a comparison of two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<PathBuf>,
    /// Whether the file was written.
    pub written: bool,
    /// Changed entries.
    pub changes: Vec<Changed>,
}

/// Errors of `hermes lock`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockCommandError {
    /// `--update NAME`.
    #[error("the lockfile has no entry '{name}' to update")]
    Name {
        /// The name on the command line.
        name: String,
        /// Names that the lockfile has.
        known: Vec<String>,
    },
    /// A file to compare does not exist.
    #[error("the lockfile {0} does not exist")]
    Absent(PathBuf),
}

impl OwnError for LockCommandError {}

impl Hint for LockCommandError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Name { known, .. } if known.is_empty() => {
                vec!["the lockfile has no entries yet; run: hermes lock".to_owned()]
            }
            Self::Name { known, .. } => vec![format!("entries in the lockfile: {}", known.join(", "))],
            Self::Absent(_) => vec![],
        }
    }
}

/// Completes, renews or checks the lock of a toolchain, for all its platforms.
pub(crate) fn lock(context: &Context, request: &Request) -> Result<Locked, Error> {
    context.allow_project(false)?;
    let name = context.toolchain(request.toolchain.clone());
    let file = context.lock_of(&name);
    let old = file.read()?;
    let targets = targets(context, request, &name, &old)?;
    let stale = stale(request, &name, &targets, &old)?;
    let store = context.open_store()?;
    let mut lease = store.lease();
    let acquirer = Acquirer::new(context, &store, &mut lease);
    // An update goes past what hermes ships.
    let others = if request.what.renews_all() { OtherLocks::default() } else { OtherLocks::of(context, &name)? };
    let mut renewal = Renewal { context, store: &store, acquirer, others, fetch: request.fetch };
    let mut new = Lock { build: Some(context.build_by(&old)), ..old.clone() };
    renewal.images(&mut new, &targets, &stale)?;
    renewal.emulators(&mut new, &old, &targets, &file, request.what != What::Complete)?;
    let others = request.other_roots(context, &name, &old);
    let targets = [targets, others].concat();
    renewal.roots(&mut new, &old, &targets, &request.what)?;
    renewal.natives(&mut new, &targets, &request.what)?;
    if request.what != What::Complete {
        new.unify_archives();
    }
    renewal.sources(&mut new, &request.what)?;
    renewal.additions(&mut new, &targets, &request.what)?;
    if let Some(build) = old.build.as_ref().filter(|build| build.is_same(&context.build_by(&old))) {
        // Written by another hermes, and the same to a build.
        new.build = Some(build.clone());
    }
    let changes = differences(&old, &new);
    let written = request.what != What::Check && old != new && !context.locked;
    if context.locked && request.what != What::Check && old != new {
        let what = changes.first().map_or_else(|| "its contents".to_owned(), |change| change.entry.to_string());
        return Err(Error::Stale { lock: file.path().to_owned(), what });
    }
    if written {
        file.update(|lock| {
            for change in &changes {
                lock.take(&change.entry, &new);
            }
            lock.build.clone_from(&new.build);
            // Packages that were locked alone, and are composed now.
            for (key, image) in &new.images {
                if let Some(root) = lock.root(&key.0, key.1).filter(|_| !lock.images.contains_key(key))
                    && new.root(&key.0, key.1) == Some(root)
                {
                    lock.images.insert(key.clone(), image.clone());
                }
            }
            for (key, image) in &mut lock.images {
                image.tree =
                    image.tree.or_else(|| new.images.get(key).filter(|new| new.manifest == image.manifest)?.tree);
            }
        })?;
        LockSession::of(context, &store, file.clone(), Lock::default()).add_gc_root();
    }
    if request.what != What::Check {
        missing::note(context, &file);
    }
    let changes = explained(context, &store, changes, &old, &new)?;
    Ok(Locked { lock: Some(file.path().to_owned()), written, changes })
}

/// Compares two lock files.
pub(crate) fn compare(context: &Context, old: &Path, new: &Path) -> Result<Locked, Error> {
    let read = |path: &Path| {
        if !path.try_exists().is_ok_and(|there| there) {
            return Err(Error::from(LockCommandError::Absent(path.to_owned())));
        }
        Ok(LockFile::new(path.to_owned()).read()?)
    };
    let (old, new) = (read(old)?, read(new)?);
    let changes = differences(&old, &new);
    let changes = match context.existing_store()? {
        Some(store) => explained(context, &store, changes, &old, &new)?,
        None => changes.into_iter().map(|change| Changed { change, image: None }).collect(),
    };
    Ok(Locked { lock: None, written: false, changes })
}

/// Adds to each change of an image what changed inside it, if the store has both images.
fn explained(
    context: &Context,
    store: &Store,
    changes: Vec<Change>,
    old: &Lock,
    new: &Lock,
) -> Result<Vec<Changed>, Error> {
    let image = |change: &Change| {
        if let Entry::Root(..) | Entry::Native(..) = &change.entry {
            return Ok(image_diff::between_packages(&change.entry, old, new));
        }
        let Entry::Image(reference, platform) = &change.entry else { return Ok(None) };
        let key = (reference.clone(), *platform);
        let Some((old, new)) = old.images.get(&key).zip(new.images.get(&key)) else { return Ok(None) };
        let is_here = |image: &Image| [&image.manifest, &image.config].iter().all(|blob| store.has_blob(blob));
        if old.config == new.config || !is_here(old) || !is_here(new) {
            return Ok(None);
        }
        image_diff::between(context, store, old, new).map(Some)
    };
    changes.into_iter().map(|change| Ok(Changed { image: image(&change)?, change })).collect()
}

/// The targets to lock: all platforms of the toolchain or, if nothing is added, those in the lock and the default one.
fn targets(context: &Context, request: &Request, name: &str, lock: &Lock) -> Result<Vec<Target>, Error> {
    let choose = |platform| {
        context.choose(TargetSelector {
            platform: Some(platform),
            toolchain: Some(name.to_owned()),
            ..TargetSelector::default()
        })
    };
    if !request.platforms.is_empty() {
        return request.platforms.iter().map(|platform| choose(*platform)).collect();
    }
    let definition = context.catalog.find(name)?;
    let mut targets = definition.platform.into_keys().map(choose).collect::<Result<Vec<_>, _>>()?;
    if request.what != What::Complete {
        let usual = context.project.as_ref().and_then(|project| project.platform).unwrap_or_else(Platform::host);
        let is_locked = |target: &Target| lock.has(target.key()) || target.platform == usual;
        targets.retain(is_locked);
    }
    Ok(targets)
}

/// The images of a lock that are not composed of packages.
fn images_of(lock: &Lock) -> impl Iterator<Item = &Key> {
    lock.images.keys().filter(|(reference, platform)| lock.root(reference, *platform).is_none())
}

/// Entries of the lock to resolve again.
fn stale(request: &Request, toolchain: &str, targets: &[Target], lock: &Lock) -> Result<BTreeSet<Key>, Error> {
    let names = match &request.what {
        What::Complete => return Ok(BTreeSet::new()),
        What::Check => &vec![],
        What::Update(names) => names,
    };
    if names.is_empty() {
        let is_asked = |(_, platform): &&Key| {
            request.platforms.is_empty() || targets.iter().any(|target| target.image_platform == *platform)
        };
        return Ok(images_of(lock).filter(is_asked).cloned().collect());
    }
    let mut stale = BTreeSet::new();
    let has_packages = |name: &String| {
        lock.roots.keys().any(|(toolchain, _)| toolchain == name)
            || lock.toolchain_sources.keys().any(|(toolchain, _, _)| toolchain == name)
    };
    for name in names.iter().filter(|name| !lock.sources.contains_key(*name)) {
        let of_toolchain: BTreeSet<&Reference> = if name == toolchain {
            targets
                .iter()
                .flat_map(|target| [Some(&target.reference), native_image(target, Accel::default())])
                .flatten()
                .collect()
        } else {
            BTreeSet::new()
        };
        let reference: Option<Reference> = name.parse().ok();
        let is_meant = |known: &Reference| of_toolchain.contains(known) || Some(known) == reference.as_ref();
        let meant: Vec<_> = images_of(lock).filter(|(known, _)| is_meant(known)).cloned().collect();
        if meant.is_empty() && !has_packages(name) {
            let images = images_of(lock).map(|(known, _)| known.to_string());
            let toolchains = lock.roots.keys().map(|(toolchain, _)| toolchain);
            let toolchains =
                toolchains.chain(lock.toolchain_sources.keys().map(|(toolchain, _, _)| toolchain)).cloned();
            let known: BTreeSet<String> = images.chain(toolchains).chain(lock.sources.keys().cloned()).collect();
            return Err(LockCommandError::Name { name: name.clone(), known: known.into_iter().collect() }.into());
        }
        stale.extend(meant);
    }
    Ok(stale)
}

impl What {
    /// Whether everything is resolved again.
    fn renews_all(&self) -> bool {
        match self {
            Self::Complete => false,
            Self::Check => true,
            Self::Update(names) => names.is_empty(),
        }
    }

    /// Whether the lock's entry of this source is made again.
    fn renews(&self, source: &str) -> bool {
        match self {
            Self::Complete => false,
            Self::Check => true,
            Self::Update(names) => names.is_empty() || names.iter().any(|name| name == source),
        }
    }
}

/// Renewal of a lock.
struct Renewal<'a> {
    context: &'a Context,
    store: &'a Store,
    acquirer: Acquirer<'a>,
    /// Used where the lock has no entry.
    others: OtherLocks,
    fetch: bool,
}

impl Renewal<'_> {
    /// Puts the sources of the project into `lock`, renewed where `what` says so. None is renewed offline.
    fn sources(&mut self, lock: &mut Lock, what: &What) -> Result<(), Error> {
        let Some(project) = &self.context.project else { return Ok(()) };
        let allowed = self.context.allow_sources(&project.sources)?;
        let mut sources = BTreeMap::new();
        for (name, definition) in &project.sources {
            let known = lock.sources.get(name).filter(|_| self.context.offline || !what.renews(name));
            let label = Label::of_project(name);
            let wanted = self.acquirer.of_project(&label, definition, &allowed)?;
            sources.extend(self.acquirer.source(wanted, known, false)?.map(|source| (name.clone(), source)));
        }
        lock.sources = sources;
        Ok(())
    }

    /// Puts the sources of the toolchains of `targets` into `lock`, renewed where `what` says so. None is renewed offline.
    fn additions(&mut self, lock: &mut Lock, targets: &[Target], what: &What) -> Result<(), Error> {
        for target in targets {
            let Some(toolchain) = &target.toolchain else { continue };
            let renews = !self.context.offline && what.renews_packages(toolchain);
            let known = if renews { &Lock::default() } else { &*lock };
            let acquired = self.acquirer.additions(target, known, false)?;
            lock.toolchain_sources.retain(|(name, platform, _), _| name != toolchain || *platform != target.platform);
            let found = acquired.into_iter().filter_map(|(key, source)| Some((key, source?)));
            lock.toolchain_sources.extend(found);
        }
        Ok(())
    }

    /// Adds missing images of `targets` to `lock`, and renews those in `stale`.
    fn images(&mut self, lock: &mut Lock, targets: &[Target], stale: &BTreeSet<Key>) -> Result<(), Error> {
        let host = Platform::host();
        for target in targets.iter().filter(|target| target.is_foreign()) {
            if !lock.emulators.contains_key(&target.image_platform) {
                self.others.emulator(target.image_platform, lock);
            }
        }
        let mut needed: BTreeMap<Key, bool> = stale.iter().map(|key| (key.clone(), true)).collect();
        for target in targets {
            if target.packages.is_none() {
                needed.insert((target.reference.clone(), target.image_platform), true);
            }
            let emulator = origin(self.context, None, lock, target.image_platform, target.emulator.as_ref());
            let emulator =
                emulator.map(|origin| origin.image).filter(|_| !lock.emulators.contains_key(&target.image_platform));
            for welcome in emulator.iter().chain(native_image(target, Accel::default())) {
                needed.entry((welcome.clone(), host)).or_insert(false);
            }
        }
        for key in needed.keys() {
            if let (false, Some(image)) = (lock.images.contains_key(key), self.others.image(key)) {
                lock.images.insert(key.clone(), image.clone());
            }
        }
        // A digest always names the same image.
        needed.retain(|key, _| !lock.images.contains_key(key) || (stale.contains(key) && key.0.digest().is_none()));
        for (key, mut image) in self.now(lock, &needed)? {
            let known = lock.images.get(&key).filter(|known| known.manifest == image.manifest);
            image.tree = known.and_then(|known| known.tree);
            lock.images.insert(key, image);
        }
        let unpacked = lock.images.values_mut().filter(|image| image.tree.is_none() && self.store.has_image(image));
        for image in unpacked {
            image.tree = Some(self.store.tree_digest(&image.diff_ids())?);
        }
        Ok(())
    }

    /// Resolves references at their registries or, offline, in the store. An image that is not `true` in `needed` may be
    /// missing.
    fn now(&mut self, lock: &Lock, needed: &BTreeMap<Key, bool>) -> Result<Vec<(Key, Image)>, Error> {
        let answers = self.acquirer.resolve_all(needed.keys(), lock, self.fetch)?;
        let mut found = Vec::new();
        for (key, answer) in answers {
            match answer {
                Ok(image) => found.push((key.clone(), image)),
                Err(error) if !needed[key] && error.is_absence() => self.context.reporter.warn(&error_chain(&error)),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Adds missing emulators to `lock`; with `renew`, also replaces those whose image has changed.
    fn emulators(
        &mut self,
        lock: &mut Lock,
        old: &Lock,
        targets: &[Target],
        file: &LockFile,
        renew: bool,
    ) -> Result<(), Error> {
        for target in targets.iter().filter(|target| target.is_foreign()) {
            let platform = target.image_platform;
            let has = lock.emulators.remove(&platform);
            let wanted = origin(self.context, None, lock, platform, target.emulator.as_ref());
            let is_package = matches!(target.emulator, Some(EmulatorSource::Package { .. }));
            let is_named = wanted.is_some() || is_package;
            let is_other = |has: &Emulator| {
                // The archive may have another version.
                let Some(wanted) = &wanted else { return is_package };
                let key = (wanted.image.clone(), Platform::host());
                let manifest = |lock: &Lock| lock.images.get(&key).map(|image| image.manifest.digest);
                has.origin != Some(Origin::Image(wanted.clone())) || manifest(lock) != manifest(old)
            };
            match has {
                Some(has) if !renew || !is_other(&has) => drop(lock.emulators.insert(platform, has)),
                has => match self.new_emulator(file, lock, target, (renew, has.as_ref())) {
                    Ok((emulator, _)) if is_named && emulator.origin.is_none() => {
                        // A run here can use it, but no other machine could get it.
                        let name = platform.name();
                        self.context.reporter.warn(&format!("not locking the emulator of this host for {name}"));
                        lock.emulators.extend(has.map(|has| (platform, has)));
                    }
                    Ok((emulator, found)) => {
                        lock.emulators.insert(platform, emulator);
                        lock.images.extend(found.images);
                        lock.archives.extend(found.archives);
                    }
                    Err(error) if error.is_lack_of_emulator() => {
                        self.context.reporter.warn(&error_chain(&error));
                        lock.emulators.extend(has.map(|has| (platform, has)));
                    }
                    Err(error) => return Err(error),
                },
            }
        }
        Ok(())
    }

    /// Acquires the emulator of a target, and the images and archives that it needs; `lock` was read from `file`. A package is
    /// chosen again with `renew`; `old` is the emulator that the lock had.
    fn new_emulator(
        &mut self,
        file: &LockFile,
        lock: &Lock,
        target: &Target,
        (renew, old): (bool, Option<&Emulator>),
    ) -> Result<(Emulator, Lock), Error> {
        let session = LockSession::of(self.context, self.store, file.clone(), lock.clone());
        let state = if renew { State::Current } else { State::Locked };
        new_emulator(Acquirer::new(self.context, self.store, self.acquirer.lease), session, target, state, old)
    }
}
