//! Errors of requests to a registry.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::rate_limit::RateLimit;
use super::tls;
use crate::digest::Digest;
use crate::hint::{ErrorKind, Hint};

/// A failed request to a registry, or unusable settings. Text from a registry is escaped and shortened already. URLs
/// are those of the request, before any redirect, and contain no secret.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// An entry of `mirrors` is not `host[:port][/prefix]`.
    #[error("invalid mirror '{mirror}' for registry {host}: expected host[:port][/prefix]")]
    Mirror {
        /// The registry that it is configured for.
        host: String,
        mirror: String,
    },
    /// A URL that cannot be used.
    #[error("cannot use the URL {url}: {why}")]
    Url { url: String, why: &'static str },
    /// The file with a registry's CA cannot be read.
    #[error("cannot read the CA certificates of registry {host} from {}", path.display())]
    CaRead { host: String, path: PathBuf, source: io::Error },
    /// The file with a registry's CA holds none.
    #[error("{} contains no PEM certificate for registry {host}", path.display())]
    CaEmpty { host: String, path: PathBuf },
    /// The file with a client certificate or its key cannot be read.
    #[error("cannot read the client certificate or key for registry {host} from {}", path.display())]
    ClientRead { host: String, path: PathBuf, source: io::Error },
    /// The file with a client certificate or its key cannot be used.
    #[error("cannot use {} for registry {host}: it {what}", path.display())]
    ClientUnfit { host: String, path: PathBuf, what: &'static str },
    /// The proxy is not an http or https URL. It is not quoted, since it may contain a password.
    #[error("invalid proxy for registry {host}: expected an http or https URL")]
    NoProxy { host: String },
    /// TLS cannot be set up: a certificate is malformed, or the system has no CA certificates.
    #[error("cannot set up TLS for registry {host}")]
    Tls { host: String, source: reqwest::Error },
    /// No response: name resolution, connection, TLS handshake, timeout, redirects.
    #[error("no response from registry {host} to a request for {url}{}", through(proxy.as_ref()))]
    Request {
        host: String,
        /// The requested URL.
        url: String,
        /// The proxy of the request, without user and password.
        proxy: Option<String>,
        /// The cause, without the URL, since the URL of a redirect may contain a secret.
        source: reqwest::Error,
    },
    /// The response broke off.
    #[error("cannot receive {subject} from registry {host}")]
    Body {
        host: String,
        /// The requested resource.
        subject: String,
        source: reqwest::Error,
    },
    /// The registry does not have it (404).
    #[error("registry {host} does not have {subject}{}", quoted(message))]
    NotFound {
        host: String,
        /// The requested resource.
        subject: String,
        /// The registry's message; may be empty.
        message: String,
    },
    /// The registry refuses (401, 403).
    #[error("registry {host} refuses access to {subject}{}", quoted(message))]
    Denied {
        host: String,
        /// The requested resource.
        subject: String,
        /// The registry's message; may be empty.
        message: String,
    },
    /// Too many requests (429), after all attempts.
    #[error("registry {host} limits the rate of requests (status 429){}{}{}", quoted(message), rate_limit(limit.as_deref()), pause(*retry_after))]
    RateLimited {
        host: String,
        /// The registry's message; may be empty.
        message: String,
        /// The pause that it asks for.
        retry_after: Option<Duration>,
        /// The rate limit that it stated, now or earlier.
        limit: Option<Box<RateLimit>>,
    },
    /// Any other status that is not a success, after all attempts.
    #[error("registry {host} answered a request for {url}{} with status {status}{}{}", through(proxy.as_ref()), quoted(message), pause(*retry_after))]
    Status {
        host: String,
        /// The requested URL.
        url: String,
        /// The proxy of the request, without user and password. The status may be the proxy's.
        proxy: Option<String>,
        status: u16,
        /// The registry's message; may be empty.
        message: String,
        /// The pause that it asks for.
        retry_after: Option<Duration>,
    },
    /// The storage that the registry redirects to refuses access: its URLs are signed, and valid for a limited time.
    #[error("registry {host} redirects to a storage server that refuses access to {subject} (status {status})")]
    Storage {
        host: String,
        /// The requested resource.
        subject: String,
        /// The storage's HTTP status.
        status: u16,
    },
    /// The response to a range request is not that range.
    #[error("cannot resume the download of {subject} from registry {host}: {why}")]
    Range {
        host: String,
        /// The requested resource.
        subject: String,
        /// What is wrong with the response.
        why: String,
    },
    /// The transfer is so slow that a new connection is worth trying.
    #[error("registry {host} sends {subject} too slowly: {bytes} bytes in {seconds} s")]
    Slow {
        host: String,
        /// The requested resource.
        subject: String,
        /// Bytes received.
        bytes: u64,
        /// Time that this took.
        seconds: u64,
    },
    /// The token server issues no token.
    #[error("cannot get a token for {repository} from registry {host}: {why}")]
    Token { host: String, repository: String, why: String },
    /// Credentials are refused, or cannot be sent.
    #[error("cannot log in to registry {host}: {why}")]
    LogIn { host: String, why: String },
    /// A web page instead of a manifest, such as a login page.
    #[error("{host} answered with a page of type '{content_type}' instead of {subject}")]
    NotARegistry {
        host: String,
        /// The requested resource.
        subject: String,
        /// Its media type.
        content_type: String,
    },
    /// More bytes than announced or allowed.
    #[error("registry {host} sends more than the {limit} bytes allowed for {subject}")]
    TooLong {
        host: String,
        /// The requested resource.
        subject: String,
        /// Most bytes accepted.
        limit: u64,
    },
    /// A length that is not the descriptor's.
    #[error("size mismatch for {subject} from registry {host}: expected {expected} bytes, got {got}")]
    WrongSize {
        host: String,
        /// The requested resource.
        subject: String,
        /// The descriptor's size.
        expected: u64,
        /// Bytes received or announced.
        got: u64,
    },
    /// Content with another digest than requested (distribution spec, "Pulling manifests" and
    /// "Pulling blobs": clients should verify; regclient's GHSA-qv35 is what happens otherwise).
    #[error("digest mismatch for {subject} from registry {host}: expected {expected}, got {got}")]
    WrongDigest {
        /// The registry or mirror.
        host: String,
        /// The requested resource.
        subject: String,
        /// The requested digest, or the one in `Docker-Content-Digest`.
        expected: Digest,
        /// The digest of the bytes.
        got: Digest,
    },
}

fn quoted(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(", saying: {message}") }
}

fn through(proxy: Option<&String>) -> String {
    proxy.map_or_else(String::new, |proxy| format!(" through proxy {proxy}"))
}

fn pause(pause: Option<Duration>) -> String {
    let pause = pause.filter(|pause| !pause.is_zero());
    pause.map_or_else(String::new, |pause| format!("; retry after {} s", pause.as_secs()))
}

fn rate_limit(limit: Option<&RateLimit>) -> String {
    limit.map_or_else(String::new, |limit| format!("; {limit}"))
}

impl RegistryError {
    /// Removes the registry's message if it may quote the `Authorization` header. A password can be quoted in too many
    /// ways to search for it; a token can hardly be quoted otherwise than as it is.
    pub(super) fn without(mut self, authorization: Option<&str>) -> Self {
        if let Self::NotFound { message, .. }
        | Self::Denied { message, .. }
        | Self::RateLimited { message, .. }
        | Self::Status { message, .. } = &mut self
            && let Some((scheme, secret)) = authorization.and_then(|sent| sent.split_once(' '))
            && (scheme == "Basic" || message.contains(secret))
        {
            message.clear();
        }
        self
    }

    /// Replaces the URL of a request that got no response.
    pub(super) fn with_url(mut self, shown: &str) -> Self {
        if let Self::Request { url, .. } = &mut self {
            shown.clone_into(url);
        }
        self
    }

    /// Adds the proxy of the request.
    pub(super) fn through(mut self, by: Option<String>) -> Self {
        if let Self::Status { proxy, .. } = &mut self {
            *proxy = by;
        }
        self
    }

    /// Adds the rate limit that the registry stated earlier, if this response states none.
    pub(super) fn within(mut self, stated: &Mutex<Option<RateLimit>>) -> Self {
        if let Self::RateLimited { limit: limit @ None, .. } = &mut self {
            let stated = stated.lock().unwrap_or_else(PoisonError::into_inner);
            *limit = stated.clone().map(|stated| Box::new(RateLimit { remaining: None, ..stated }));
        }
        self
    }

    /// Whether a retry may help.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            // A redirect or certificate that was refused will be refused again. A host that accepts no connection for so
            // long is down, and another mirror or the registry may answer.
            Self::Request { source, .. } => {
                let gone = source.is_connect() && source.is_timeout();
                !(gone || source.is_redirect() || source.is_builder() || tls::certificate_error(source).is_some())
            }
            // A new request to the registry gives a new URL of the storage.
            Self::RateLimited { .. } | Self::Storage { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// The pause that the registry asks for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the registry could not be reached at all.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Request { source, .. } if source.is_connect())
    }

    /// Whether the server does not speak TLS.
    pub(super) fn met_no_tls(&self) -> bool {
        matches!(self, Self::Request { source, .. } if tls::speaks_no_tls(source))
    }

    /// Whether the request timed out.
    pub(super) fn is_timeout(&self) -> bool {
        matches!(self, Self::Request { source, .. } if source.is_timeout())
    }
}

/// Hint for a proxy that fails.
fn proxy_hint(host: &str) -> String {
    format!(
        "proxies come from HTTPS_PROXY, HTTP_PROXY and ALL_PROXY; add {host} to NO_PROXY to reach it without a proxy"
    )
}

/// Hint for a rate limit.
pub(super) fn more_requests(host: &str) -> String {
    format!(
        "log in for a higher limit (hermes login {host}), or configure a mirror in config.toml: [registry.\"{host}\"] mirrors = [\"host:port\"]"
    )
}

impl Hint for RegistryError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Mirror { .. }
            | Self::Url { .. }
            | Self::CaRead { .. }
            | Self::CaEmpty { .. }
            | Self::ClientRead { .. }
            | Self::NoProxy { .. }
            | Self::ClientUnfit { .. } => ErrorKind::Usage,
            Self::TooLong { .. } | Self::WrongSize { .. } | Self::WrongDigest { .. } => ErrorKind::Integrity,
            _ => ErrorKind::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Mirror { host, .. } => {
                vec![format!("config.toml: [registry.\"{host}\"] mirrors = [\"127.0.0.1:5055\"]")]
            }
            Self::CaRead { host, .. } | Self::CaEmpty { host, .. } => {
                vec![format!("config.toml: [registry.\"{host}\"] ca = \"/path/to/ca.pem\"")]
            }
            Self::ClientRead { host, .. } | Self::ClientUnfit { host, .. } => vec![format!(
                "config.toml: [registry.\"{host}\"] client-cert = \"/path/to/cert.pem\", client-key = \"/path/to/key.pem\""
            )],
            Self::Tls { .. } => {
                vec!["the system's CA certificates are in the package ca-certificates; SSL_CERT_FILE can name others".into()]
            }
            Self::Request { host, proxy: Some(_), source, .. } if source.is_connect() => vec![proxy_hint(host)],
            Self::Status { host, proxy: Some(_), .. } | Self::NoProxy { host } => vec![proxy_hint(host)],
            Self::Request { host, url, source, .. } => match tls::certificate_error(source) {
                Some(why) if tls::is_ca(why) => vec![format!(
                    "the certificate of {host} is itself a CA, as 'openssl req -x509' makes them: let a CA sign one for the server, or set insecure = true for it in config.toml"
                )],
                _ if tls::may_want_certificate(source, url) => vec![format!(
                    "{host} may require a client certificate: config.toml: [registry.\"{host}\"] client-cert = \"/path/to/cert.pem\", client-key = \"/path/to/key.pem\""
                )],
                Some(_) => vec![format!("if {host} has its own CA: config.toml: [registry.\"{host}\"] ca = \"/path/to/ca.pem\"")],
                None if tls::speaks_no_tls(source) => {
                    vec![format!("{host} seems to speak plain http: allow it with --insecure {host}, or insecure = true in config.toml")]
                }
                None if source.is_connect() => vec![
                    format!("there is no network connection to {host}; a mirror may be reachable (--mirror {host}=MIRROR)"),
                    "'hermes import' imports an image from a file or directory".into(),
                ],
                None => Vec::new(),
            },
            Self::NotFound { .. } => vec!["check the name, the tag and the registry".into()],
            Self::Denied { .. } => vec!["the image may be private (see 'hermes login'), or its name may be misspelt: registries do not say which to clients without access".into()],
            Self::RateLimited { host, .. } => {
                vec![format!("wait, or {}", more_requests(host))]
            }
            Self::NotARegistry { host, .. } => {
                vec![format!("check that {host} is a registry, and that the network does not show a login page instead")]
            }
            Self::WrongDigest { host, .. } | Self::WrongSize { host, .. } | Self::TooLong { host, .. } => vec![format!(
                "the data was discarded; if {host} is a mirror, remove it from 'mirrors' in config.toml and try again"
            )],
            _ => Vec::new(),
        }
    }
}
