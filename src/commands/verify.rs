//! `hermes verify`.

mod composed;

#[cfg(test)]
pub(crate) use composed::VerifyError;
pub(crate) use composed::{Recomposed, State, compose};

use crate::commands::{Context, Error};
use crate::reference::Reference;
use crate::store::Verified;

/// Verifies all objects in the store, or those that `names` lead to, and removes corrupt ones unless `dry_run`.
///
/// # Errors
/// No such image; the store's. Damage is no error: it is reported.
pub(crate) fn verify(context: &Context, names: &[Reference], dry_run: bool) -> Result<Verified, Error> {
    let store = context.open_store()?;
    for name in names {
        if !store.has_ref(name) {
            return Err(Error::NoImage(name.clone()));
        }
    }
    Ok(store.verify(names, dry_run, context.reporter.as_ref())?)
}
