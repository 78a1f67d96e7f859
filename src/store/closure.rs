//! Closures: all objects of the store that something needs.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::lock;
use crate::oci::{Descriptor, chain_id};
use crate::store::objects::{ObjectId, ObjectKind};

/// The objects that an image, a lock file or a process needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closure {
    /// Each object with the blobs that it can be unpacked from, as far as those are known.
    objects: BTreeMap<ObjectId, BTreeSet<Digest>>,
    /// Those of the blobs that are manifests.
    manifests: BTreeSet<Digest>,
}

impl Closure {
    /// Adds all parts of `image`.
    pub fn image(&mut self, image: &lock::Image) {
        for part in image.index.iter().chain([&image.manifest, &image.config]) {
            self.blob(part);
        }
        self.manifest(image.manifest.digest);
        self.layers(image.layers.iter().map(|layer| (layer.diff_id, &layer.blob)));
    }

    /// Adds a layer, with its blob.
    pub fn layer(&mut self, layer: &lock::Layer) {
        self.blob(&layer.blob);
        self.objects.entry((ObjectKind::Layer, layer.diff_id)).or_default().insert(layer.blob.digest);
    }

    /// Adds a blob, such as an emulator's.
    pub fn blob(&mut self, blob: &Descriptor) {
        self.objects.entry((ObjectKind::Blob, blob.digest)).or_default();
    }

    /// Adds a source: its archive, and the tree unpacked from it.
    pub fn source(&mut self, source: &lock::Source) {
        self.blob(&source.blob());
        self.objects.entry((ObjectKind::Source, source.key())).or_default().insert(source.digest);
    }

    /// Adds packages, with what was signed of their archives and the indexes.
    pub fn packages(&mut self, debs: &[lock::Deb], archives: &[&lock::Archive]) {
        self.archives(archives);
        for deb in debs {
            self.blob(&deb.blob());
        }
    }

    /// Adds what was signed of archives, and their indexes.
    pub fn archives(&mut self, archives: &[&lock::Archive]) {
        for blob in
            archives.iter().flat_map(|archive| std::iter::once(&archive.release).chain(archive.indexes.values()))
        {
            self.blob(blob);
        }
    }

    /// Adds the layers of one image, lowest first, with their blobs and the tree merged from them.
    pub(super) fn layers<'a>(&mut self, layers: impl IntoIterator<Item = (Digest, &'a Descriptor)>) {
        let mut diff_ids = Vec::new();
        for (diff_id, blob) in layers {
            self.blob(blob);
            self.objects.entry((ObjectKind::Layer, diff_id)).or_default().insert(blob.digest);
            diff_ids.push(diff_id);
        }
        if let Some(chain_id) = chain_id(&diff_ids) {
            self.objects.entry((ObjectKind::Tree, chain_id)).or_default();
        }
    }

    /// Notes that a blob is a manifest.
    pub(super) fn manifest(&mut self, digest: Digest) {
        self.manifests.insert(digest);
    }

    pub(super) fn manifests(&self) -> impl Iterator<Item = ObjectId> {
        self.manifests.iter().map(|digest| (ObjectKind::Blob, *digest))
    }

    /// All objects, what is made of others before those.
    pub(super) fn objects(&self) -> impl Iterator<Item = ObjectId> {
        self.objects.keys().copied()
    }

    /// The digests of all objects of a kind.
    pub(super) fn digests(&self, wanted: ObjectKind) -> impl Iterator<Item = Digest> {
        self.objects().filter(move |(kind, _)| *kind == wanted).map(|(_, digest)| digest)
    }

    pub(super) fn contains(&self, id: &ObjectId) -> bool {
        self.objects.contains_key(id)
    }

    /// The blobs that the object can be unpacked from, as far as those are known.
    pub(super) fn origins(&self, id: &ObjectId) -> impl Iterator<Item = &Digest> {
        self.objects.get(id).into_iter().flatten()
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (id, origins) in &other.objects {
            self.objects.entry(*id).or_default().extend(origins);
        }
        self.manifests.extend(&other.manifests);
    }

    /// Whether both need one object.
    pub(super) fn intersects(&self, other: &Self) -> bool {
        self.objects.keys().any(|id| other.contains(id))
    }

    /// A line for each object, as a lease has them.
    pub(super) fn to_lines(&self) -> String {
        self.objects().fold(String::new(), |lines, (kind, digest)| lines + kind.name() + " " + &digest.hex() + "\n")
    }

    /// Reads what [`Self::to_lines`] wrote; `None` for anything else.
    pub(super) fn from_lines(text: &str) -> Option<Self> {
        let mut closure = Self::default();
        for line in text.split_terminator('\n') {
            let (kind, hex) = line.split_once(' ')?;
            closure.objects.insert((ObjectKind::from_name(kind)?, Digest::from_hex(hex).ok()?), BTreeSet::new());
        }
        (text.is_empty() || text.ends_with('\n')).then_some(closure)
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
        assert!(needs.digests(ObjectKind::Tree).eq([chain]));
        let text = needs.to_lines();
        assert_eq!(text.lines().count(), 5);
        let read = Closure::from_lines(&text).unwrap();
        assert!(read.intersects(&needs) && read.to_lines() == text && read.objects().eq(needs.objects()));
        assert_eq!(Closure::from_lines(""), Some(Closure::default()));
        for cut in 1..text.len() {
            let part = Closure::from_lines(&text[..cut]);
            assert!(part.is_none() || text[..cut].ends_with('\n'), "{cut} bytes were taken for a whole lease");
        }
        assert_eq!(Closure::from_lines(&text.replace("tree", "rule")), None);
    }
}
