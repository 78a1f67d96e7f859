//! Unpacked layers, named by the digest of their tar (`diff_id`).

use std::fs;
use std::io::{self, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::layer::{self, Limits, TocError, Unpacked};
use crate::lock;
use crate::store::staging::{DONE, TempDir, Tree, create_new, take_group};
use crate::store::{Store, StoreError};

/// The tree in the directory of a layer, a merged root or a source.
const TREE: &str = "fs";
/// Stands in a layer whose tree an overlay would not show right above others; with [`NEEDS_LAYERS`] in it, of a layer
/// that is none without those below.
const NO_OVERLAY: &str = "no-overlay";

const NEEDS_LAYERS: &[u8] = b"links to layers below\n";

/// Whether `directory` and the tree in it are directories, and not links to some.
pub(super) fn holds_tree(directory: &Path) -> bool {
    let is_directory = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    is_directory(directory) && is_directory(&directory.join(TREE))
}

impl Store {
    /// Whether the layer is unpacked. A layer that was unpacked in another boot is checked once, since a power failure may
    /// have damaged it; a damaged one does not count as unpacked.
    #[must_use]
    pub fn has_layer(&self, diff_id: &Digest) -> bool {
        let layer = self.layer(diff_id);
        // An empty file says that the layer is completely on disk.
        fs::symlink_metadata(layer.join(DONE)).is_ok_and(|done| {
            done.is_file() && holds_tree(&layer) && (done.len() == 0 || self.verify_after_reboot(diff_id))
        })
    }

    /// The root of the unpacked layer.
    #[must_use]
    pub fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.layer(diff_id).join(TREE)
    }

    /// The file with the layer's [`layer::Toc`].
    #[must_use]
    pub fn toc_path(&self, diff_id: &Digest) -> PathBuf {
        self.layer(diff_id).join("toc")
    }

    /// Whether the unpacked layer may lie above others in an overlay ([`Unpacked::overlay_ready`],
    /// [`layer::Toc::suits_overlay`]).
    #[must_use]
    pub fn overlay_ready(&self, diff_id: &Digest) -> bool {
        fs::symlink_metadata(self.layer(diff_id).join(NO_OVERLAY)).is_err()
    }

    /// Whether the layer has links to files of layers below ([`layer::Toc::needs_layers_below`]).
    #[must_use]
    pub fn needs_layers_below(&self, diff_id: &Digest) -> bool {
        fs::symlink_metadata(self.layer(diff_id).join(NO_OVERLAY)).is_ok_and(|mark| mark.len() > 0)
    }

    /// The layers of `image` that are not unpacked.
    #[must_use]
    pub fn missing_layers<'a>(&self, image: &'a lock::Image) -> Vec<&'a lock::Layer> {
        image.layers.iter().filter(|layer| !self.has_layer(&layer.diff_id)).collect()
    }

    /// Whether all is there that running `image` takes: its manifest, its config, its layers unpacked.
    #[must_use]
    pub fn has_image(&self, image: &lock::Image) -> bool {
        self.has_blob(&image.manifest)
            && self.has_blob(&image.config)
            && image.layers.iter().all(|layer| self.has_layer(&layer.diff_id))
    }

    /// Begins to unpack a layer.
    pub fn create_layer(&self, diff_id: &Digest) -> Result<LayerStage, StoreError> {
        let temp = self.temp_dir()?;
        let stage = LayerStage { diff_id: *diff_id, temp, limits: self.limits, unpacked: false };
        let tree = stage.path();
        fs::create_dir(&tree).map_err(StoreError::io("create", &tree))?;
        take_group(&tree)?;
        Ok(stage)
    }

    /// Begins a layer whose tree is there: the directory `tree` of this store's file system, with the content of the files in
    /// `toc`. Modes and times are made what they would be if the layer had been unpacked. The directory is moved.
    ///
    /// # Errors
    /// [`StoreError::Layer`] if the tree is not that of the layer, as far as names and kinds of files go; the content is not
    /// read.
    pub fn adopt_layer(&self, layer: &lock::Layer, tree: &Path, toc: &layer::Toc) -> Result<LayerStage, StoreError> {
        let digest = layer.blob.digest;
        let overlay_ready = layer::settle(tree, toc).map_err(|source| StoreError::Layer { digest, source })?;
        let mut stage = self.create_layer(&layer.diff_id)?;
        fs::rename(tree, stage.path()).map_err(StoreError::io("rename", tree))?;
        stage.describe(toc, overlay_ready)?;
        Ok(stage)
    }

    /// The table of contents of an unpacked layer.
    ///
    /// # Errors
    /// [`StoreError::Toc`].
    pub fn toc(&self, diff_id: &Digest) -> Result<layer::Toc, StoreError> {
        let path = self.toc_path(diff_id);
        let toc = self.inner.trust.open(&path).map_err(TocError::Io).and_then(layer::Toc::read);
        toc.map_err(|source| match source {
            // The system's, not a word of what was read.
            TocError::Io(source) if source.raw_os_error().is_some() && source.kind() != io::ErrorKind::NotFound => {
                StoreError::Io { action: "read", path, source }
            }
            source => StoreError::Toc { layer: self.layer(diff_id), source },
        })
    }

    /// Publishes layers that are unpacked, those before one that fails in every case.
    ///
    /// # Errors
    /// [`StoreError::Unfinished`].
    pub fn commit_layers(&self, stages: &[LayerStage]) -> Result<(), StoreError> {
        if let Some(stage) = stages.iter().find(|stage| !stage.unpacked) {
            return Err(StoreError::Unfinished(stage.diff_id));
        }
        self.publish_trees(stages.iter().map(|stage| (&stage.temp, Tree::Layer(&stage.diff_id))))
    }

    pub(super) fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.path("layers").join(diff_id.hex())
    }
}

/// A layer being unpacked. Dropped without [`Store::commit_layers`], it leaves nothing.
#[derive(Debug)]
pub struct LayerStage {
    diff_id: Digest,
    temp: TempDir,
    limits: Limits,
    unpacked: bool,
}

impl LayerStage {
    /// The directory the layer's tree grows in.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.temp.path().join(TREE)
    }

    /// Unpacks the blob of `layer`, as it comes out of `blob`, and verifies that its tar is the one
    /// the image config names. The blob itself is verified by who reads it.
    ///
    /// # Errors
    /// [`StoreError::Layer`], [`StoreError::DiffId`].
    pub fn unpack_from(&mut self, blob: impl Read + Send, layer: &lock::Layer) -> Result<Unpacked, StoreError> {
        let digest = layer.blob.digest;
        let unpacked = layer::unpack(blob, &layer.blob.media_type, &self.path(), &self.limits)
            .map_err(|source| StoreError::Layer { digest, source })?;
        if unpacked.diff_id != self.diff_id {
            return Err(StoreError::DiffId { digest, expected: self.diff_id, actual: unpacked.diff_id });
        }
        self.describe(&unpacked.toc, unpacked.overlay_ready)?;
        Ok(unpacked)
    }

    /// Writes what is known of the tree, which is complete.
    fn describe(&mut self, toc: &layer::Toc, overlay_ready: bool) -> Result<(), StoreError> {
        let path = self.temp.path().join("toc");
        let file = create_new(&path).map_err(StoreError::io("create", &path))?;
        toc.write(BufWriter::new(file)).map_err(StoreError::io("write", &path))?;
        if !(overlay_ready && toc.suits_overlay()) {
            let path = self.temp.path().join(NO_OVERLAY);
            let mark: &[u8] = if toc.needs_layers_below() { NEEDS_LAYERS } else { b"" };
            let made = create_new(&path).and_then(|mut file| file.write_all(mark));
            made.map_err(StoreError::io("create", &path))?;
        }
        self.unpacked = true;
        Ok(())
    }
}
