//! The packages of an image, read from the databases of its package managers: dpkg's and apk's, which are text, and rpm's, in
//! its three forms (`docs/packages.md`).
//!
//! The files are read from the layers; nothing of the image is executed. Everything in them is hostile: a malformed database
//! is reported, and never counts as an empty one.

mod apk;
mod diff;
mod dpkg;
mod inventory;
mod license;
mod owner;
mod package;
mod purl;
mod rpm;

pub(crate) use diff::PackageChanges;
pub(crate) use dpkg::{Built, built};
pub use inventory::Inventory;
pub(crate) use inventory::{Distribution, Unread};
pub(crate) use license::is_spdx;
pub(crate) use owner::Owners;
pub use package::Kind;
pub(crate) use package::Malformed;
use package::{MAX_PACKAGES, line, word};
pub(crate) use package::{Package, Source};
pub(crate) use purl::escaped;
