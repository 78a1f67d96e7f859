//! Packages on top of a base.

use std::io;

use super::composition::{Composition, Work};
use super::configure;
use super::error::ComposeError;
use super::unpack::{self, Packages};
use crate::debian::compose::above::Above;
use crate::debian::compose::finish::Part;
use crate::debian::compose::layer::difference;
use crate::debian::compose::tree::Tree;
use crate::debian::deb::Additions;
use crate::digest::Digest;
use crate::layer::Entry;
use crate::lock::Layer;

/// Composes the layer with the packages on top of `base`, and publishes it. `unpacked` are the packages, if they are unpacked.
pub(super) fn compose(work: &mut Work<'_>, base: &Layer, unpacked: Option<Packages>) -> Result<Layer, ComposeError> {
    let composition = work.composition;
    let path = work.tree();
    std::fs::create_dir(&path).map_err(ComposeError::io("create", &path))?;
    work.store.copy_root(&[base.diff_id], &path)?;
    let below = work.store.toc(&base.diff_id)?.into_entries();
    let tree = Tree::open(&path).map_err(ComposeError::io("open", &path))?;
    let unpacked = match unpacked {
        Some(unpacked) => unpacked,
        None => unpack::packages(composition, work.place)?,
    };
    let (entries, unpacked) = put(&tree, &below, unpacked, composition)?;
    let preinsts = unpack::preinsts(&unpacked.list);
    let left_out = unpacked.left_out.iter().map(|at| &composition.packages[*at]);
    configure::provide_packages(&tree, &preinsts, left_out)?;
    let step = configure::Step { part: Part::Packages, preinsts: &preinsts, entries };
    let state = configure::configured(work, &tree, step, None)?;
    let digest = |entry: &Entry| {
        let mut file = tree.open_file(&entry.path)?;
        Digest::of_reader(&mut file, &|_| {}).map(|(digest, _)| digest)
    };
    let mut changed = difference(&below, state, digest).map_err(ComposeError::io("read", &path))?;
    let layer = work.write(&tree, &mut changed)?;
    let own = work.place.join("layer");
    let moved = std::fs::create_dir(&own).and_then(|()| tree.move_out(&changed, &own));
    moved.map_err(ComposeError::io("create", &own))?;
    work.publish(&layer, &own, changed)?;
    Ok(layer)
}

/// Puts what is unpacked on top of the base, if that is what dpkg would do. Otherwise dpkg unpacks all packages.
fn put(
    tree: &Tree,
    below: &[Entry],
    unpacked: Packages,
    composition: &Composition<'_>,
) -> Result<(Vec<Entry>, Packages), ComposeError> {
    let failed = |(path, source): (String, io::Error)| ComposeError::io("change", &tree.path().join(path))(source);
    let Packages { tree: from, entries, list, links, left_out } = unpacked;
    let above = Above { tree: &from, entries, packages: &list, links: &links };
    if !above.fits(tree, below).map_err(failed)? {
        return Ok((below.to_vec(), Packages::none(from, composition)));
    }
    let additions = Additions::new(&list, composition.epoch)?;
    let entries = above.put(tree, below.to_vec(), additions, composition.epoch).map_err(failed)?;
    Ok((entries, Packages { tree: from, entries: vec![], list, links, left_out }))
}
