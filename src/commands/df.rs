//! `hermes df`.

use crate::commands::{Context, Error};
use crate::store::Usage;

/// Where the room in the store goes.
///
/// # Errors
/// The store's.
pub(crate) fn df(context: &Context) -> Result<Usage, Error> {
    Ok(context.open_store()?.usage()?)
}
