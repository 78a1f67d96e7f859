//! `hermes gc`.

use std::path::PathBuf;

use crate::commands::{Context, Error};
use crate::store::{Budget, Collected};

/// Removes what nobody needs from the store, and then what is used least until it is within `budget`.
/// Lock files in `forget` are no longer taken for somebody who needs something, until they are used again.
///
/// # Errors
/// A lock file that was to be forgotten and is not known; the store's.
pub(crate) fn gc(context: &Context, budget: Budget, forget: &[PathBuf], dry_run: bool) -> Result<Collected, Error> {
    let store = context.open_store()?;
    for path in forget {
        if !store.is_gc_root(path) {
            return Err(Error::NotSeen { path: path.clone() });
        }
    }
    Ok(store.gc(budget, forget, dry_run, context.reporter.as_ref())?)
}
