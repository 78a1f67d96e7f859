//! What can go wrong with a registry.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::rate_limit::RateLimit;
use super::tls;
use crate::digest::Digest;
use crate::hint::{ErrorKind, Hint};

/// A failed request to a registry, or settings that cannot be used. Text that came from a registry
/// is escaped and capped already; URLs are those of the request, before any redirect, and hold no
/// secret.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// An entry of `mirrors` is not `host[:port][/prefix]`.
    #[error("'{mirror}' is not a mirror for registry {host}: it must be host[:port][/prefix]")]
    Mirror {
        /// The registry it was named for.
        host: String,
        /// The entry.
        mirror: String,
    },
    /// A URL that cannot be used.
    #[error("cannot use the URL {url}: {why}")]
    Url {
        /// The URL.
        url: String,
        /// Why.
        why: &'static str,
    },
    /// The file with a registry's CA cannot be read.
    #[error("cannot read the CA certificates of registry {host} from {}", path.display())]
    CaRead {
        /// The registry.
        host: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file with a registry's CA holds none.
    #[error("{} holds no PEM certificate for registry {host}", path.display())]
    CaEmpty {
        /// The registry.
        host: String,
        /// The file.
        path: PathBuf,
    },
    /// The file with a client certificate or its key cannot be read.
    #[error("cannot read the client certificate or key for registry {host} from {}", path.display())]
    ClientRead {
        /// The registry.
        host: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file with a client certificate or its key cannot be used.
    #[error("{} {what}, for registry {host}", path.display())]
    ClientUnfit {
        /// The registry.
        host: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A proxy is to lead there, and is no http or https URL. It is not quoted: there may be a password in it.
    #[error("the proxy that is to lead to registry {host} is no http or https URL")]
    NoProxy {
        /// The registry.
        host: String,
    },
    /// TLS cannot be set up: a certificate is malformed, or the system has no CA certificates.
    #[error("cannot set up TLS for registry {host}")]
    Tls {
        /// The registry.
        host: String,
        /// Why.
        source: reqwest::Error,
    },
    /// No answer: name resolution, connection, TLS handshake, timeout, redirects.
    #[error("no answer from registry {host} to a request for {url}{}", through(proxy.as_ref()))]
    Request {
        /// The registry.
        host: String,
        /// The URL asked for.
        url: String,
        /// The proxy it was asked through, without user and password.
        proxy: Option<String>,
        /// Why, without the URL, since that of a redirect may hold a secret.
        source: reqwest::Error,
    },
    /// The answer broke off.
    #[error("registry {host} broke off while sending {subject}")]
    Body {
        /// The registry.
        host: String,
        /// What was being fetched.
        subject: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The registry does not have it (404).
    #[error("registry {host} does not have {subject}{}", said(message))]
    NotFound {
        /// The registry.
        host: String,
        /// What was asked for.
        subject: String,
        /// What the registry says of it, perhaps nothing.
        message: String,
    },
    /// The registry refuses (401, 403).
    #[error("registry {host} refuses access to {subject}{}", said(message))]
    Denied {
        /// The registry.
        host: String,
        /// What was asked for.
        subject: String,
        /// What the registry says of it, perhaps nothing.
        message: String,
    },
    /// Too many requests (429), after all tries.
    #[error("registry {host} wants fewer requests (status 429){}{}{}", said(message), granted(limit.as_deref()), asks(*retry_after))]
    RateLimited {
        /// The registry.
        host: String,
        /// What the registry says of it, perhaps nothing.
        message: String,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
        /// What it says it grants, now or earlier.
        limit: Option<Box<RateLimit>>,
    },
    /// Any other answer but success, after all tries.
    #[error("registry {host} answered a request for {url}{} with status {status}{}{}", through(proxy.as_ref()), said(message), asks(*retry_after))]
    Status {
        /// The registry.
        host: String,
        /// The URL asked for.
        url: String,
        /// The proxy it was asked through, without user and password; the answer may be the proxy's.
        proxy: Option<String>,
        /// The HTTP status.
        status: u16,
        /// What the registry says of it, perhaps nothing.
        message: String,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// Where the registry sends clients for it, it is refused: such addresses are signed for a time.
    #[error("registry {host} redirects to a storage that refuses access to {subject} (status {status})")]
    Storage {
        /// The registry.
        host: String,
        /// What was asked for.
        subject: String,
        /// The storage's HTTP status.
        status: u16,
    },
    /// The rest of a blob was asked for, and the answer is something else.
    #[error("registry {host} does not send the rest of {subject}: {why}")]
    Range {
        /// The registry.
        host: String,
        /// What was asked for.
        subject: String,
        /// What it does instead.
        why: String,
    },
    /// It comes so slowly that a new connection is worth trying.
    #[error("registry {host} sends {subject} too slowly: {bytes} bytes in {seconds} s")]
    Slow {
        /// The registry.
        host: String,
        /// What was being fetched.
        subject: String,
        /// How much came.
        bytes: u64,
        /// In which time.
        seconds: u64,
    },
    /// No token to be had.
    #[error("registry {host} demands a token for {repository} and gives none: {why}")]
    Token {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// Why.
        why: String,
    },
    /// Credentials cannot be sent to it, or are not taken.
    #[error("cannot log in to registry {host}: {why}")]
    LogIn {
        /// The registry.
        host: String,
        /// Why.
        why: String,
    },
    /// Something else than a manifest: a login page, say.
    #[error("{host} answered with a page of type '{content_type}' instead of {subject}")]
    NotARegistry {
        /// The registry.
        host: String,
        /// What was asked for.
        subject: String,
        /// What it sent.
        content_type: String,
    },
    /// More bytes than announced or allowed.
    #[error("registry {host} sends more than the {limit} bytes allowed for {subject}")]
    TooLong {
        /// The registry.
        host: String,
        /// What was being fetched.
        subject: String,
        /// How many bytes it may have.
        limit: u64,
    },
    /// Another length than the descriptor says.
    #[error("registry {host} sends {got} bytes for {subject}, which has {expected}")]
    WrongSize {
        /// The registry.
        host: String,
        /// What was being fetched.
        subject: String,
        /// The descriptor's size.
        expected: u64,
        /// What came, or was announced.
        got: u64,
    },
    /// Bytes with another digest than the one asked for (distribution spec, "Pulling manifests" and
    /// "Pulling blobs": clients should verify; regclient's GHSA-qv35 is what happens otherwise).
    #[error("registry {host} sends wrong content for {subject}: its digest is {got}, not {expected}")]
    WrongDigest {
        /// The registry or mirror.
        host: String,
        /// What was being fetched.
        subject: String,
        /// The digest asked for, or the one the registry gives in `Docker-Content-Digest`.
        expected: Digest,
        /// The digest of the bytes.
        got: Digest,
    },
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(", saying: {message}") }
}

fn through(proxy: Option<&String>) -> String {
    proxy.map_or_else(String::new, |proxy| format!(" through proxy {proxy}"))
}

fn asks(pause: Option<Duration>) -> String {
    let pause = pause.filter(|pause| !pause.is_zero());
    pause.map_or_else(String::new, |pause| format!("; it asks for a pause of {} s", pause.as_secs()))
}

fn granted(limit: Option<&RateLimit>) -> String {
    limit.map_or_else(String::new, |limit| format!("; {limit}"))
}

impl RegistryError {
    /// Without the registry's words where they may quote the `Authorization` it was sent: a password
    /// can be quoted in too many ways to look for, a token hardly.
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

    /// With the proxy that the request went through.
    pub(super) fn through(mut self, by: Option<String>) -> Self {
        if let Self::Status { proxy, .. } = &mut self {
            *proxy = by;
        }
        self
    }

    /// With what the registry said earlier that it grants, where it refuses now without a word of that.
    pub(super) fn within(mut self, heard: &Mutex<Option<RateLimit>>) -> Self {
        if let Self::RateLimited { limit: limit @ None, .. } = &mut self {
            let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            *limit = heard.clone().map(|heard| Box::new(RateLimit { remaining: None, ..heard }));
        }
        self
    }

    /// Whether trying again soon may help.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            // A refused redirect or certificate stays refused, and a host that takes no connection for
            // that long is gone: there may be a mirror or an origin to turn to.
            Self::Request { source, .. } => {
                let gone = source.is_connect() && source.is_timeout();
                !(gone || source.is_redirect() || source.is_builder() || tls::certificate_error(source).is_some())
            }
            // Asking the registry again gives another address of the storage.
            Self::RateLimited { .. } | Self::Storage { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// How long the registry asks to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the registry could not be reached at all.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Request { source, .. } if source.is_connect())
    }

    /// Whether something answered that does not speak TLS.
    pub(super) fn met_no_tls(&self) -> bool {
        matches!(self, Self::Request { source, .. } if tls::speaks_no_tls(source))
    }

    /// Whether time ran out before there was an answer.
    pub(super) fn is_timeout(&self) -> bool {
        matches!(self, Self::Request { source, .. } if source.is_timeout())
    }
}

/// What to do about a proxy.
fn around(host: &str) -> String {
    format!("proxies are taken from HTTPS_PROXY, HTTP_PROXY and ALL_PROXY; with {host} in NO_PROXY, none leads there")
}

/// How to be granted more requests, or to need fewer.
pub(super) fn more_requests(host: &str) -> String {
    format!(
        "log in for more of them (hermes login {host}), or name a mirror in config.toml: [registry.\"{host}\"] mirrors = [\"host:port\"]"
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
                vec!["the system's CA certificates are in the package ca-certificates; SSL_CERT_FILE may name others".into()]
            }
            Self::Request { host, proxy: Some(_), source, .. } if source.is_connect() => vec![around(host)],
            Self::Status { host, proxy: Some(_), .. } | Self::NoProxy { host } => vec![around(host)],
            Self::Request { host, url, source, .. } => match tls::certificate_error(source) {
                Some(why) if tls::is_ca(why) => vec![format!(
                    "the certificate of {host} is itself a CA, as 'openssl req -x509' makes them: let a CA sign one for the server, or set insecure = true for it in config.toml"
                )],
                _ if tls::may_want_certificate(source, url) => vec![format!(
                    "{host} may want a client certificate: config.toml: [registry.\"{host}\"] client-cert = \"/path/to/cert.pem\", client-key = \"/path/to/key.pem\""
                )],
                Some(_) => vec![format!("if {host} has its own CA: config.toml: [registry.\"{host}\"] ca = \"/path/to/ca.pem\"")],
                None if tls::speaks_no_tls(source) => {
                    vec![format!("{host} seems to speak plain http: allow it with --insecure {host}, or insecure = true in config.toml")]
                }
                None if source.is_connect() => vec![
                    format!("no network, or none to {host}: a mirror may be in reach (--mirror {host}=MIRROR)"),
                    "'hermes import' reads an image from a file or directory".into(),
                ],
                None => Vec::new(),
            },
            Self::NotFound { .. } => vec!["check the name, the tag and the registry".into()],
            Self::Denied { .. } => vec!["the image may be private (see 'hermes login'), or its name misspelt: registries tell the two apart only to those with access".into()],
            Self::RateLimited { host, .. } => {
                vec![format!("wait, or {}", more_requests(host))]
            }
            Self::NotARegistry { host, .. } => {
                vec![format!("is {host} a registry, and is no login page of a network in between?")]
            }
            Self::WrongDigest { host, .. } | Self::WrongSize { host, .. } | Self::TooLong { host, .. } => vec![format!(
                "nothing of it was kept; if {host} is a mirror, take it out of 'mirrors' in config.toml and try again"
            )],
            _ => Vec::new(),
        }
    }
}
