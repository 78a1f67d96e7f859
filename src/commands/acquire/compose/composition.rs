//! What an image is composed of, and where.

use std::path::{Path, PathBuf};

use super::error::ComposeError;
use crate::debian::deb::Expected;
use crate::digest::Digest;
use crate::layer::Limits;
use crate::lock::{Feature, Layer};
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

/// Gives the paragraphs of the base's packages in the indexes of archives, in their order. It runs in a thread of its own.
pub(super) type Index<'a> = &'a (dyn Fn() -> Result<Vec<String>, ComposeError> + Sync);

/// What an image is composed of.
#[derive(Clone, Copy)]
pub struct Composition<'a> {
    /// Platform of the programs.
    pub platform: Platform,
    /// The suite of the base, such as `bookworm`.
    pub suite: &'a str,
    /// Time of everything that is made with the image, in seconds since 1970.
    pub epoch: i64,
    /// The packages of the base.
    pub base: &'a [Archive],
    /// Identifies all that the base is composed of, so that it need not be composed again. `None`: it is always composed.
    pub base_key: Option<Digest>,
    /// Only needed where the base is composed.
    pub index: Index<'a>,
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
    /// Whether dpkg unpacks the further packages, to show that it makes no difference.
    pub is_unpacked_by_dpkg: bool,
}

/// A composition, and where it is made.
pub(super) struct Work<'a> {
    pub(super) store: &'a Store,
    pub(super) composition: &'a Composition<'a>,
    /// Directory of the store that is removed in the end, with the tree in it.
    pub(super) place: &'a Path,
    /// Keeps a layer in the store.
    pub(super) hold: &'a mut dyn FnMut(&Layer),
}

impl Work<'_> {
    /// Where the tree of the root is.
    pub(super) fn tree(&self) -> PathBuf {
        self.place.join(Scratch::TREE)
    }
}
