//! Roots whose scripts do not run: all packages in one layer, with the owners and times of the packages.

use std::collections::HashMap;

use super::composition::{Composition, Work};
use super::configure;
use super::error::ComposeError;
use super::unpack::{self, Unpacked};
use crate::debian::compose::layer::{Facts, Owned};
use crate::debian::compose::tree::Tree;
use crate::layer::Entry;
use crate::lock::Layer;

/// Composes the only layer, and publishes it.
pub(super) fn compose(work: &mut Work<'_>) -> Result<Layer, ComposeError> {
    let Composition { epoch, limits, .. } = *work.composition;
    let path = work.tree();
    std::fs::create_dir(&path).map_err(ComposeError::io("create", &path))?;
    let Unpacked { entries, .. } = unpack::base(work, &path)?;
    let tree = Tree::open(&path).map_err(ComposeError::io("open", &path))?;
    configure::restore(&tree, &entries)?;
    let found = tree.list(&limits).map_err(ComposeError::io("read", &path))?;
    let owner = |entry: &Entry| Owned { owner: (entry.uid, entry.gid), born: None };
    let known: HashMap<&[u8], Owned> = entries.iter().map(|entry| (entry.path.as_slice(), owner(entry))).collect();
    let owners = found.iter().filter_map(|found| Some((found.key, *known.get(found.entry.path.as_slice())?)));
    // Nothing ran, so nothing was made in the meantime.
    let facts = Facts { epoch, run: ((i64::MAX, 0), (i64::MIN, 0)), owners: owners.collect() };
    let mut entries: Vec<Entry> = facts.describe(found).into_iter().map(|described| described.entry).collect();
    let layer = work.write(&tree, &mut entries)?;
    work.publish(&layer, &path, entries)?;
    Ok(layer)
}
