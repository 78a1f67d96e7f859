//! Composition of images from packages of Debian.
//!
//! A root is unpacked natively ([`unpack`]), configured by its own dpkg in a sandbox ([`configure`]), and written as a layer
//! into the store. A second layer has what further packages add. A root without scripts is unpacked and written, and has one
//! layer. The bytes follow from the [`Composition`] alone: not from
//! the clock, the user or the file system of the host.

mod composition;
mod configure;
mod error;
mod unpack;

use std::collections::HashMap;
use std::io::BufWriter;

pub use composition::{Archive, Composition};
pub use error::ComposeError;

use composition::Work;

use crate::debian::compose::finish::{Part, finish};
use crate::debian::compose::image::{self, ComposedLayer};
use crate::debian::compose::layer::{self, Described, Facts, Owned, difference};
use crate::debian::compose::script::Preinst;
use crate::debian::compose::tree::Tree;
use crate::digest::Digest;
use crate::layer::{Entry, Kind};
use crate::lock;
use crate::oci::{self, Descriptor, Manifest};
use crate::store::Store;

/// Level of compression of layers (zstd(1)).
const LEVEL: i32 = 3;
/// Maximum size of a compressed layer, in bytes.
const MAX_BLOB: u64 = 64 << 30;

/// Composes the image and writes it into the store: blobs, and unpacked layers. Nothing refers to them yet.
///
/// If scripts run, this process must have one thread, as for every sandbox.
///
/// # Errors
///
/// An archive is not the expected one or conflicts with another; a script fails; the sandbox cannot be made; files cannot be
/// read or written.
pub fn compose(store: &Store, composition: &Composition<'_>) -> Result<lock::Image, ComposeError> {
    let place = store.scratch()?;
    let work = Work { store, composition, place: place.path() };
    let unpacked = unpack::base(&work)?;
    let tree = Tree::open(&work.tree()).map_err(ComposeError::io("open", &work.tree()))?;
    if !composition.scripts {
        return work.unpacked(&tree, &unpacked.entries);
    }
    let state = work.configured(&tree, Part::Base, unpacked.entries, &unpacked.preinsts)?;
    let mut entries: Vec<Entry> = state.into_iter().map(|described| described.entry).collect();
    let mut layers = vec![work.publish(&tree, &mut entries)?];
    let mut steps = vec![ComposedLayer { diff_id: layers[0].diff_id, request: None }];
    if !composition.packages.is_empty() {
        let state = work.configured(&tree, Part::Packages, entries.clone(), &[])?;
        let digest = |entry: &Entry| {
            let mut file = tree.open_file(&entry.path)?;
            Digest::of_reader(&mut file, &|_| {}).map(|(digest, _)| digest)
        };
        let changed = difference(&entries, state, digest);
        let mut changed = changed.map_err(ComposeError::io("read", tree.path()))?;
        let layer = work.publish(&tree, &mut changed)?;
        steps.push(ComposedLayer { diff_id: layer.diff_id, request: Some(composition.requested.to_vec()) });
        layers.push(layer);
    }
    work.describe(layers, &steps)
}

impl Work<'_> {
    /// The image of a tree that is complete with these `entries`.
    fn unpacked(&self, tree: &Tree, entries: &[Entry]) -> Result<lock::Image, ComposeError> {
        let Composition { epoch, requested, limits, .. } = *self.composition;
        restore(tree, entries)?;
        let found = tree.list(&limits).map_err(ComposeError::io("read", tree.path()))?;
        let owner = |entry: &Entry| Owned { owner: (entry.uid, entry.gid), born: None };
        let known: HashMap<&[u8], Owned> = entries.iter().map(|entry| (entry.path.as_slice(), owner(entry))).collect();
        let owners = found.iter().filter_map(|found| Some((found.key, *known.get(found.entry.path.as_slice())?)));
        // Nothing ran, so nothing was made in the meantime.
        let facts = Facts { epoch, run: (i64::MAX, i64::MIN), owners: owners.collect() };
        let mut entries: Vec<Entry> = facts.describe(found).into_iter().map(|described| described.entry).collect();
        let layer = self.publish(tree, &mut entries)?;
        let step = ComposedLayer { diff_id: layer.diff_id, request: Some(requested.to_vec()) };
        self.describe(vec![layer], &[step])
    }

    /// Configures a part of the root, whose tree has these `entries` before.
    fn configured(
        &self,
        tree: &Tree,
        part: Part,
        entries: Vec<Entry>,
        preinsts: &[Preinst],
    ) -> Result<Vec<Described>, ComposeError> {
        let Composition { epoch, sources, .. } = *self.composition;
        configure::provide(self, tree, part, preinsts)?;
        restore(tree, &entries)?;
        let owners = configure::owners(&entries);
        drop(entries);
        let start = self.now()?;
        let owners = configure::run(self, tree, part, preinsts, owners)?;
        finish(tree, part, epoch, sources)
            .map_err(|(path, source)| ComposeError::io("change", &tree.path().join(path))(source))?;
        let facts = Facts { epoch, run: (start, self.now()?), owners };
        let found = tree.list(&self.composition.limits).map_err(ComposeError::io("read", tree.path()))?;
        Ok(facts.describe(found))
    }

    /// The time in seconds since 1970, by the clock of the tree's file system.
    fn now(&self) -> Result<i64, ComposeError> {
        use std::os::unix::fs::MetadataExt as _;
        let path = self.place.join("clock");
        let time = std::fs::write(&path, "").and_then(|()| std::fs::symlink_metadata(&path));
        Ok(time.map_err(ComposeError::io("write", &path))?.mtime())
    }

    /// Writes the layer of these entries into the store, and unpacks it there. Files get their digests.
    fn publish(&self, tree: &Tree, entries: &mut [Entry]) -> Result<lock::Layer, ComposeError> {
        let failed = |source| ComposeError::io("read", tree.path())(source);
        let blob = self.store.receive_blob(MAX_BLOB)?;
        let encoder = zstd::Encoder::new(blob, LEVEL).map_err(failed)?;
        let (out, written) = layer::write(tree, entries, BufWriter::with_capacity(1 << 18, encoder)).map_err(failed)?;
        let blob = out.into_inner().map_err(|error| failed(error.into_error()))?.finish().map_err(failed)?;
        let (digest, size) = blob.so_far();
        blob.commit(self.store)?;
        let layer = lock::Layer { blob: Descriptor::new(oci::LAYER_ZSTD, digest, size), diff_id: written.diff_id };
        if !self.store.has_layer(&layer.diff_id) {
            let mut stage = self.store.create_layer(&layer.diff_id)?;
            stage.unpack_from(self.store.open_blob(&layer.blob)?, &layer)?;
            self.store.commit_layers(&[stage])?;
        }
        Ok(layer)
    }

    /// Writes config and manifest of the image.
    fn describe(&self, layers: Vec<lock::Layer>, steps: &[ComposedLayer]) -> Result<lock::Image, ComposeError> {
        let Composition { platform, suite, epoch, .. } = *self.composition;
        let config = image::config(platform, suite, epoch, steps).map_err(ComposeError::Document)?;
        let config = self.store.add_blob(&config, oci::CONFIG)?;
        let blobs = layers.iter().map(|layer| layer.blob.clone()).collect();
        let manifest =
            Manifest { config: config.clone(), layers: blobs }.write(None).map_err(ComposeError::Document)?;
        let manifest = self.store.add_blob(&manifest, oci::MANIFEST)?;
        Ok(lock::Image { platform, label: None, index: None, manifest, config, layers, tree: None })
    }
}

/// Gives the files of the tree the modes and times that they have in `entries`.
fn restore(tree: &Tree, entries: &[Entry]) -> Result<(), ComposeError> {
    for entry in entries.iter().filter(|entry| entry.kind != Kind::Hardlink) {
        let changed = if matches!(entry.kind, Kind::File | Kind::Directory) {
            tree.set_mode(&entry.path, entry.mode)
        } else {
            Ok(())
        };
        let changed = changed.and_then(|()| tree.set_time(&entry.path, entry.mtime));
        changed.map_err(|source| {
            let path = tree.path().join(crate::visible::visible_path(&entry.path));
            ComposeError::io("change", &path)(source)
        })?;
    }
    Ok(())
}
