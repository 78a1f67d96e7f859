//! The client: which endpoint is asked for what, and what of the answers is believed.

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

/// A manifest or index as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The document, byte for byte.
    pub bytes: Vec<u8>,
    /// `Content-Type` without parameters: hostile text.
    pub content_type: Option<String>,
    /// Computed from `bytes`; equal to the digest asked for, where there was one.
    pub digest: Digest,
    /// The registry or mirror it came from.
    pub host: String,
}

/// Speaks to registries. Connections and tokens are kept until it is dropped. To be used within a
/// tokio runtime with timers and I/O; one thread is enough.
pub struct Client {
    settings: Settings,
    reporter: Arc<dyn Reporter>,
    credentials: Arc<Lookup>,
    endpoints: Mutex<BTreeMap<String, Arc<Endpoint>>>,
    bucket: Option<Bucket>,
}

impl Client {
    /// A client; opens no connection. `reporter` hears of mirrors that failed and of requests that
    /// are tried again.
    ///
    /// # Errors
    /// A mirror in the settings that is none. A registry's CA file is read when that registry is
    /// first used, so that a stale entry does not stop work with others.
    pub fn new(settings: Settings, reporter: Arc<dyn Reporter>) -> Result<Self, RegistryError> {
        for (host, mirror) in settings.hosts.iter().flat_map(|(name, host)| host.mirrors.iter().map(move |m| (name, m)))
        {
            if route::mirror(mirror).is_none() {
                return Err(RegistryError::Mirror { host: host.clone(), mirror: printable(mirror) });
            }
        }
        // reqwest panics without one. An error means that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let credentials = Arc::new(Lookup::new(settings.credentials.clone(), reporter.clone()));
        let bucket = settings.bandwidth.map(Bucket::new);
        Ok(Self { settings, reporter, credentials, endpoints: Mutex::default(), bucket })
    }

    /// Asks `registry` itself, no mirror, whether it takes `credential`.
    ///
    /// # Errors
    /// See [`RegistryError`]; [`RegistryError::Denied`] or [`RegistryError::Token`] where it does not.
    pub async fn log_in(&self, registry: &str, credential: Credential) -> Result<(), RegistryError> {
        self.endpoint(registry)?.log_in(credential).await
    }

    /// The manifest or index that `reference` names, by its digest if it has one, else by its tag.
    ///
    /// # Errors
    /// See [`RegistryError`]. A digest in the reference is enforced; so is `Docker-Content-Digest`
    /// where it is sent, and the length of [`oci::MAX_MANIFEST`].
    pub async fn manifest(&self, reference: &Reference) -> Result<Fetched, RegistryError> {
        let path = format!("manifests/{}", reference.target());
        self.document(reference, &path, &reference.to_string(), reference.digest(), None).await
    }

    /// What the registry says is the digest of what `reference` names, without sending it. `None` where
    /// it does not say, or has trouble, which [`Client::manifest`] would find out all of.
    ///
    /// # Errors
    /// A registry that took too long to connect to, which it would again.
    pub async fn digest(&self, reference: &Reference) -> Result<Option<Digest>, RegistryError> {
        let (path, subject) = (format!("manifests/{}", reference.target()), reference.to_string());
        let accept = accept();
        self.in_turn(reference, &[], async |endpoint, repository| {
            let target = Target { repository, path: &path, accept: &accept, subject: &subject, rest: None, head: true };
            match endpoint.head(&target).await {
                Ok(response) => Ok(content_digest(response.headers())),
                Err(error) if error.is_timeout() => Err(error),
                Err(error) => {
                    self.reporter.verbose(&format!("{error}; asking for the whole"));
                    Ok(None)
                }
            }
        })
        .await
    }

    /// The manifest that `descriptor` names, in the repository of `reference`.
    ///
    /// # Errors
    /// As [`Client::manifest`]; digest and size must be the descriptor's.
    pub async fn manifest_at(&self, reference: &Reference, descriptor: &Descriptor) -> Result<Fetched, RegistryError> {
        let path = format!("manifests/{}", descriptor.digest);
        let subject = format!("manifest {} of {reference}", descriptor.digest);
        self.document(reference, &path, &subject, Some(descriptor.digest), Some(descriptor.size)).await
    }

    /// The answer to a GET of a blob from byte `from` on, or of the whole where the registry does not
    /// do that; who sends it; and the byte at which it begins. Mirrors in `without` are not asked.
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
                    self.reporter.verbose(&format!("{error}; asking for the whole"));
                    endpoint.get(&whole).await?
                }
                outcome => outcome?,
            };
            let begins = if response.status() == StatusCode::PARTIAL_CONTENT { from } else { 0 };
            Ok((response, endpoint.name().to_owned(), begins))
        })
        .await
    }

    /// Tells the user that a mirror is given up in the middle of a blob.
    pub(super) fn pass_over(&self, mirror: &str, registry: &str, error: &RegistryError) {
        self.reporter.warn(&format!("mirror {mirror} of {registry} passed over: {error}"));
    }

    /// Waits before try number `next`, because of `error`.
    pub(super) async fn pause(&self, error: &RegistryError, next: u32) {
        retry::pause(error, next, &self.settings.limits, &*self.reporter).await;
    }

    /// What all blobs take of, where the rate is limited.
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
            // The reference's own digest first: it is the one the user knows.
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

    /// Asks the mirrors of the reference's registry and then itself, until one has an answer. Wrong
    /// content ends it: a mirror that lies must not go unseen. Those in `without` are left out.
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

/// What a manifest may be.
fn accept() -> String {
    [oci::INDEX, oci::MANIFEST, oci::DOCKER_INDEX, oci::DOCKER_MANIFEST].join(", ")
}
