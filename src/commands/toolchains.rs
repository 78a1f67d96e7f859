//! `hermes toolchain list` and `show`.

use serde::Serialize;

use crate::commands::{Context, Error};
use crate::toolchain::Definition;

/// A toolchain with its name.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Named {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(flatten)]
    pub definition: Definition,
}

/// All toolchains, by name.
pub(crate) fn list(context: &Context) -> Result<Vec<Named>, Error> {
    context.catalog.names().iter().map(|name| show(context, name)).collect()
}

/// One toolchain.
pub(crate) fn show(context: &Context, name: &str) -> Result<Named, Error> {
    Ok(Named { name: name.to_owned(), definition: context.catalog.find(name)? })
}
