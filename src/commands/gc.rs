//! `hermes gc`.

use std::path::PathBuf;

use crate::commands::{Context, Error};
use crate::store::{Budget, Collected};

/// Removes unused objects from the store, then the least recently used images until the store is within `budget`. Lock files
/// in `forget` stop being roots of the garbage collector until they are used again.
pub(crate) fn gc(context: &Context, budget: Budget, forget: &[PathBuf], dry_run: bool) -> Result<Collected, Error> {
    let store = context.open_store()?;
    for path in forget {
        if !store.is_gc_root(path) {
            return Err(Error::NotSeen { path: path.clone() });
        }
    }
    Ok(store.gc(budget, forget, dry_run, context.reporter.as_ref())?)
}
