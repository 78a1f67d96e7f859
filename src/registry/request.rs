//! What a request asks a registry for.

use reqwest::Response;
use reqwest::header::CONTENT_RANGE;

use super::headers::{content_range, header};
use super::message::printable;
use crate::oci::Descriptor;
use crate::reference::Reference;

/// A resource of a repository.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    /// The repository on this endpoint.
    pub repository: &'a str,
    /// The rest of the path: `manifests/…` or `blobs/…`.
    pub path: &'a str,
    /// `Accept`; empty for none.
    pub accept: &'a str,
    /// Its name in errors.
    pub subject: &'a str,
    /// Requests only the rest of it. A server may send all of it all the same.
    pub rest: Option<Rest>,
    /// Sends HEAD instead of GET.
    pub head: bool,
}

/// The rest of a blob, from an offset.
#[derive(Clone, Copy)]
pub(super) struct Rest {
    /// Offset of its first byte.
    pub from: u64,
    /// Size of the whole blob.
    pub size: u64,
}

impl Rest {
    /// Checks that a response with status 206 contains this range. Another offset, or the size of another blob, would
    /// damage what was received before. A range that ends early is treated as a connection that breaks.
    pub(super) fn check(&self, response: &Response) -> Result<(), String> {
        let Some(text) = header(response.headers(), CONTENT_RANGE.as_str()) else {
            return Err("the response has no range (status 206)".into());
        };
        let wrong = || Err(format!("expected bytes {}- of {}, got '{}'", self.from, self.size, printable(text)));
        let Some((first, last, size)) = content_range(text) else { return wrong() };
        let fits = first == self.from && size == self.size && (first..size).contains(&last);
        let length = response.content_length();
        if fits && length.is_none_or(|length| length == last - first + 1) { Ok(()) } else { wrong() }
    }
}

/// Names a blob in errors.
pub(super) fn blob_subject(reference: &Reference, descriptor: &Descriptor) -> String {
    format!("blob {} of {}/{}", descriptor.digest, reference.registry(), reference.repository())
}
