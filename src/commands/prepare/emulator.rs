//! The choice of the emulator for a foreign image: the one that the user names in `config.toml`, else the locked one, else
//! the toolchain's, else one of this host.

use std::path::{Path, PathBuf};

use super::{Need, Preparation, Purpose};
use crate::commands::acquire::{Acquirer, LockSession, State, put_archives};
use crate::commands::{Context, Error, Target};
use crate::digest::Digest;
use crate::dpkg::Request;
use crate::emulation::{self, EmulationError, EmulatorFile};
use crate::hint::error_chain;
use crate::lock::{Emulator, Entry, FileOfImage, FileOfPackage, Image, Lock, Origin};
use crate::platform::Platform;
use crate::resolve::resolve_local;
use crate::rootfs::{Rootfs, Tree};
use crate::store::{Job, Store, Work};
use crate::toolchain::EmulatorSource;

/// The image that contains the emulator for `platform`, where it has to be taken out of one. `source` is the toolchain's.
pub(in crate::commands) fn origin(
    context: &Context,
    store: Option<&Store>,
    lock: &Lock,
    platform: Platform,
    source: Option<&EmulatorSource>,
) -> Option<FileOfImage> {
    if Platform::host().runs(platform) || context.emulators.contains_key(&platform) {
        return None;
    }
    match (lock.emulators.get(&platform), source) {
        (Some(locked), _) if store.is_some_and(|store| store.has_blob(&locked.blob())) => None,
        (Some(Emulator { origin: Some(Origin::Image(file)), .. }), _) => Some(file.clone()),
        (None, Some(EmulatorSource::Image { image, path })) => {
            Some(FileOfImage { image: image.clone(), path: emulation::path_for(path, platform) })
        }
        _ => None,
    }
}

impl Error {
    /// Whether only the emulator is missing: the image can still be useful on another host.
    pub(in crate::commands) fn is_lack_of_emulator(&self) -> bool {
        matches!(self, Self::Emulation(_) | Self::EmulatorChanged { .. } | Self::NoEmulator { .. } | Self::Stale { .. })
    }
}

/// The emulator that a run of `target` would add to the lock of `session`, which has none for it, and the images and archives that
/// it needs for that and the lock lacks. A package is chosen from this `state` of the archive; if it is that of the emulator `old`,
/// that one stays.
pub(in crate::commands) fn new_emulator<'a>(
    acquirer: Acquirer<'a>,
    session: LockSession<'a>,
    target: &Target,
    state: State,
    old: Option<&Emulator>,
) -> Result<(Emulator, Lock), Error> {
    let purpose = Purpose { state, ..Purpose::prefetch(None) };
    let mut state = Preparation::new(acquirer, session, target, purpose);
    let (emulator, _) = state.find_emulator(target, old)?;
    Ok((emulator, state.found.lock))
}

/// The emulator in an unpacked image, whose every byte is hostile.
fn file_in(image: &Image, store: &Store, origin: &FileOfImage, platform: Platform) -> Result<EmulatorFile, Error> {
    let absent = || EmulationError::NotThere { origin: Box::new(Origin::Image(origin.clone())), platform };
    let Some(tree) = Rootfs::merged_tree(image, store)? else { return Err(absent().into()) };
    let found = Tree::open(&tree).ok().and_then(|tree| tree.find(Path::new(&origin.path)));
    let Some(path) = found.filter(|path| path.is_file()) else { return Err(absent().into()) };
    Ok(EmulatorFile::open_any_owner(path, platform)?)
}

/// The emulator that a toolchain names by path and digest.
fn named(context: &Context, path: &Path, sha256: Digest, platform: Platform) -> Result<EmulatorFile, Error> {
    context.allow_emulator(path)?;
    let program = EmulatorFile::open_any_owner(path.to_owned(), platform)?;
    let found = program.emulator().digest;
    if found != sha256 {
        return Err(EmulationError::Changed { path: path.to_owned(), wanted: sha256, found }.into());
    }
    Ok(program)
}

/// The version and origin of the emulator that a run of `platform` with the default toolchain would use, by what is on this
/// machine.
pub(in crate::commands) fn describe(context: &Context, store: &Store, platform: Platform) -> Result<String, Error> {
    let told = |emulator: &Emulator, from: String| {
        format!("QEMU {}, {from}", emulator.version.as_deref().unwrap_or("of unknown version"))
    };
    if let Some(path) = context.emulators.get(&platform) {
        let program = EmulatorFile::open_trusted(path.clone(), platform)?;
        return Ok(told(program.emulator(), format!("{}, which config.toml names", path.display())));
    }
    let toolchain = context.toolchain(None);
    let (source, _) = context.catalog.emulator(&toolchain, platform)?;
    let file = context.lock_of(&toolchain);
    let lock = file.read()?;
    if let Some(locked) = lock.emulators.get(&platform)
        && store.has_blob(&locked.blob())
    {
        return Ok(told(locked, format!("locked in {}", file.path().display())));
    }
    if let (None, Some(EmulatorSource::File { path, sha256 })) = (lock.emulators.get(&platform), &source) {
        let program = named(context, path, *sha256, platform)?;
        return Ok(told(program.emulator(), format!("{}, which the toolchain names", path.display())));
    }
    let of_host = || emulation::find(platform, &context.search);
    let Some(origin) = origin(context, Some(store), &lock, platform, source.as_ref()) else {
        let locked = lock.emulators.get(&platform).and_then(|locked| locked.origin.as_ref());
        let package = match (locked, &source) {
            (Some(Origin::Package(file)), _) => Some(file.deb.shown()),
            (None, Some(EmulatorSource::Package { package, .. })) => Some(package.to_string()),
            _ => None,
        };
        let program = of_host();
        let Some(package) = package else {
            let program = program?;
            return Ok(told(program.emulator(), program.path().display().to_string()));
        };
        return match program {
            Ok(program) => {
                let from = format!("{}, unless the package {package} can be fetched", program.path().display());
                Ok(told(program.emulator(), from))
            }
            Err(_) => Ok(format!("QEMU of the package {package}, which is not on this machine yet")),
        };
    };
    let (reference, host) = (&origin.image, Platform::host());
    let locked = lock.images.get(&(reference.clone(), host)).cloned();
    let known = locked.or_else(|| resolve_local(reference, host, store).ok().flatten());
    if let Some(image) = known.filter(|image| store.has_image(image)) {
        let program = file_in(&image, store, &origin, platform)?;
        return Ok(told(program.emulator(), format!("out of {reference}")));
    }
    match of_host() {
        Ok(program) => {
            let from = format!("{}, unless {reference} can be fetched", program.path().display());
            Ok(told(program.emulator(), from))
        }
        Err(host) => {
            let host = Box::new(host);
            let source = Error::Offline { reference: reference.clone(), platform: Platform::host() };
            Err(Error::NoEmulator { platform, place: reference.to_string(), host, source: Box::new(source) })
        }
    }
}

impl Preparation<'_> {
    /// The emulator for the image's programs and its file, where they need one.
    pub(super) fn emulator(&mut self, target: &Target) -> Result<Option<(Emulator, PathBuf)>, Error> {
        if !target.is_foreign() {
            return Ok(None);
        }
        match self.find_emulator(target, None) {
            Err(error) if self.purpose.emulator == Need::Welcome && error.is_lack_of_emulator() => {
                self.context().reporter.warn(&format!("{error}; downloading the image anyway"));
                Ok(None)
            }
            outcome => outcome.map(Some),
        }
    }

    /// The emulator and its file. `old` is one that the lock has no longer, and that stays if nothing has changed.
    fn find_emulator(&mut self, target: &Target, old: Option<&Emulator>) -> Result<(Emulator, PathBuf), Error> {
        let platform = target.image_platform;
        let locked = self.session.lock.emulators.get(&platform).cloned();
        if let Some(path) = self.context().emulators.get(&platform) {
            let emulator = self.take(&EmulatorFile::open_trusted(path.clone(), platform)?, platform)?;
            return self.settle_for_own(platform, locked.as_ref(), emulator, path);
        }
        let Some(locked) = (match locked {
            Some(locked) => Some(locked),
            None => self.other_emulator(platform)?,
        }) else {
            if self.context().locked {
                return Err(self.session.stale(format!("the emulator for {}", platform.name())));
            }
            let emulator = self.new_emulator(target, old)?;
            self.found.lock.emulators.insert(platform, emulator.clone());
            return Ok(self.with_path(emulator));
        };
        if !self.store().has_blob(&locked.blob()) {
            let again = self.locked_again(target, &locked)?;
            if !again.is_same(&locked) {
                let of = locked.origin.as_ref().map(ToString::to_string);
                let found = format!("{} has {}", of.as_deref().unwrap_or("what was found"), again.digest);
                return Err(Error::EmulatorChanged { platform, wanted: locked.digest, found });
            }
        }
        Ok(self.with_path(locked))
    }

    /// The emulator in another lock, which is added to this one.
    fn other_emulator(&mut self, platform: Platform) -> Result<Option<Emulator>, Error> {
        let mut lock = self.lock_so_far();
        self.others()?.emulator(platform, &mut lock);
        let Some(emulator) = lock.emulators.get(&platform).cloned() else { return Ok(None) };
        self.found.lock.take(&Entry::Emulator(platform), &lock);
        if let Some(Origin::Image(file)) = &emulator.origin {
            self.found.lock.take(&Entry::Image(file.image.clone(), Platform::host()), &lock);
        }
        Ok(Some(emulator))
    }

    fn with_path(&self, emulator: Emulator) -> (Emulator, PathBuf) {
        let path = self.store().blob_path(&emulator.digest);
        (emulator, path)
    }

    /// The user's own emulator replaces the locked one, with a note.
    fn settle_for_own(
        &mut self,
        platform: Platform,
        locked: Option<&Emulator>,
        emulator: Emulator,
        path: &Path,
    ) -> Result<(Emulator, PathBuf), Error> {
        match locked {
            Some(locked) if locked.is_same(&emulator) => {}
            Some(locked) if self.context().locked => {
                let found = format!("config.toml names {} with {}", path.display(), emulator.digest);
                return Err(Error::EmulatorChanged { platform, wanted: locked.digest, found });
            }
            Some(_) => self.context().reporter.warn(&format!(
                "{} runs the programs for {}, as config.toml requests, instead of the emulator in the lockfile",
                path.display(),
                platform.name()
            )),
            None if self.context().locked => {
                return Err(self.session.stale(format!("the emulator for {}", platform.name())));
            }
            None => drop(self.found.lock.emulators.insert(platform, emulator.clone())),
        }
        Ok(self.with_path(emulator))
    }

    /// The first emulator for a platform that the lock has none for.
    fn new_emulator(&mut self, target: &Target, old: Option<&Emulator>) -> Result<Emulator, Error> {
        let platform = target.image_platform;
        match &target.emulator {
            Some(EmulatorSource::File { path, sha256 }) => self.take_named(path, *sha256, platform),
            Some(EmulatorSource::Package { package, path }) => {
                let path = emulation::path_for(path, platform);
                match self.choose_package(target, package, path, old) {
                    Err(error) if error.is_absence() => self.instead(format!("the package {package}"), error, platform),
                    outcome => outcome,
                }
            }
            Some(EmulatorSource::Image { .. }) | None => {
                match origin(self.context(), Some(self.store()), &self.session.lock, platform, target.emulator.as_ref())
                {
                    Some(origin) => match self.in_image(&origin, platform) {
                        Err(error) if error.is_absence() => self.instead(origin.image.to_string(), error, platform),
                        outcome => outcome,
                    },
                    None => self.of_host(platform).map(|(emulator, _)| emulator),
                }
            }
        }
    }

    /// The emulator at `path` in the package that the archive of `target` has.
    fn choose_package(
        &mut self,
        target: &Target,
        package: &Request,
        path: String,
        old: Option<&Emulator>,
    ) -> Result<Emulator, Error> {
        let platform = target.image_platform;
        let Some(archive) = &target.archive else { return self.of_host(platform).map(|(emulator, _)| emulator) };
        let mut lock = self.lock_so_far();
        let (deb, archives) = self.acquirer.emulator_package(archive, package, &lock, self.purpose.state)?;
        let archives = put_archives(&mut lock, &Entry::Emulator(platform), archives);
        let file = FileOfPackage { deb, archives, path };
        let is_known = |old: &&Emulator| match &old.origin {
            Some(Origin::Package(known)) => (known.deb.digest, &known.path) == (file.deb.digest, &file.path),
            _ => false,
        };
        let known = old.filter(is_known).filter(|old| self.store().has_blob(&old.blob())).cloned();
        let emulator = match known {
            Some(known) => known,
            None => self.in_package(&file, &lock, target)?,
        };
        self.found.lock.copy_archives(&file.archives, &lock);
        Ok(Emulator { origin: Some(Origin::Package(file)), ..emulator })
    }

    /// The emulator in a package of `lock`.
    fn in_package(&mut self, file: &FileOfPackage, lock: &Lock, target: &Target) -> Result<Emulator, Error> {
        let platform = target.image_platform;
        let archives = lock.archives_named(&file.archives).unwrap_or_default();
        let (_place, program) = self.acquirer.emulator_file(file, &archives, target.archive.as_ref(), platform)?;
        let emulator = self.take(&program, platform)?;
        Ok(Emulator { origin: Some(Origin::Package(file.clone())), ..emulator })
    }

    /// The locked emulator, which is no longer in the store, or never was in this one.
    fn locked_again(&mut self, target: &Target, locked: &Emulator) -> Result<Emulator, Error> {
        let platform = target.image_platform;
        let found = match &locked.origin {
            Some(Origin::Image(file)) => Some(self.in_image(file, platform)),
            Some(Origin::Package(file)) => {
                let lock = self.lock_so_far();
                Some(self.in_package(file, &lock, target))
            }
            None => None,
        };
        let lacking = match found {
            Some(Err(error)) if error.is_absence() => Some(error),
            Some(outcome) => return outcome,
            None => None,
        };
        match (self.of_host(platform), lacking) {
            (Ok((emulator, _)), Some(error)) if !emulator.is_same(locked) => Err(error),
            (Ok((emulator, path)), None) if !emulator.is_same(locked) => {
                let found = format!("{} of this host has {}", path.display(), emulator.digest);
                Err(Error::EmulatorChanged { platform, wanted: locked.digest, found })
            }
            (Ok((emulator, _)), _) => Ok(emulator),
            (Err(_), Some(error)) => Err(error),
            (Err(error), None) => {
                Err(Error::EmulatorChanged { platform, wanted: locked.digest, found: error.to_string() })
            }
        }
    }

    /// An emulator of this host, where the image or package `place` that should have one is not available.
    fn instead(&mut self, place: String, error: Error, platform: Platform) -> Result<Emulator, Error> {
        match self.of_host(platform) {
            Ok((emulator, path)) => {
                self.context().reporter.warn(&format!(
                    "{} of this host runs the programs for {}: {}",
                    path.display(),
                    platform.name(),
                    error_chain(&error)
                ));
                Ok(emulator)
            }
            Err(Error::Emulation(host)) => {
                let host = Box::new(host);
                Err(Error::NoEmulator { platform, place, host, source: Box::new(error) })
            }
            Err(error) => Err(error),
        }
    }

    fn of_host(&mut self, platform: Platform) -> Result<(Emulator, PathBuf), Error> {
        let program = emulation::find(platform, &self.context().search)?;
        let emulator = self.take(&program, platform)?;
        Ok((emulator, program.path().to_owned()))
    }

    fn in_image(&mut self, origin: &FileOfImage, platform: Platform) -> Result<Emulator, Error> {
        let image = self.image(&origin.image, &Platform::host().into(), None)?;
        let program = file_in(&image, self.store(), origin, platform)?;
        let emulator = self.take(&program, platform)?;
        Ok(Emulator { origin: Some(Origin::Image(origin.clone())), ..emulator })
    }

    /// Stores the file that a toolchain names, if the stored file has the digest as well.
    fn take_named(&mut self, path: &Path, sha256: Digest, platform: Platform) -> Result<Emulator, Error> {
        let emulator = self.take(&named(self.context(), path, sha256, platform)?, platform)?;
        if emulator.digest != sha256 {
            let path = path.to_owned();
            return Err(EmulationError::Changed { path, wanted: sha256, found: emulator.digest }.into());
        }
        Ok(emulator)
    }

    /// Copies `program` into the store.
    fn take(&mut self, program: &EmulatorFile, platform: Platform) -> Result<Emulator, Error> {
        let emulator = program.emulator().clone();
        self.acquirer.hold_blob(&emulator.blob());
        if self.store().has_blob(&emulator.blob()) {
            return Ok(emulator);
        }
        let blob = emulator.blob();
        let label = format!("emulator {}", blob.digest.short());
        let job = Job { work: Work::Blob(blob.digest), label: &label, total: blob.size };
        let is_done = || self.store().has_blob(&blob);
        let Some(_claim) = self.store().claim(job, self.context().reporter.as_ref(), &is_done) else {
            return Ok(emulator);
        };
        let taken = self.acquirer.lease.add_program(program.file(), program.path())?;
        if taken.is_same(&emulator) {
            return Ok(emulator);
        }
        // Somebody has changed it meanwhile: what counts is what was taken.
        Ok(emulation::inspect(&self.store().blob_path(&taken.digest), platform)?)
    }
}
