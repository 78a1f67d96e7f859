//! Client for OCI registries (OCI distribution specification 1.1). No other module makes HTTP requests.
//!
//! An answer is hostile until its digest is checked: bodies have a limit, the digest of a pinned reference is
//! enforced here, and text for people is escaped and shortened. Requests use https, except where [`Host`] allows
//! plain http.

mod auth;
mod bandwidth;
mod blob;
mod certs;
mod client;
mod endpoint;
mod error;
mod file;
mod headers;
mod message;
mod pace;
mod proxy;
mod push;
mod rate_limit;
mod request;
mod response;
mod retry;
mod route;
mod settings;
mod tls;

pub use auth::Challenge;
pub(crate) use bandwidth::Bandwidth;
#[cfg(test)]
pub(crate) use bandwidth::ParseBandwidthError;
pub(crate) use blob::Blob;
pub use client::{Client, Fetched};
pub use error::RegistryError;
pub(crate) use file::Download;
pub(crate) use proxy::Proxies;
pub(crate) use push::Tagged;
#[cfg(test)]
pub(crate) use rate_limit::RateLimit;
pub(crate) use route::{host_of, is_same_server, linked, without_query};
pub use settings::{Host, Limits, Settings};
