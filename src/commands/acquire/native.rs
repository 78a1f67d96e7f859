//! Native tools for an image, chosen from the archive that the image is from.

use std::path::Path;

use super::Acquirer;
use super::packages::{State, addresses, deb};
use super::solved::Solved;
use crate::archive::{ArchiveError, Mirror};
use crate::commands::{Error, Target};
use crate::debian::Pool;
use crate::digest::Digest;
use crate::dpkg::{Architecture, Request};
use crate::emulation::native::{CrossToolsError, ImageCompilers};
use crate::fs::atomic;
use crate::hint::error_chain;
use crate::lock::{Image, Lock};
use crate::packages::Distribution;
use crate::platform::Platform;
use crate::rootfs::Rootfs;
use crate::toolchain::{Debian, Packages};

/// dpkg's list of packages in an image, and its longest size in bytes.
const STATUS: &str = "var/lib/dpkg/status";
const MAX_STATUS: u64 = 64 << 20;
/// `ID` of Debian (os-release(5)).
const DEBIAN: &str = "debian";

impl Acquirer<'_> {
    /// Chooses the packages that have the native tools for `image`, the unpacked image of `target`. They are from the archives of
    /// the image's root in `lock`; for an image that was not composed, from those of its release. A refusal is kept for this
    /// boot, unless the present `state` of the archive is asked for.
    ///
    /// # Errors
    /// [`Error::NoNativeTools`]; errors of the archive.
    pub(in crate::commands) fn native_tools(
        &mut self,
        target: &Target,
        image: &Image,
        lock: &Lock,
        state: State,
    ) -> Result<Solved, Error> {
        let reference = &target.reference;
        let refused = |source| Error::NoNativeTools { reference: reference.clone(), source: Box::new(source) };
        let (chain, rootfs, compilers) = self.compilers(target, image)?;
        let wanted = archive(target, &rootfs).map_err(refused)?;
        let host = Architecture::of(Platform::host());
        let name = note(&wanted, &host);
        if state == State::Locked
            && let Some(text) = self.store.root_note(&chain, &name)
        {
            return Err(refused(CrossToolsError::Known(text)));
        }
        self.check_addresses(&wanted)?;
        let mut known = Lock::default();
        match lock.root(reference, target.image_platform) {
            Some(root) => known.copy_archives(&root.archives, lock),
            None => known.archives.clone_from(&lock.archives),
        }
        let toolchain = target.toolchain.as_deref().unwrap_or_default();
        let (suites, indexes) = self.states(toolchain, &wanted, Platform::host(), &known, state)?;
        let pool = Pool::new(&indexes.iter().collect::<Vec<_>>(), host.clone())?;
        let chosen = compilers.cross_tools(&pool).map_err(|error| {
            // Without the note the next run looks again.
            let kept = Rootfs::merged(image, self.store);
            let _ = kept.and_then(|_| self.store.note_root(&chain, &name, error_chain(&error).as_bytes()));
            refused(error)
        })?;
        let requested = chosen.iter().filter(|selected| selected.is_requested);
        let install = |name| Request::Install { name, version: None };
        let request = requested.map(|selected| install(selected.package.name().clone())).collect();
        let debs = chosen.iter().map(|selected| deb(selected.package, &host, false)).collect();
        Ok(Solved::new(&wanted, Platform::host(), request, debs, suites))
    }

    /// The compilers of `image`, the unpacked image of `target`, its chain id and its root.
    ///
    /// # Errors
    /// [`Error::NoNativeTools`].
    pub(in crate::commands) fn compilers(
        &self,
        target: &Target,
        image: &Image,
    ) -> Result<(Digest, Rootfs, ImageCompilers), Error> {
        let refused = |source| Error::NoNativeTools { reference: target.reference.clone(), source: Box::new(source) };
        let chain = image.chain_id().ok_or_else(|| refused(CrossToolsError::NoCompiler))?;
        let rootfs = Rootfs::of(image, self.store)?;
        let compilers = compilers(&rootfs).map_err(refused)?;
        Ok((chain, rootfs, compilers))
    }

    /// That there is an address for each suite, and that it may be used.
    fn check_addresses(&self, wanted: &Packages) -> Result<(), ArchiveError> {
        for suite in &wanted.debian.suites {
            let mirrors = addresses(self.context, Some(wanted), suite).present;
            if mirrors.is_empty() {
                return Err(ArchiveError::NoAddress { suite: suite.clone() });
            }
            if self.context.offline && !mirrors.iter().any(Mirror::is_local) {
                return Err(ArchiveError::Offline { what: format!("the archive of {suite}") });
            }
        }
        Ok(())
    }
}

/// The compilers of an image, by its own list of packages.
fn compilers(rootfs: &Rootfs) -> Result<ImageCompilers, CrossToolsError> {
    let found = rootfs.find(Path::new(STATUS)).ok().flatten().filter(|found| !found.is_directory);
    let status = found.and_then(|found| atomic::read_limited(&found.outside, MAX_STATUS).ok());
    ImageCompilers::of(&status.ok_or(CrossToolsError::NoCompiler)?)
}

/// The archive with the native tools: that of the toolchain's packages. For an image, Debian's main component of the image's
/// release, at the addresses and with the keys of the toolchain, if it has any.
fn archive(target: &Target, rootfs: &Rootfs) -> Result<Packages, CrossToolsError> {
    let of_toolchain = target.archive.as_ref().map(|archive| archive.packages.clone());
    let tools = |packages: Packages| Packages {
        debian: Debian { apt_sources: None, ..packages.debian },
        request: vec![],
        scripts: false,
        ..packages
    };
    if target.packages.is_some() {
        return of_toolchain.map(tools).ok_or(CrossToolsError::NotDebian);
    }
    let release = Distribution::of(rootfs).ok().flatten().filter(|release| release.id == DEBIAN);
    let codename = release.and_then(|release| release.codename).ok_or(CrossToolsError::NotDebian)?;
    let of_suite = Debian::of_suite(&codename).ok_or(CrossToolsError::NotDebian)?;
    Ok(match of_toolchain.map(tools) {
        Some(packages) => Packages { debian: Debian { suites: of_suite.suites, ..packages.debian }, ..packages },
        None => Packages { debian: of_suite, request: vec![], scripts: false, is_of_project: false },
    })
}

/// The name of the note with a refusal, beside the merged tree of the image.
fn note(wanted: &Packages, host: &Architecture) -> String {
    let Debian { suites, components, mirrors, .. } = &wanted.debian;
    let text = format!("{} {suites:?} {components:?} {mirrors:?}", host.as_str());
    format!("refused-{}", Digest::of(text.as_bytes()).hex())
}
