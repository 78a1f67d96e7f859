//! The base of a root.

use super::composition::Work;
use super::configure;
use super::error::ComposeError;
use super::unpack::{self, Packages, Unpacked};
use crate::debian::compose::finish::Part;
use crate::debian::compose::tree::Tree;
use crate::layer::Entry;
use crate::lock::Layer;

/// Composes the base, and publishes its layer. While its scripts run, further packages are unpacked, which then are returned.
pub(super) fn compose(work: &mut Work<'_>) -> Result<(Layer, Option<Packages>), ComposeError> {
    let path = work.tree();
    std::fs::create_dir(&path).map_err(ComposeError::io("create", &path))?;
    let Unpacked { entries, preinsts, index } = unpack::base(work, &path)?;
    let tree = Tree::open(&path).map_err(ComposeError::io("open", &path))?;
    configure::provide_base(work, &tree, &preinsts, &index)?;
    let mut unpacked = None;
    let (composition, place) = (work.composition, work.place);
    let mut beside = || {
        if unpacked.is_none() && !composition.packages.is_empty() {
            unpacked = Some(unpack::packages(composition, place));
        }
    };
    let step = configure::Step { part: Part::Base, preinsts: &preinsts, entries };
    let state = configure::configured(work, &tree, step, Some(&mut beside))?;
    let mut entries: Vec<Entry> = state.into_iter().map(|described| described.entry).collect();
    let layer = work.write(&tree, &mut entries)?;
    drop(tree);
    work.publish(&layer, &path, entries)?;
    if let Some(key) = work.composition.base_key {
        work.store.note_composed(&key, &layer)?;
    }
    Ok((layer, unpacked.transpose()?))
}
