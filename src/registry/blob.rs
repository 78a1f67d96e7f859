//! Downloading a blob, resumed over several connections where one breaks.

use std::fmt;

use bytes::{Buf as _, Bytes};
use reqwest::Response;

use super::client::Client;
use super::error::RegistryError;
use super::pace::Pace;
use super::request::blob_subject;
use super::response::expect_digest;
use super::retry::Attempts;
use crate::digest::Digest;
use crate::hint::{ErrorKind, Hint as _};
use crate::oci::Descriptor;
use crate::reference::Reference;

/// A blob being downloaded: exactly as many bytes as its descriptor says, or an error. The reader has to verify the
/// digest.
pub struct Blob<'a> {
    client: &'a Client,
    reference: &'a Reference,
    descriptor: &'a Descriptor,
    subject: String,
    /// Hosts that have sent part of it; the current one is last.
    hosts: Vec<String>,
    /// Mirrors that made no progress and are not used again.
    given_up: Vec<String>,
    body: Option<Body>,
    /// Bytes received that wait for bandwidth.
    waiting: Bytes,
    /// Bytes received, including those before the start offset.
    received: u64,
    attempts: Attempts,
}

/// One response.
struct Body {
    response: Response,
    /// Offset of its next byte in the blob.
    at: u64,
    pace: Pace,
}

impl Client {
    /// Starts the download of the blob `descriptor` from the repository of `reference`.
    ///
    /// # Errors
    /// A `Content-Length` that is not the descriptor's size; otherwise as [`RegistryError`] says.
    pub async fn blob<'a>(
        &'a self,
        reference: &'a Reference,
        descriptor: &'a Descriptor,
    ) -> Result<Blob<'a>, RegistryError> {
        self.blob_from(reference, descriptor, 0).await
    }

    /// As [`Self::blob`], from offset `from`. Sends no request if no byte is missing.
    ///
    /// # Errors
    /// As [`Client::blob`].
    pub async fn blob_from<'a>(
        &'a self,
        reference: &'a Reference,
        descriptor: &'a Descriptor,
        from: u64,
    ) -> Result<Blob<'a>, RegistryError> {
        Blob::open(self, reference, descriptor, from).await
    }

    /// Downloads a whole blob into memory, such as an image config, and verifies its digest.
    ///
    /// # Errors
    /// As [`Client::blob`]; a descriptor's size above `limit` bytes; another digest.
    pub async fn small_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let subject = blob_subject(reference, descriptor);
        if descriptor.size > limit {
            return Err(RegistryError::TooLong { host: reference.registry().to_owned(), subject, limit });
        }
        let mut blob = self.blob(reference, descriptor).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = blob.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        expect_digest(descriptor.digest, Digest::of(&bytes), &blob.host(), &subject)?;
        Ok(bytes)
    }
}

impl fmt::Debug for Blob<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("subject", &self.subject).field("received", &self.received).finish_non_exhaustive()
    }
}

impl<'a> Blob<'a> {
    pub(super) async fn open(
        client: &'a Client,
        reference: &'a Reference,
        descriptor: &'a Descriptor,
        from: u64,
    ) -> Result<Self, RegistryError> {
        let subject = blob_subject(reference, descriptor);
        let mut blob = Self {
            client,
            reference,
            descriptor,
            subject,
            hosts: Vec::new(),
            given_up: Vec::new(),
            body: None,
            waiting: Bytes::new(),
            received: from,
            attempts: Attempts::from(from),
        };
        // An empty blob is requested too: it may be missing.
        if from == 0 || from < descriptor.size {
            blob.connect().await?;
        }
        Ok(blob)
    }

    /// A `Content-Length` that differs from the descriptor's size is an error before any byte is read.
    async fn connect(&mut self) -> Result<(), RegistryError> {
        let (response, host, at) =
            self.client.rest(self.reference, self.descriptor, &self.subject, self.received, &self.given_up).await?;
        // The current host is last.
        self.hosts.retain(|known| *known != host);
        self.hosts.push(host);
        match response.content_length() {
            Some(length) if at == 0 && length != self.descriptor.size => Err(self.wrong_size(length)),
            _ => {
                self.body = Some(Body { response, at, pace: Pace::default() });
                Ok(())
            }
        }
    }

    /// The registry or mirror that sent it; several, with commas, if the download moved from one to another.
    #[must_use]
    pub fn host(&self) -> String {
        if self.hosts.is_empty() { self.sender() } else { self.hosts.join(", ") }
    }

    fn sender(&self) -> String {
        self.hosts.last().map_or_else(|| self.reference.registry(), String::as_str).to_owned()
    }

    fn wrong_size(&self, got: u64) -> RegistryError {
        let (host, subject) = (self.sender(), self.subject.clone());
        RegistryError::WrongSize { host, subject, expected: self.descriptor.size, got }
    }

    /// The next bytes, `None` at the end.
    ///
    /// # Errors
    /// All attempts failed: the connection broke, timed out or was too slow. More or fewer bytes than the descriptor
    /// says. The bytes returned before remain unverified.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let Some(bucket) = self.client.bucket() else { return self.next().await };
        // Outside the registry's time limits: this wait is not its fault. As long as nothing is read here, the
        // sender waits too.
        if self.waiting.is_empty() {
            match self.next().await? {
                Some(chunk) => self.waiting = chunk,
                None => return Ok(None),
            }
        }
        let chunk = self.waiting.split_to(self.waiting.len().min(bucket.share()));
        bucket.take(chunk.len()).await;
        Ok(Some(chunk))
    }

    /// The next bytes, as fast as they come.
    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let outcome = match &mut self.body {
                Some(_) => self.read().await,
                None if self.received == self.descriptor.size => return Ok(None),
                None => {
                    self.connect().await?;
                    continue;
                }
            };
            match outcome {
                // The server sent the whole blob instead of the rest: its start was received before.
                Ok(Some(chunk)) if chunk.is_empty() => {}
                Ok(chunk) => return Ok(chunk),
                Err(error @ RegistryError::TooLong { .. }) => return Err(error),
                Err(error) => self.give_up(error).await?,
            }
        }
    }

    /// The next bytes of the current response that were not received before.
    async fn read(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let (limits, size) = (self.client.limits(), self.descriptor.size);
        let Some(body) = &mut self.body else { return Ok(None) };
        let mut chunk = match body.pace.chunk(&mut body.response, limits).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) if body.at == size => return Ok(None),
            // A range that ends early, or a response without a length.
            Ok(None) => {
                let at = body.at;
                return Err(self.wrong_size(at));
            }
            Err(stalled) => return Err(stalled.of(self.sender(), self.subject.clone())),
        };
        let known = self.received.saturating_sub(body.at);
        let known = usize::try_from(known).unwrap_or(usize::MAX).min(chunk.len());
        body.at += chunk.len() as u64;
        if body.at > size {
            return Err(RegistryError::TooLong { host: self.sender(), subject: self.subject.clone(), limit: size });
        }
        chunk.advance(known);
        self.received += chunk.len() as u64;
        // Bytes received twice use bandwidth too.
        if let Some(bucket) = self.client.bucket().filter(|_| known > 0) {
            bucket.take(known).await;
        }
        Ok(Some(chunk))
    }

    /// Closes the connection after an error; gives up a mirror after its last attempt.
    async fn give_up(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        self.body = None;
        // All bytes are here; the digest decides whether they are right.
        if self.received == self.descriptor.size && error.kind() != ErrorKind::Integrity {
            return Ok(());
        }
        let Some(next) = self.attempts.next(self.received) else {
            let (sender, registry) = (self.sender(), self.reference.registry());
            // Wrong content is never passed over, whoever sent it.
            if sender == registry || error.kind() == ErrorKind::Integrity {
                return Err(error);
            }
            self.client.pass_over(&sender, registry, &error);
            self.given_up.push(sender);
            self.attempts = Attempts::from(self.received);
            return Ok(());
        };
        self.client.pause(&error, next).await;
        Ok(())
    }
}
