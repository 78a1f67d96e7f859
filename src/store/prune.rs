//! What a descriptor leads to, and removal of what a name meant once the name is gone.

use std::fs;

use serde::Serialize;

use crate::oci::{self, Descriptor, Document, ImageConfig};
use crate::progress::Reporter;
use crate::reference::Reference;
use crate::store::gc::GcRoot;
use crate::store::{Closure, Store, StoreError};

/// Deepest nesting of an index within an index that is followed.
pub(super) const MAX_DEPTH: u32 = 4;

/// What the removal of a name came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pruned {
    /// Blobs removed.
    pub blobs: usize,
    /// Unpacked layers removed.
    pub layers: usize,
    /// Bytes of the blobs removed.
    pub bytes: u64,
    /// Who still needs parts of it, which were therefore kept.
    pub kept_for: Vec<GcRoot>,
}

impl Store {
    /// Forgets `name` and removes what it leads to and nobody needs: no other name, no lock file seen, no
    /// lease. Blobs that never belonged to it stay. `None` where there is no such name.
    ///
    /// # Errors
    /// A name, lock file or lease that cannot be read: what it needs is then not known, and nothing is
    /// removed. The system's.
    pub fn remove(&self, name: &Reference, reporter: &dyn Reporter) -> Result<Option<Pruned>, StoreError> {
        self.empty_trash();
        // Without locks, leases are told apart by the processes they are named for.
        let gate = self.close_gate(reporter)?;
        let Some(top) = self.find_ref(name)? else { return Ok(None) };
        let live = self.mark(Some(name), &[], gate.is_some())?;
        let kept = live.kept();
        let mut gone = Closure::default();
        self.reach(&top, &mut gone, 0, &|_| Ok(()))?;
        self.remove_ref(name)?;
        let mut trash = self.trash()?;
        let mut pruned = Pruned { kept_for: live.who_needs(&gone), ..Pruned::default() };
        // Layers first: from blobs that are still there a layer can be unpacked again.
        for diff_id in gone.layers.keys().filter(|diff_id| !kept.layers.contains_key(diff_id)) {
            pruned.layers += usize::from(trash.take(&self.layer(diff_id))?);
        }
        for chain in gone.trees.difference(&kept.trees) {
            trash.take(&self.root_of(chain))?;
        }
        for digest in gone.blobs.keys().filter(|digest| !kept.blobs.contains_key(digest)) {
            let path = self.blob_path(digest);
            let size = fs::symlink_metadata(&path).map_or(0, |meta| meta.len());
            if trash.take(&path)? {
                pruned.blobs += 1;
                pruned.bytes += size;
            }
        }
        // What is in the trash is nobody's: others need not wait.
        drop(gate);
        trash.empty()?;
        Ok(Some(pruned))
    }

    /// Adds to `needs` what `from` leads to. What is wrong goes to `failed`, which may let it pass.
    pub(super) fn reach(
        &self,
        from: &Descriptor,
        needs: &mut Closure,
        depth: u32,
        failed: &dyn Fn(StoreError) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        needs.blob(from);
        // A part that was never fetched leads nowhere.
        if !self.has_blob(from) || depth > MAX_DEPTH {
            return Ok(());
        }
        match self.read_document(from) {
            Ok(Document::Index(children)) => {
                for child in children.iter().filter(|child| is_document(&child.media_type)) {
                    self.reach(child, needs, depth + 1, failed)?;
                }
                Ok(())
            }
            Ok(Document::Manifest(manifest)) => {
                needs.manifests.insert(from.digest);
                for part in manifest.layers.iter().chain([&manifest.config]) {
                    needs.blob(part);
                }
                if !self.has_blob(&manifest.config) {
                    return Ok(());
                }
                match self.read_blob(&manifest.config, oci::MAX_CONFIG) {
                    // An attestation's config is no image config, and its layers are never unpacked.
                    Ok(bytes) => {
                        let diff_ids = ImageConfig::parse(&bytes, &manifest).unwrap_or_default().diff_ids;
                        needs.layers(diff_ids.into_iter().zip(&manifest.layers));
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
