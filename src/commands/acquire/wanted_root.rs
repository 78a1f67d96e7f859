//! What is known of a root of packages before it is acquired.

use crate::archive;
use crate::lock::{Archive, Image, Root};
use crate::reference::Reference;
use crate::toolchain::Packages;

/// A root that is wanted.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) struct WantedRoot<'a> {
    /// Its reserved reference.
    pub(in crate::commands) reference: &'a Reference,
    /// The toolchain, for the user's consent to its addresses.
    pub(in crate::commands) toolchain: Option<&'a str>,
    /// The definition, whose addresses are tried first; `None` where only the lock is known.
    pub(in crate::commands) packages: Option<&'a Packages>,
    pub(in crate::commands) root: &'a Root,
    pub(in crate::commands) archives: &'a [&'a Archive],
    /// The image, where a lock has it.
    pub(in crate::commands) locked: Option<&'a Image>,
}

impl WantedRoot<'_> {
    /// The name in the store of the image that is composed of these packages, whoever asked for them.
    pub(super) fn name(&self) -> Option<Reference> {
        let digest = self.root.digest(self.archives).hex();
        format!("{}/{}:{digest}", self.reference.registry(), self.reference.repository()).parse().ok()
    }

    /// The text for apt in the root.
    pub(super) fn apt_sources(&self) -> Option<String> {
        let (uri, archive) = (self.root.apt_sources.as_ref()?, self.archives.first()?);
        Some(archive::for_root(uri, &archive.codename, &self.root.components, self.root.epoch))
    }
}
