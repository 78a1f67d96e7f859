//! Pushing blobs and manifests (OCI distribution specification 1.1, "Push"). Nothing is pushed to mirrors.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Method, RequestBuilder, Url};

use super::client::Client;
use super::error::RegistryError;
use super::headers::{content_digest, header};
use super::message::printable;
use super::request::{Target, blob_subject};
use crate::digest::Digest;
use crate::oci::{self, Descriptor};
use crate::reference::Reference;

/// Bytes of a blob sent at a time.
const PIECE: usize = 256 << 10;

/// What a registry has under a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tagged {
    Nothing,
    /// A manifest, with its digest if the registry states it.
    Manifest(Option<Digest>),
}

impl Client {
    /// Asks the registry itself, not its mirrors, for the manifest under the tag or digest of `reference` (HEAD), without
    /// another attempt.
    ///
    /// # Errors
    /// As [`RegistryError`] says. That there is no such manifest is no error.
    pub async fn tagged(&self, reference: &Reference) -> Result<Tagged, RegistryError> {
        let (path, subject) = (format!("manifests/{}", reference.target()), reference.to_string());
        let repository = reference.repository();
        let accept = oci::MANIFEST;
        let target = Target { repository, path: &path, accept, subject: &subject, rest: None, head: true };
        match self.endpoint(reference.registry())?.head(&target).await {
            Ok(response) => Ok(Tagged::Manifest(content_digest(response.headers()))),
            Err(RegistryError::NotFound { .. }) => Ok(Tagged::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Pushes `file`, the blob `descriptor`, into the repository of `reference`, unless the repository has it. Returns
    /// whether it was sent.
    ///
    /// # Errors
    /// The registry refuses it, or the file cannot be read; otherwise as [`RegistryError`] says.
    pub async fn push_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        file: &Path,
    ) -> Result<bool, RegistryError> {
        let endpoint = self.endpoint(reference.registry())?;
        let (repository, subject) = (reference.repository(), blob_subject(reference, descriptor));
        let base = endpoint.base(repository).await?;
        let blob = format!("{base}blobs/{}", descriptor.digest);
        match endpoint.write(repository, Method::HEAD, &blob, &subject, &|request| request).await {
            Ok(_) => return Ok(false),
            Err(error) if error.is_unreachable() => return Err(error),
            // The next request shows whether writing is allowed. A storage may refuse HEAD.
            Err(_) => {}
        }
        let uploads = format!("{base}blobs/uploads/");
        let empty = |request: RequestBuilder| request.header(CONTENT_LENGTH, 0);
        let begun = endpoint.write(repository, Method::POST, &uploads, &subject, &empty).await?;
        let nowhere =
            || RegistryError::Url { url: printable(&uploads), why: "the registry names no location for the upload" };
        let location = header(begun.headers(), LOCATION.as_str()).ok_or_else(nowhere)?;
        let mut url = Url::parse(&uploads).and_then(|base| base.join(location)).map_err(|_| nowhere())?;
        url.query_pairs_mut().append_pair("digest", &descriptor.digest.to_string());
        let content = |request: RequestBuilder| {
            // The body of an unreadable file is too short, so the registry refuses it.
            let body = File::open(file).map_or_else(|_| Body::from(Bytes::new()), body_of);
            let request = request.header(CONTENT_LENGTH, descriptor.size);
            request.header(CONTENT_TYPE, "application/octet-stream").body(body)
        };
        endpoint.write(repository, Method::PUT, url.as_str(), &subject, &content).await.map(|_| true)
    }

    /// Pushes a manifest under the tag or digest of `reference`.
    ///
    /// # Errors
    /// The registry refuses it; otherwise as [`RegistryError`] says.
    pub async fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), RegistryError> {
        let endpoint = self.endpoint(reference.registry())?;
        let repository = reference.repository();
        let url = format!("{}manifests/{}", endpoint.base(repository).await?, reference.target());
        let content = |request: RequestBuilder| request.header(CONTENT_TYPE, media_type).body(bytes.to_vec());
        endpoint.write(repository, Method::PUT, &url, &reference.to_string(), &content).await.map(drop)
    }
}

/// A body that streams `file`.
fn body_of(file: File) -> Body {
    Body::wrap_stream(stream::unfold(Some(file), async |file| {
        let mut file = file?;
        let mut piece = vec![0; PIECE];
        match file.read(&mut piece) {
            Ok(0) => None,
            Ok(length) => {
                piece.truncate(length);
                Some((Ok(Bytes::from(piece)), Some(file)))
            }
            Err(error) => Some((Err(error), None)),
        }
    }))
}
