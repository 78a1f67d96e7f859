//! Removal of what a name meant once the name is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use crate::digest::Digest;
use crate::oci::{self, Descriptor, Document, ImageConfig};
use crate::store::{Store, StoreError, chain_id};

/// Deepest nesting of an index within an index that is followed.
pub(super) const MAX_DEPTH: u32 = 4;

/// What a prune removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Blobs removed.
    pub blobs: usize,
    /// Unpacked layers removed.
    pub layers: usize,
    /// Bytes of the blobs removed.
    pub bytes: u64,
}

/// What can be reached from a descriptor.
#[derive(Default)]
struct Reach {
    blobs: BTreeMap<Digest, u64>,
    layers: BTreeSet<Digest>,
    roots: BTreeSet<Digest>,
}

impl Store {
    /// Removes what `removed` leads to and no reference does. Blobs that never belonged to it stay,
    /// such as emulators and what another hermes is fetching right now under another name.
    ///
    /// # Errors
    /// A document of another reference that cannot be read: what it needs is then not known, and
    /// nothing is removed. The system's.
    pub fn prune(&self, removed: &Descriptor) -> Result<Pruned, StoreError> {
        self.empty_trash();
        let mut kept = Reach::default();
        for (_, top) in self.refs()? {
            self.reach(&top, &mut kept, 0, &Err)?;
        }
        let mut gone = Reach::default();
        self.reach(removed, &mut gone, 0, &|_| Ok(()))?;
        let mut pruned = Pruned::default();
        for chain_id in gone.roots.difference(&kept.roots) {
            let root = self.root_of(chain_id);
            if fs::symlink_metadata(&root).is_ok() {
                self.discard(&root)?;
            }
        }
        // Layers first: from blobs that are still there a layer can be unpacked again.
        for diff_id in gone.layers.difference(&kept.layers) {
            if self.has_layer(diff_id) {
                self.discard(&self.layer(diff_id))?;
                pruned.layers += 1;
            }
        }
        for (digest, size) in gone.blobs.iter().filter(|(digest, _)| !kept.blobs.contains_key(digest)) {
            let path = self.blob_path(digest);
            match fs::remove_file(&path) {
                Ok(()) => {
                    pruned.blobs += 1;
                    pruned.bytes += size;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(StoreError::Io { action: "remove", path, source }),
            }
        }
        Ok(pruned)
    }

    /// Adds to `reach` what `from` leads to. What is wrong goes to `failed`, which may let it pass.
    fn reach(
        &self,
        from: &Descriptor,
        reach: &mut Reach,
        depth: u32,
        failed: &dyn Fn(StoreError) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        reach.blobs.insert(from.digest, from.size);
        // A part that was never fetched leads nowhere.
        if !self.has_blob(from) || depth > MAX_DEPTH {
            return Ok(());
        }
        match self.read_document(from) {
            Ok(Document::Index(children)) => {
                for child in children.iter().filter(|child| is_document(&child.media_type)) {
                    self.reach(child, reach, depth + 1, failed)?;
                }
                Ok(())
            }
            Ok(Document::Manifest(manifest)) => {
                let parts = manifest.layers.iter().chain([&manifest.config]);
                reach.blobs.extend(parts.map(|blob| (blob.digest, blob.size)));
                if !self.has_blob(&manifest.config) {
                    return Ok(());
                }
                match self.read_blob(&manifest.config, oci::MAX_CONFIG) {
                    // An attestation's config is no image config, and its layers are never unpacked.
                    Ok(bytes) => {
                        let diff_ids = ImageConfig::parse(&bytes, &manifest).unwrap_or_default().diff_ids;
                        reach.roots.extend(chain_id(&diff_ids));
                        reach.layers.extend(diff_ids);
                        Ok(())
                    }
                    Err(error) => failed(error),
                }
            }
            Err(error) => failed(error),
        }
    }

    /// Reads an index or manifest.
    pub(super) fn read_document(&self, blob: &Descriptor) -> Result<Document, StoreError> {
        let bytes = self.read_blob(blob, oci::MAX_MANIFEST)?;
        Document::parse(&bytes, Some(&blob.media_type))
            .map_err(|source| StoreError::Document { digest: blob.digest, source })
    }
}

pub(super) fn is_document(media_type: &str) -> bool {
    matches!(media_type, oci::INDEX | oci::MANIFEST | oci::DOCKER_INDEX | oci::DOCKER_MANIFEST)
}
