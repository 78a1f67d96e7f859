//! `hermes login`.

use serde::Serialize;

use crate::commands::{Context, Error, network};
use crate::credentials::{self, Backend, Credential};
use crate::reference::Reference;

/// A verified and stored login.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LoggedIn {
    /// The registry.
    pub registry: String,
    /// The user name.
    pub user: String,
    /// Where the password is stored.
    #[serde(rename = "place")]
    pub backend: Backend,
}

/// The registry that `text` names, in the spelling of references: `docker.io`, `127.0.0.1:5000`.
pub(crate) fn registry(text: &str) -> Result<String, Error> {
    let host = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
    let host = host.strip_suffix("/v1").unwrap_or(host);
    if matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io") {
        return Ok("docker.io".to_owned());
    }
    // What comes before the first '/' of a reference is a registry only if it looks like one.
    let reference: Reference = format!("{host}/x").parse()?;
    let is_host = reference.registry() == host;
    if is_host { Ok(host.to_owned()) } else { Err(Error::NoRegistry { text: text.to_owned() }) }
}

/// Verifies the password with the registry, then stores it.
pub(crate) fn login(context: &Context, registry: String, user: String, password: &str) -> Result<LoggedIn, Error> {
    if context.offline {
        return Err(Error::OfflineLogin { registry });
    }
    let credential = Credential::Password { user: user.clone(), password: password.to_owned() };
    network::run(context, async |client| Ok(client.log_in(&registry, credential).await?))?;
    let backend = credentials::store(&context.registry.credentials, &registry, &user, password)?;
    Ok(LoggedIn { registry, user, backend })
}
