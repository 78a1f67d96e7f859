//! What an image is composed of, and where.

use std::path::{Path, PathBuf};

use crate::debian::deb::Expected;
use crate::layer::Limits;
use crate::lock::Feature;
use crate::platform::Platform;
use crate::sandbox::{DirectoryOrder, Scratch};
use crate::store::Store;

/// The archive of a package, `.deb`.
#[derive(Debug, Clone)]
pub struct Archive {
    /// What the archive must be.
    pub expected: Expected,
    /// Its file.
    pub path: PathBuf,
}

/// What an image is composed of.
#[derive(Debug, Clone)]
pub struct Composition<'a> {
    /// Platform of the programs.
    pub platform: Platform,
    /// The suite of the base, such as `bookworm`.
    pub suite: &'a str,
    /// Time of everything that is made with the image, in seconds since 1970.
    pub epoch: i64,
    /// The packages of the base.
    pub base: &'a [Archive],
    /// The paragraphs of these packages in the indexes of archives, in their order.
    pub index: &'a [&'a str],
    /// Packages on top of the base, in a layer of their own.
    pub packages: &'a [Archive],
    /// Whether the scripts of packages run. Otherwise all packages are unpacked into one layer, without a sandbox.
    pub scripts: bool,
    /// The names of those among them that were requested, not added as dependencies.
    pub requested: &'a [String],
    /// The text of `debian.sources`, if the image gets one.
    pub sources: Option<&'a str>,
    /// The emulator, if the platform is foreign to the host.
    pub emulator: Option<&'a Path>,
    /// Features without which no script runs.
    pub required: &'a [Feature],
    /// Limits of the root.
    pub limits: Limits,
    /// Order of directory entries that scripts see, to show that nothing depends on it.
    pub directory_order: Option<DirectoryOrder>,
}

/// A composition, and where it is made.
pub(super) struct Work<'a> {
    pub(super) store: &'a Store,
    pub(super) composition: &'a Composition<'a>,
    /// Directory of the store that is removed in the end, with the tree in it.
    pub(super) place: &'a Path,
}

impl Work<'_> {
    /// Where the tree of the root is.
    pub(super) fn tree(&self) -> PathBuf {
        self.place.join(Scratch::TREE)
    }
}
