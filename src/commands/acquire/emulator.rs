//! Emulators out of packages.

use std::fs::File;

use super::Acquirer;
use super::packages::{Fetching, State, deb};
use crate::commands::Error;
use crate::debian::Pool;
use crate::debian::deb::{Expected, copy_file};
use crate::dpkg::{Architecture, Request};
use crate::emulation::{EmulationError, EmulatorFile, MAX_PROGRAM};
use crate::lock::{Archive, Deb, FileOfPackage, Lock, Origin};
use crate::platform::Platform;
use crate::store::TempDir;
use crate::toolchain::ToolArchive;

impl Acquirer<'_> {
    /// Chooses the package of an emulator, for this host, and returns it with the archives that may have it. It is chosen without
    /// those that it depends on: hermes uses one file of it, a static program.
    ///
    /// # Errors
    /// No such package; errors of the archive.
    pub(in crate::commands) fn emulator_package(
        &mut self,
        archive: &ToolArchive,
        request: &Request,
        lock: &Lock,
        state: State,
    ) -> Result<(Deb, Vec<Archive>), Error> {
        let host = Platform::host();
        let (suites, indexes) = self.states(&archive.toolchain, &archive.packages, host, lock, state)?;
        let architecture = Architecture::of(host);
        let pool = Pool::new(&indexes.iter().collect::<Vec<_>>(), architecture.clone())?;
        let found = deb(pool.find(request)?, &architecture, false);
        Ok((found, suites.into_iter().map(|suite| suite.archive).collect()))
    }

    /// Makes the store hold the packages of emulators in a lock.
    ///
    /// # Errors
    /// A package is gone, or changed.
    pub(in crate::commands) fn emulator_debs(&mut self, lock: &Lock) -> Result<(), Error> {
        for emulator in lock.emulators.values() {
            let Some(Origin::Package(file)) = &emulator.origin else { continue };
            self.fetch_debs(Fetching {
                what: None,
                debs: std::slice::from_ref(&file.deb),
                archives: &lock.archives_named(&file.archives).unwrap_or_default(),
                toolchain: None,
                packages: None,
            })?;
        }
        Ok(())
    }

    /// The emulator for `platform` in a package, which is fetched unless it is here. The file is in the directory that is returned
    /// with it.
    ///
    /// # Errors
    /// The package is gone, or changed, or has no such file; the file is no emulator.
    pub(in crate::commands) fn emulator_file(
        &mut self,
        file: &FileOfPackage,
        archives: &[&Archive],
        configured: Option<&ToolArchive>,
        platform: Platform,
    ) -> Result<(TempDir, EmulatorFile), Error> {
        self.fetch_debs(Fetching {
            what: Some(format!("the emulator for {}", platform.name())),
            debs: std::slice::from_ref(&file.deb),
            archives,
            toolchain: configured.map(|archive| archive.toolchain.as_str()),
            packages: configured.map(|archive| &archive.packages),
        })?;
        let place = self.store.scratch()?;
        let program = place.path().join("emulator");
        let unreadable = |source| EmulationError::Unreadable { path: program.clone(), source };
        let mut out = File::create_new(&program).map_err(unreadable)?;
        let Deb { name, version, architecture, digest, size, .. } = file.deb.clone();
        let expected = Expected { name, version, architecture, digest, size };
        let archive = self.store.open_blob(&file.deb.blob())?;
        let limits = (self.store.limits(), MAX_PROGRAM);
        if !copy_file(archive, &expected, &file.path, limits, &mut out)? {
            let origin = Box::new(Origin::Package(file.clone()));
            return Err(EmulationError::NotThere { origin, platform }.into());
        }
        let file = EmulatorFile::open_any_owner(program, platform)?;
        Ok((place, file))
    }
}
