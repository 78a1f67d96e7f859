//! The client: tries mirrors and registry in order, and verifies what they send.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::{Response, StatusCode};

use super::bandwidth::Bucket;
use super::endpoint::Endpoint;
use super::error::RegistryError;
use super::headers::{content_digest, content_type};
use super::message::printable;
use super::request::{Rest, Target};
use super::response::{Unread, body, expect_digest};
use super::settings::{Limits, Settings};
use super::{retry, route};
use crate::credentials::{Credential, Lookup};
use crate::digest::Digest;
use crate::hint::{ErrorKind, Hint as _};
use crate::oci::{self, Descriptor};
use crate::progress::Reporter;
use crate::reference::Reference;

/// A manifest or index as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The document, byte for byte.
    pub bytes: Vec<u8>,
    /// `Content-Type` without parameters: hostile text.
    pub content_type: Option<String>,
    /// Computed from `bytes`; equal to the requested digest, if there was one.
    pub digest: Digest,
    /// The registry or mirror that sent it.
    pub host: String,
}

/// Registry client. Keeps connections and tokens until it is dropped. Needs a tokio runtime with timers and I/O; one
/// thread is enough.
pub struct Client {
    settings: Settings,
    reporter: Arc<dyn Reporter>,
    credentials: Arc<Lookup>,
    endpoints: Mutex<BTreeMap<String, Arc<Endpoint>>>,
    bucket: Option<Bucket>,
}

impl Client {
    /// Creates a client, without opening a connection. Failed mirrors and repeated requests are reported to `reporter`.
    ///
    /// # Errors
    /// A malformed mirror in the settings. The CA file of a registry is read when that registry is first used, so that a
    /// stale entry does not affect other registries.
    pub fn new(settings: Settings, reporter: Arc<dyn Reporter>) -> Result<Self, RegistryError> {
        for (host, mirror) in settings.hosts.iter().flat_map(|(name, host)| host.mirrors.iter().map(move |m| (name, m)))
        {
            if route::mirror(mirror).is_none() {
                return Err(RegistryError::Mirror { host: host.clone(), mirror: printable(mirror) });
            }
        }
        // reqwest panics without a provider. An error means that one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let credentials = Arc::new(Lookup::new(settings.credentials.clone(), reporter.clone()));
        let bucket = settings.bandwidth.map(Bucket::new);
        Ok(Self { settings, reporter, credentials, endpoints: Mutex::default(), bucket })
    }

    /// Checks `credential` with `registry` itself, not with its mirrors.
    ///
    /// # Errors
    /// [`RegistryError::Denied`] or [`RegistryError::LogIn`] if the registry refuses it.
    pub async fn log_in(&self, registry: &str, credential: Credential) -> Result<(), RegistryError> {
        self.endpoint(registry)?.log_in(credential).await
    }

    /// Fetches the manifest or index that `reference` names by its digest, else by its tag.
    ///
    /// # Errors
    /// Content with another digest than the reference or `Docker-Content-Digest` has; more than [`oci::MAX_MANIFEST`]
    /// bytes; otherwise as [`RegistryError`] says.
    pub async fn manifest(&self, reference: &Reference) -> Result<Fetched, RegistryError> {
        let path = format!("manifests/{}", reference.target());
        self.document(reference, &path, &reference.to_string(), reference.digest(), None).await
    }

    /// Asks for the digest of what `reference` names (HEAD). `None` if the registry does not state it, or the request
    /// fails: [`Client::manifest`] then shows the whole error.
    ///
    /// # Errors
    /// A timeout, which a second request would only repeat.
    pub async fn digest(&self, reference: &Reference) -> Result<Option<Digest>, RegistryError> {
        let (path, subject) = (format!("manifests/{}", reference.target()), reference.to_string());
        let accept = accept();
        self.in_turn(reference, &[], async |endpoint, repository| {
            let target = Target { repository, path: &path, accept: &accept, subject: &subject, rest: None, head: true };
            match endpoint.head(&target).await {
                Ok(response) => Ok(content_digest(response.headers())),
                Err(error) if error.is_timeout() => Err(error),
                Err(error) => {
                    self.reporter.verbose(&format!("{error}; requesting all of it"));
                    Ok(None)
                }
            }
        })
        .await
    }

    /// Fetches the manifest `descriptor` from the repository of `reference`.
    ///
    /// # Errors
    /// As [`Client::manifest`]; digest and size must be the descriptor's.
    pub async fn manifest_at(&self, reference: &Reference, descriptor: &Descriptor) -> Result<Fetched, RegistryError> {
        let path = format!("manifests/{}", descriptor.digest);
        let subject = format!("manifest {} of {reference}", descriptor.digest);
        self.document(reference, &path, &subject, Some(descriptor.digest), Some(descriptor.size)).await
    }

    /// Requests a blob from offset `from`, or all of it if the registry supports no ranges. Returns the response, the
    /// host that sends it, and the offset at which it begins. Mirrors in `without` are skipped.
    pub(super) async fn rest(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        subject: &str,
        from: u64,
        without: &[String],
    ) -> Result<(Response, String, u64), RegistryError> {
        let path = format!("blobs/{}", descriptor.digest);
        self.in_turn(reference, without, async |endpoint, repository| {
            let whole = Target { repository, path: &path, accept: "", subject, rest: None, head: false };
            let rest = (from > 0).then_some(Rest { from, size: descriptor.size });
            let response = match endpoint.get(&Target { rest, ..whole }).await {
                Err(error @ RegistryError::Range { .. }) => {
                    self.reporter.verbose(&format!("{error}; requesting all of it"));
                    endpoint.get(&whole).await?
                }
                outcome => outcome?,
            };
            let begins = if response.status() == StatusCode::PARTIAL_CONTENT { from } else { 0 };
            Ok((response, endpoint.name().to_owned(), begins))
        })
        .await
    }

    /// Reports that a mirror is skipped because of `error`.
    pub(super) fn pass_over(&self, mirror: &str, registry: &str, error: &RegistryError) {
        self.reporter.warn(&format!("mirror {mirror} of {registry} skipped: {error}"));
    }

    /// Waits before attempt number `next`, because of `error`.
    pub(super) async fn pause(&self, error: &RegistryError, next: u32) {
        retry::pause(error, next, &self.settings.limits, &*self.reporter).await;
    }

    /// The bandwidth that all downloads share, if it is limited.
    pub(super) fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_ref()
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    async fn document(
        &self,
        reference: &Reference,
        path: &str,
        subject: &str,
        digest: Option<Digest>,
        size: Option<u64>,
    ) -> Result<Fetched, RegistryError> {
        let accept = accept();
        self.in_turn(reference, &[], async |endpoint, repository| {
            let target = Target { repository, path, accept: &accept, subject, rest: None, head: false };
            let mut response = endpoint.get(&target).await?;
            let host = endpoint.name().to_owned();
            let content_type = content_type(response.headers());
            if let Some(page) = content_type.as_ref().filter(|kind| kind.starts_with("text/html")) {
                let content_type = printable(page);
                return Err(RegistryError::NotARegistry { host, subject: subject.to_owned(), content_type });
            }
            let claimed = content_digest(response.headers());
            let limit = size.unwrap_or(u64::MAX).min(oci::MAX_MANIFEST);
            let bytes = match body(&mut response, limit, self.limits()).await {
                Ok(bytes) => bytes,
                Err(Unread::TooLong) => {
                    return Err(RegistryError::TooLong { host, subject: subject.to_owned(), limit });
                }
                Err(Unread::Stalled(stalled)) => return Err(stalled.of(host, subject.to_owned())),
            };
            let got = Digest::of(&bytes);
            // The digest of the reference first: the user knows that one.
            for expected in digest.into_iter().chain(claimed) {
                expect_digest(expected, got, &host, subject)?;
            }
            if let Some(expected) = size.filter(|size| *size != bytes.len() as u64) {
                let (subject, got) = (subject.to_owned(), bytes.len() as u64);
                return Err(RegistryError::WrongSize { host, subject, expected, got });
            }
            Ok(Fetched { bytes, content_type, digest: got, host })
        })
        .await
    }

    /// Sends a request to the mirrors of the registry and then to the registry, until one succeeds. Wrong content from a
    /// mirror is an error: it must not go unnoticed. Mirrors in `without` are skipped.
    pub(super) async fn in_turn<T>(
        &self,
        reference: &Reference,
        without: &[String],
        ask: impl AsyncFn(&Endpoint, &str) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let registry = reference.registry();
        let mirrors = self.settings.hosts.get(registry).map_or(&[][..], |host| &host.mirrors);
        for (host, prefix) in mirrors.iter().filter_map(|mirror| route::mirror(mirror)) {
            let endpoint = self.endpoint(host)?;
            if endpoint.was_unreachable() || without.iter().any(|name| name == host) {
                continue;
            }
            let repository = match prefix {
                Some(prefix) => format!("{prefix}/{}", reference.repository()),
                None => reference.repository().to_owned(),
            };
            match ask(&endpoint, &repository).await {
                Err(error) if error.kind() != ErrorKind::Integrity => {
                    self.pass_over(host, registry, &error);
                }
                outcome => return outcome,
            }
        }
        ask(&*self.endpoint(registry)?, reference.repository()).await
    }

    pub(super) fn endpoint(&self, name: &str) -> Result<Arc<Endpoint>, RegistryError> {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = endpoints.get(name) {
            return Ok(Arc::clone(endpoint));
        }
        let endpoint = Endpoint::new(name, &self.settings, Arc::clone(&self.reporter), &self.credentials)?;
        Ok(Arc::clone(endpoints.entry(name.to_owned()).or_insert(Arc::new(endpoint))))
    }
}

/// `Accept` for manifests.
fn accept() -> String {
    [oci::INDEX, oci::MANIFEST, oci::DOCKER_INDEX, oci::DOCKER_MANIFEST].join(", ")
}
