//! What something needs of the store.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::lock;
use crate::oci::{Descriptor, chain_id};

/// What something needs of the store, by digest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closure {
    /// Blobs, and their sizes where they are known, else 0.
    pub(super) blobs: BTreeMap<Digest, u64>,
    /// Unpacked layers by `diff_id`, and the blobs they can be unpacked from as far as those are known.
    pub(super) layers: BTreeMap<Digest, BTreeSet<Digest>>,
    /// Merged trees (`roots/`) by chain id.
    pub(super) trees: BTreeSet<Digest>,
    /// Unpacked sources (`sources/`) by key, and the archives they can be unpacked from.
    pub(super) sources: BTreeMap<Digest, BTreeSet<Digest>>,
    /// Those of the blobs that are manifests.
    pub(super) manifests: BTreeSet<Digest>,
}

impl Closure {
    /// Adds all parts of `image`.
    pub fn image(&mut self, image: &lock::Image) {
        for part in image.index.iter().chain([&image.manifest, &image.config]) {
            self.blob(part);
        }
        self.manifests.insert(image.manifest.digest);
        self.layers(image.layers.iter().map(|layer| (layer.diff_id, &layer.blob)));
    }

    /// Adds a blob, such as an emulator's.
    pub fn blob(&mut self, blob: &Descriptor) {
        self.blobs.insert(blob.digest, blob.size);
    }

    /// Adds a source: its archive, and what is made of it.
    pub fn source(&mut self, source: &lock::Source) {
        self.blob(&source.blob());
        self.sources.entry(source.key()).or_default().insert(source.digest);
    }

    /// Adds the layers of one image, lowest first, with their blobs.
    pub(super) fn layers<'a>(&mut self, layers: impl IntoIterator<Item = (Digest, &'a Descriptor)>) {
        let mut diff_ids = Vec::new();
        for (diff_id, blob) in layers {
            self.blob(blob);
            self.layers.entry(diff_id).or_default().insert(blob.digest);
            diff_ids.push(diff_id);
        }
        self.trees.extend(chain_id(&diff_ids));
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.blobs.extend(&other.blobs);
        for (diff_id, blobs) in &other.layers {
            self.layers.entry(*diff_id).or_default().extend(blobs);
        }
        self.trees.extend(&other.trees);
        for (key, archives) in &other.sources {
            self.sources.entry(*key).or_default().extend(archives);
        }
        self.manifests.extend(&other.manifests);
    }

    /// Whether both need one thing.
    pub(super) fn intersects(&self, other: &Self) -> bool {
        self.blobs.keys().any(|digest| other.blobs.contains_key(digest))
            || self.layers.keys().any(|diff_id| other.layers.contains_key(diff_id))
            || !self.trees.is_disjoint(&other.trees)
            || self.sources.keys().any(|key| other.sources.contains_key(key))
    }

    /// A line for each thing.
    pub(super) fn to_lines(&self) -> String {
        let blobs = self.blobs.keys().map(|digest| ("blob", digest));
        let layers = self.layers.keys().map(|diff_id| ("layer", diff_id));
        let trees = self.trees.iter().map(|chain| ("tree", chain));
        let sources = self.sources.keys().map(|key| ("source", key));
        blobs
            .chain(layers)
            .chain(trees)
            .chain(sources)
            .fold(String::new(), |lines, (what, digest)| lines + what + " " + &digest.hex() + "\n")
    }

    /// Reads what [`Self::to_lines`] wrote; `None` for anything else.
    pub(super) fn from_lines(text: &str) -> Option<Self> {
        let mut needs = Self::default();
        for line in text.split_terminator('\n') {
            let (what, hex) = line.split_once(' ')?;
            let digest = Digest::from_hex(hex).ok()?;
            match what {
                "blob" => drop(needs.blobs.insert(digest, 0)),
                "layer" => drop(needs.layers.insert(digest, BTreeSet::new())),
                "tree" => drop(needs.trees.insert(digest)),
                "source" => drop(needs.sources.insert(digest, BTreeSet::new())),
                _ => return None,
            }
        }
        (text.is_empty() || text.ends_with('\n')).then_some(needs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_back() {
        let mut needs = Closure::default();
        let blob = |text: &str| Descriptor::new("x", Digest::of(text.as_bytes()), 3);
        needs.layers([(Digest::of(b"1"), &blob("one")), (Digest::of(b"2"), &blob("two"))]);
        let chain = Digest::of(format!("{} {}", Digest::of(b"1"), Digest::of(b"2")).as_bytes());
        assert_eq!(needs.trees, [chain].into());
        let text = needs.to_lines();
        assert_eq!(text.lines().count(), 5);
        let read = Closure::from_lines(&text).unwrap();
        assert!(read.intersects(&needs) && read.to_lines() == text && read.trees == needs.trees);
        assert_eq!(Closure::from_lines(""), Some(Closure::default()));
        for cut in 1..text.len() {
            let part = Closure::from_lines(&text[..cut]);
            assert!(part.is_none() || text[..cut].ends_with('\n'), "{cut} bytes were taken for a whole lease");
        }
        assert_eq!(Closure::from_lines(&text.replace("tree", "rule")), None);
    }
}
