//! What indexes of archives say of the packages of a base, for dpkg's database.

use std::collections::BTreeSet;

use crate::debian::Index;
use crate::digest::Digest;
use crate::lock::{Archive, Root};

/// The paragraphs of the packages of a base in the indexes of archives, in their order.
#[derive(Debug)]
pub(super) struct Paragraphs {
    /// Identifies the base.
    pub(super) of: Digest,
    pub(super) texts: Vec<String>,
}

impl Paragraphs {
    /// Those of `root` in indexes that were read to choose its packages.
    pub(super) fn of(root: &Root, archives: &[&Archive], indexes: &[Index]) -> Self {
        let texts = indexes.iter().flat_map(|index| of_base(root, index)).collect();
        Self { of: root.base_digest(archives), texts }
    }
}

/// The paragraphs of the base of `root` in an index.
pub(super) fn of_base(root: &Root, index: &Index) -> Vec<String> {
    let base: BTreeSet<Digest> = root.debs.iter().filter(|deb| deb.is_base).map(|deb| deb.digest).collect();
    let packages = index.packages().filter(|package| base.contains(&package.digest()));
    packages.map(|package| String::from_utf8_lossy(package.paragraph()).into_owned()).collect()
}
