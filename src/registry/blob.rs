//! A blob on its way.

use bytes::Bytes;
use reqwest::Response;

use super::RegistryError;
use crate::oci::Descriptor;

/// A blob being received: exactly as many bytes as its descriptor says, or an error. Its digest is
/// the reader's to check.
#[derive(Debug)]
pub struct Blob {
    response: Response,
    host: String,
    subject: String,
    expected: u64,
    received: u64,
}

impl Blob {
    /// The answer to a GET. A `Content-Length` that differs from the descriptor's size is an error
    /// before any byte is read.
    pub(super) fn new(
        response: Response,
        host: &str,
        subject: &str,
        descriptor: &Descriptor,
    ) -> Result<Self, RegistryError> {
        let blob = Self {
            host: host.to_owned(),
            subject: subject.to_owned(),
            expected: descriptor.size,
            received: 0,
            response,
        };
        match blob.response.content_length() {
            Some(got) if got != blob.expected => Err(blob.wrong_size(got)),
            _ => Ok(blob),
        }
    }

    fn wrong_size(&self, got: u64) -> RegistryError {
        RegistryError::WrongSize {
            host: self.host.clone(),
            subject: self.subject.clone(),
            expected: self.expected,
            got,
        }
    }

    /// The registry or mirror it comes from.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The next bytes, `None` at the end.
    ///
    /// # Errors
    /// The connection breaks, or nothing comes for 60 s; more or fewer bytes than the descriptor
    /// says. What was returned before stays unverified then.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let chunk = self.response.chunk().await.map_err(|source| RegistryError::Body {
            host: self.host.clone(),
            subject: self.subject.clone(),
            source: source.without_url(),
        })?;
        let Some(chunk) = chunk else {
            return if self.received == self.expected { Ok(None) } else { Err(self.wrong_size(self.received)) };
        };
        self.received += chunk.len() as u64;
        if self.received > self.expected {
            return Err(RegistryError::TooLong {
                host: self.host.clone(),
                subject: self.subject.clone(),
                limit: self.expected,
            });
        }
        Ok(Some(chunk))
    }
}
