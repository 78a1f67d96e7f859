//! Layers of a root in the store.

use std::io::Write;
use std::path::Path;

use super::composition::Work;
use super::error::ComposeError;
use crate::debian::compose::layer;
use crate::debian::compose::tree::Tree;
use crate::fs::remove;
use crate::layer::{Entry, Toc, compressed};
use crate::lock::Layer;
use crate::oci::{self, Descriptor};

/// Maximum size of a compressed layer, in bytes.
const MAX_BLOB: u64 = 64 << 30;

impl Work<'_> {
    /// Writes the blob of the layer with these entries of `tree`, which get the digests of their files.
    pub(super) fn write(&mut self, tree: &Tree, entries: &mut [Entry]) -> Result<Layer, ComposeError> {
        let failed = ComposeError::io("read", tree.path());
        let blob = self.store.receive_blob(MAX_BLOB)?;
        let fill = |out: &mut dyn Write| layer::write(tree, entries, out).map(|(_, written)| written);
        let (blob, written) = compressed(blob, fill).map_err(failed)?;
        let (digest, size) = blob.so_far();
        let layer = Layer { blob: Descriptor::new(oci::LAYER_ZSTD, digest, size), diff_id: written.diff_id };
        (self.hold)(&layer);
        blob.commit(self.store)?;
        Ok(layer)
    }

    /// Publishes the layer whose tree is in the directory `tree`, with these entries and nothing else. It is not unpacked from its
    /// blob, which was written of the same files. The directory is then gone.
    pub(super) fn publish(&self, layer: &Layer, tree: &Path, entries: Vec<Entry>) -> Result<(), ComposeError> {
        if self.store.has_layer(&layer.diff_id) {
            // Composed before, but not noted: by another emulator, or by a process that was killed.
            return remove::path(tree).map_err(ComposeError::io("remove", tree));
        }
        let stage = self.store.adopt_layer(layer, tree, &Toc::of_entries(entries))?;
        Ok(self.store.commit_layers(&[stage])?)
    }
}
