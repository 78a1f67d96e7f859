//! Settings of the client: hosts, certificates, proxies, credentials, limits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::bandwidth::Bandwidth;
use super::proxy::Proxies;
use crate::credentials::CredentialFiles;

/// How long a connection may take to come about, TLS included.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long nothing may come before a request is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// How registries are spoken to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// By the registry's name as it stands in references and mirror lists: `docker.io`,
    /// `127.0.0.1:5055`.
    pub hosts: BTreeMap<String, Host>,
    /// Directories in which others keep certificates for registries, in directories of their names:
    /// `/etc/docker/certs.d`. The first certificate found for a client counts.
    pub certificates: Vec<PathBuf>,
    /// Through which proxies.
    pub proxies: Proxies,
    /// How long registries are waited for.
    pub limits: Limits,
    /// How fast blobs may come, all together; as fast as they can if not said.
    pub bandwidth: Option<Bandwidth>,
    /// Where credentials are looked for, when a registry demands some.
    pub credentials: CredentialFiles,
    /// Sent as `User-Agent`.
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

/// How long registries are waited for.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long nothing may come before a try is given up.
    pub silence: Duration,
    /// How long an answer may come slowly, ...
    pub slow: Duration,
    /// ... which is when fewer bytes than this come in that time.
    pub least: u64,
    /// How long a whole manifest, token or error message may take from the end of its headers.
    pub document: Duration,
    /// Longest pause before the second try; four times as long before each further one. The pause is
    /// of a random length, so that many clients do not come back at once.
    pub pause: Duration,
    /// Longest time in total that a registry is given which asks for pauses (`Retry-After`). One that
    /// asks for more is not asked again.
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

/// How one registry is spoken to: `[registry."HOST"]` in `config.toml`.
///
/// | registry | https | plain http |
/// |---|---|---|
/// | any | verified against the system's CAs | never |
/// | with `ca` | verified against the system's CAs and those | never |
/// | loopback or `insecure`, without `ca` | tried first, not verified | where https fails |
/// | `insecure` with `ca` | tried first, verified as with `ca` | where https fails |
///
/// This is Docker's rule for insecure registries, in which loopback is one without saying so. Not
/// verifying gives nothing away there: whoever could forge the certificate could as well break the
/// https connection and have the plain one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Registries asked first, in this order, for what this one has: `host[:port][/prefix]`. With a
    /// prefix, `library/debian` is asked for as `prefix/library/debian`.
    pub mirrors: Vec<String>,
    /// Plain http is allowed.
    pub insecure: bool,
    /// PEM file of certificate authorities trusted for this registry, beside the system's.
    pub ca: Option<PathBuf>,
    /// PEM file with the certificate shown to this registry, and those that signed it.
    pub client_cert: Option<PathBuf>,
    /// PEM file with the certificate's key; in `client_cert` if not said.
    pub client_key: Option<PathBuf>,
}
