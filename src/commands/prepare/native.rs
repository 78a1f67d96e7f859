//! The native tools of a foreign target: an image that the toolchain names, or packages of the archive that the target's own image
//! is from.

use super::root::{Compose, Packaged};
use super::{Preparation, native_tools};
use crate::archive::ArchiveError;
use crate::commands::acquire::State;
use crate::commands::{Error, Target};
use crate::emulation::Accel;
use crate::emulation::native::CrossToolsError;
use crate::hint::error_chain;
use crate::lock::{Entry, Image, Lock, RootKey};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::toolchain::{Native, ToolchainError};

impl Error {
    /// Whether a run can go on without native tools.
    fn leaves_emulation(&self) -> bool {
        match self {
            Self::NoNativeTools { .. }
            | Self::Stale { .. }
            | Self::Solve(_)
            | Self::Toolchain(ToolchainError::Name { .. }) => true,
            // Other bytes than those that were signed are an error in any case.
            Self::Archive(error) => !matches!(error, ArchiveError::Changed { .. } | ArchiveError::Store(_)),
            _ => self.is_absence(),
        }
    }

    /// Whether the image has no compilers that could be replaced.
    fn is_inapplicable(&self) -> bool {
        matches!(self, Self::NoNativeTools { source, .. } if source.is_inapplicable())
    }
}

impl Preparation<'_> {
    /// The native tools for `image`, the image of `target`, where they are wanted; none if they are optional and not available.
    pub(super) fn native(&mut self, target: &Target, image: &Image) -> Result<Option<Image>, Error> {
        let accel = self.purpose.accel;
        let found = match native_tools(target, accel) {
            None | Some(Native::Off) => return Ok(None),
            Some(Native::Image { image, .. }) => self.image(image, &Platform::host().into(), None).map(Some),
            Some(Native::Auto) => self.native_packages(target, image),
        };
        let is_packages = target.native == Some(Native::Auto);
        let may_go_on = |error: &Error| if is_packages { error.leaves_emulation() } else { error.is_absence() };
        match found {
            Err(error) if accel == Accel::Auto && may_go_on(&error) => {
                let reporter = self.context().reporter.as_ref();
                let text =
                    format!("without native tools for {}: {}", target.image_platform.name(), error_chain(&error));
                if error.is_inapplicable() {
                    reporter.verbose(&text);
                } else if !self.context().reexecuted {
                    reporter.warn(&text);
                }
                Ok(None)
            }
            outcome => outcome,
        }
    }

    /// Native tools out of packages: the locked ones, else those that the archive has. A process that was executed again because
    /// the first one fetched something gets what that one got.
    fn native_packages(&mut self, target: &Target, image: &Image) -> Result<Option<Image>, Error> {
        let Some(toolchain) = &target.toolchain else { return Ok(None) };
        let name = || ToolchainError::Name { name: toolchain.escape_default().to_string() };
        let reference = target.native_reference().ok_or_else(name)?;
        let key: RootKey = (toolchain.clone(), target.platform);
        let is_for = |lock: &Lock| lock.natives.get(&key).is_some_and(|native| Some(native.image) == image.chain_id());
        let is_locked = is_for(&self.session.lock) || self.other_native(&key, image)?;
        let platform = self.session.lock.natives.get(&key).map(|native| native.root.platform);
        if let Some(other) = platform.filter(|platform| is_locked && *platform != Platform::host()) {
            let text = format!("those in the lockfile are for hosts of {}", other.name());
            let (reference, source) = (target.reference.clone(), Box::new(CrossToolsError::Known(text)));
            return Err(Error::NoNativeTools { reference, source });
        }
        if self.context().reexecuted {
            return Ok(if is_locked { self.native_here(&reference) } else { None });
        }
        if !is_locked {
            if self.context().locked {
                self.acquirer.compilers(target, image)?;
                return Err(self.session.stale(Entry::Native(key.0, key.1).to_string()));
            }
            self.choose_native(target, image, key)?;
        }
        let packages = target.archive.as_ref().map(|archive| &archive.packages);
        let (platform, toolchain, compose) = (Platform::host(), Some(toolchain.as_str()), Compose::With(None));
        self.packages_image(Packaged { reference: &reference, platform, toolchain, packages, compose })
    }

    /// Takes the native tools for `image` from another lock. Returns whether one has them.
    fn other_native(&mut self, key: &RootKey, image: &Image) -> Result<bool, Error> {
        let Some(chain) = image.chain_id() else { return Ok(false) };
        let mut lock = self.lock_so_far();
        let has = self.others()?.native(key, chain, &mut lock);
        if has {
            self.found.lock.take(&Entry::Native(key.0.clone(), key.1), &lock);
        }
        Ok(has)
    }

    /// The locked native tools, if they are in the store.
    fn native_here(&mut self, reference: &Reference) -> Option<Image> {
        let key = (reference.clone(), Platform::host());
        let image = self.found.lock.images.get(&key).or_else(|| self.session.lock.images.get(&key))?.clone();
        self.acquirer.hold_image(&image);
        Some(image).filter(|image| self.store().has_image(image))
    }

    fn choose_native(&mut self, target: &Target, image: &Image, key: RootKey) -> Result<(), Error> {
        let mut lock = self.lock_so_far();
        let solved = self.acquirer.native_tools(target, image, &lock, State::Locked)?;
        if let Some(chain) = image.chain_id() {
            solved.put_native(&mut lock, key.clone(), chain);
            self.found.lock.take(&Entry::Native(key.0, key.1), &lock);
        }
        Ok(())
    }
}
