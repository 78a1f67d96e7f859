//! `hermes df`.

use crate::commands::{Context, Error};
use crate::store::DiskUsage;

/// Disk usage of the store.
///
/// # Errors
/// The store's.
pub(crate) fn df(context: &Context) -> Result<DiskUsage, Error> {
    Ok(context.open_store()?.disk_usage()?)
}
