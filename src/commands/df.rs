//! `hermes df`.

use crate::commands::{Context, Error};
use crate::store::DiskUsage;

/// Where the room in the store goes.
///
/// # Errors
/// The store's.
pub(crate) fn df(context: &Context) -> Result<DiskUsage, Error> {
    Ok(context.open_store()?.disk_usage()?)
}
