//! Settings of the client: hosts, certificates, proxies, credentials, limits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::bandwidth::Bandwidth;
use super::proxy::Proxies;
use crate::credentials::CredentialFiles;

/// Timeout for a connection, including the TLS handshake.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Timeout for a response that sends nothing.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Settings of the client.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Settings by registry, named as in references and lists of mirrors: `docker.io`, `127.0.0.1:5055`.
    pub hosts: BTreeMap<String, Host>,
    /// Directories of other tools with a subdirectory of certificates for each registry, such as `/etc/docker/certs.d`.
    /// The first client certificate found is used.
    pub certificates: Vec<PathBuf>,
    pub proxies: Proxies,
    pub limits: Limits,
    /// Bandwidth that all downloads share; unlimited by default.
    pub bandwidth: Option<Bandwidth>,
    /// Where to find credentials, if a registry requires them.
    pub credentials: CredentialFiles,
    /// `User-Agent`.
    pub user_agent: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hosts: BTreeMap::new(),
            certificates: Vec::new(),
            proxies: Proxies::default(),
            credentials: CredentialFiles::default(),
            limits: Limits::default(),
            bandwidth: None,
            user_agent: concat!("hermes/", env!("CARGO_PKG_VERSION")),
        }
    }
}

/// Time limits of requests.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest time without a byte before an attempt fails.
    pub silence: Duration,
    /// Period over which the speed of a response is measured.
    pub slow: Duration,
    /// Fewest bytes to be received in that period.
    pub least: u64,
    /// Longest time for a manifest, token or error message after its headers.
    pub document: Duration,
    /// Longest pause before the second attempt; four times as long before each further one. Pauses have a random
    /// length, so that many clients do not retry at once.
    pub pause: Duration,
    /// Longest total time of the pauses that a registry may ask for (`Retry-After`). If it asks for more, the request
    /// fails.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            silence: READ_TIMEOUT,
            slow: Duration::from_secs(30),
            least: 30 << 10,
            document: Duration::from_secs(120),
            pause: Duration::from_millis(250),
            patience: Duration::from_secs(300),
        }
    }
}

/// Settings of one registry: `[registry."HOST"]` in `config.toml`.
///
/// | registry | https | plain http |
/// |---|---|---|
/// | any | verified against the system's CAs | never |
/// | with `ca` | verified against the system's CAs and those | never |
/// | loopback or `insecure`, without `ca` | tried first, not verified | where https fails |
/// | `insecure` with `ca` | tried first, verified as with `ca` | where https fails |
///
/// This is Docker's rule for insecure registries, which treats loopback as insecure. Skipping verification loses
/// nothing there: an attacker who can forge the certificate can also break the https connection and so force plain
/// http.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Mirrors, tried in this order before the registry: `host[:port][/prefix]`. With a prefix, `library/debian` is
    /// requested as `prefix/library/debian`.
    pub mirrors: Vec<String>,
    /// Plain http is allowed.
    pub insecure: bool,
    /// PEM file of CAs trusted for this registry, in addition to the system's.
    pub ca: Option<PathBuf>,
    /// PEM file with the client certificate for this registry and its chain.
    pub client_cert: Option<PathBuf>,
    /// PEM file with the key of the client certificate; by default it is in `client_cert`.
    pub client_key: Option<PathBuf>,
}
