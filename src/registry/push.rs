//! Writing to a registry: a blob and a manifest (OCI distribution specification 1.1, "Push"). Mirrors are not written to.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Method, RequestBuilder, Url};

use super::client::Client;
use super::error::RegistryError;
use super::headers::header;
use super::message::printable;
use super::request::blob_subject;
use crate::oci::Descriptor;
use crate::reference::Reference;

/// Bytes of a blob that are sent at a time.
const PIECE: usize = 256 << 10;

impl Client {
    /// Puts the blob that `descriptor` names, the content of `file`, into the repository of `reference`, unless it is there:
    /// whether it had to be sent.
    ///
    /// # Errors
    /// See [`RegistryError`]; a file that cannot be read.
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
            // Whether it may be written, the next request tells; a storage may refuse to be asked so.
            Err(_) => {}
        }
        let uploads = format!("{base}blobs/uploads/");
        let empty = |request: RequestBuilder| request.header(CONTENT_LENGTH, 0);
        let begun = endpoint.write(repository, Method::POST, &uploads, &subject, &empty).await?;
        let nowhere = || RegistryError::Url { url: printable(&uploads), why: "no place for an upload is named there" };
        let location = header(begun.headers(), LOCATION.as_str()).ok_or_else(nowhere)?;
        let mut url = Url::parse(&uploads).and_then(|base| base.join(location)).map_err(|_| nowhere())?;
        url.query_pairs_mut().append_pair("digest", &descriptor.digest.to_string());
        let content = |request: RequestBuilder| {
            // One that cannot be read comes out too short, which the registry refuses.
            let body = File::open(file).map_or_else(|_| Body::from(Bytes::new()), body_of);
            let request = request.header(CONTENT_LENGTH, descriptor.size);
            request.header(CONTENT_TYPE, "application/octet-stream").body(body)
        };
        endpoint.write(repository, Method::PUT, url.as_str(), &subject, &content).await.map(|_| true)
    }

    /// Puts a manifest under the tag or digest of `reference`.
    ///
    /// # Errors
    /// See [`RegistryError`].
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

/// What is left of `file`, piece by piece.
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
