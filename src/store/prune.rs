//! The closure of a descriptor, and removal of a name with everything that only it needs.

use std::fs;

use serde::Serialize;

use crate::oci::{self, Descriptor, Document, ImageConfig};
use crate::progress::Reporter;
use crate::reference::Reference;
use crate::store::gc::GcRoot;
use crate::store::objects::ObjectKind;
use crate::store::{Closure, Store, StoreError};

/// Deepest nesting of an index within an index that is followed.
pub(super) const MAX_DEPTH: u32 = 4;

/// What was removed with a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pruned {
    pub blobs: usize,
    /// Unpacked layers removed.
    pub layers: usize,
    /// Bytes of the blobs removed.
    pub bytes: u64,
    /// The GC roots that still need parts of it, which were therefore kept.
    pub kept_for: Vec<GcRoot>,
}

impl Store {
    /// Removes `name`, and everything it leads to that no other name, no lock file and no lease needs. Blobs that never
    /// belonged to it stay. `None` where there is no such name.
    ///
    /// # Errors
    /// A name, lock file or lease cannot be read, so what it needs is unknown; nothing is removed.
    pub fn remove(&self, name: &Reference, reporter: &dyn Reporter) -> Result<Option<Pruned>, StoreError> {
        self.empty_trash();
        // Where there are no locks, the names of leases tell whether their processes live.
        let gate = self.close_gate(reporter)?;
        let Some(top) = self.find_ref(name)? else { return Ok(None) };
        let live = self.mark(Some(name), &[], gate.is_some())?;
        let kept = live.kept();
        let mut gone = Closure::default();
        self.reach(&top, &mut gone, 0, &|_| Ok(()))?;
        self.remove_ref(name)?;
        let mut trash = self.trash()?;
        let mut pruned = Pruned { kept_for: live.who_needs(&gone), ..Pruned::default() };
        // What is made of other objects goes first: while those are there, it can be made again.
        for id in gone.objects().filter(|id| !kept.contains(id)) {
            let path = self.object_path(id);
            let size = fs::symlink_metadata(&path).map_or(0, |meta| meta.len());
            match id.0 {
                _ if !trash.take(&path)? => {}
                ObjectKind::Blob => {
                    pruned.blobs += 1;
                    pruned.bytes += size;
                }
                ObjectKind::Layer => pruned.layers += 1,
                ObjectKind::Tree | ObjectKind::Source => {}
            }
        }
        // Nobody uses what is in the trash, so others need not wait for its deletion.
        drop(gate);
        trash.empty()?;
        Ok(Some(pruned))
    }

    /// Adds everything that `from` leads to to `needs`. An error goes to `failed`, which may ignore it.
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
                needs.manifest(from.digest);
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
