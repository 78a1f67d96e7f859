//! `hermes logout`.

use serde::Serialize;

use crate::commands::{Context, Error};
use crate::credentials::{self, Lookup};

/// The result of a logout.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LoggedOut {
    /// The registry.
    pub registry: String,
    /// Whether there was a login.
    pub was_logged_in: bool,
}

/// Removes what `hermes login` has stored for `registry`; warns if another file still has credentials.
pub(crate) fn logout(context: &Context, registry: String) -> Result<LoggedOut, Error> {
    let files = &context.registry.credentials;
    let was_logged_in = credentials::erase(files, &registry)?;
    let lookup = Lookup::new(files.clone(), context.reporter.clone());
    if lookup.find(&registry, "").is_some() {
        let line = format!("a file that 'hermes login' does not write still has credentials for {registry}");
        context.reporter.warn(&line);
    }
    Ok(LoggedOut { registry, was_logged_in })
}
