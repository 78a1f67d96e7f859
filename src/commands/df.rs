//! `hermes df`.

use crate::commands::{Context, Error};
use crate::store::DiskUsage;

/// Disk usage of the store.
pub(crate) fn df(context: &Context) -> Result<Usage, Error> {
    Ok(context.open_store()?.usage()?)
}
