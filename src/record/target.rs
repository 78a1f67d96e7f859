//! The target of a run: the image, and the platform that it builds for.

use serde::{Deserialize, Serialize};

use crate::lock;
use crate::oci::WirePlatform;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::resolve::Wanted;
use crate::toolchain::{Additions, EmulatorSource, Native, Packages, ToolArchive};

/// The image that runs, and the platform that it builds for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// The toolchain's name; `None` for an image.
    pub toolchain: Option<String>,
    /// The platform built for.
    pub platform: Platform,
    /// The image.
    pub reference: Reference,
    /// The platform of the image's programs: not `platform` for a cross toolchain.
    pub image_platform: Platform,
    /// The label of the image that the user takes for that platform. A record has the image by its digest instead.
    #[serde(skip)]
    pub label: Option<WirePlatform>,
    /// The toolchain's emulator for foreign programs, used if neither the user nor the lock names one.
    pub emulator: Option<EmulatorSource>,
    /// Native tools that replace some of the foreign programs.
    pub native: Option<Native>,
    /// The packages that the root is composed of. A record has them by its lock.
    #[serde(skip)]
    pub packages: Option<Packages>,
    /// The archive of emulators and native tools that are packages. A record has those by its lock.
    #[serde(skip)]
    pub archive: Option<ToolArchive>,
    /// The sources and variables that the toolchain adds to the root.
    #[serde(default, skip_serializing_if = "Additions::is_empty")]
    pub additions: Additions,
}

impl Target {
    /// The image of a reference for a platform, and nothing else.
    #[must_use]
    pub(crate) fn image(reference: Reference, platform: Platform) -> Self {
        Self {
            toolchain: None,
            platform,
            reference,
            image_platform: platform,
            label: None,
            emulator: None,
            native: None,
            packages: None,
            archive: None,
            additions: Additions::default(),
        }
    }

    /// Which of the images that the reference leads to.
    #[must_use]
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted { platform: self.image_platform, label: self.label.clone() }
    }

    /// The image and platform, as a lock has them.
    #[must_use]
    pub(crate) fn key(&self) -> (&Reference, Platform) {
        (&self.reference, self.image_platform)
    }

    /// The image of the native tools, by its own reference, or by the reserved one of tools out of packages.
    #[must_use]
    pub(crate) fn native_reference(&self) -> Option<Reference> {
        match self.native.as_ref()? {
            Native::Off => None,
            Native::Auto => lock::native_reference(self.toolchain.as_ref()?, self.platform),
            Native::Image { image, .. } => Some(image.clone()),
        }
    }

    /// Whether the image's programs need an emulator on this host.
    #[must_use]
    pub(crate) fn is_foreign(&self) -> bool {
        !Platform::host().runs(self.image_platform)
    }
}
