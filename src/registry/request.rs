//! Requests: what is asked of a registry.

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
    /// Media types to ask for; empty for no `Accept`.
    pub accept: &'a str,
    /// How errors call it.
    pub subject: &'a str,
    /// If only the rest of it is wanted. The answer may be the whole all the same.
    pub rest: Option<Rest>,
    /// Whether only the headers are wanted (HEAD).
    pub head: bool,
}

/// The end of a blob.
#[derive(Clone, Copy)]
pub(super) struct Rest {
    /// The first byte wanted.
    pub from: u64,
    /// The size of the whole.
    pub size: u64,
}

impl Rest {
    /// Whether a 206 has what was asked for: another start, or another blob's size, would be put
    /// together with what is here to something wrong. A part that ends early is as good as one that
    /// breaks off.
    pub(super) fn check(&self, response: &Response) -> Result<(), String> {
        let Some(text) = header(response.headers(), CONTENT_RANGE.as_str()) else {
            return Err("it names no range (status 206)".into());
        };
        let wrong = || Err(format!("bytes {}- of {} are wanted, not '{}'", self.from, self.size, printable(text)));
        let Some((first, last, size)) = content_range(text) else { return wrong() };
        let fits = first == self.from && size == self.size && (first..size).contains(&last);
        let length = response.content_length();
        if fits && length.is_none_or(|length| length == last - first + 1) { Ok(()) } else { wrong() }
    }
}

/// How errors name a blob.
pub(super) fn blob_subject(reference: &Reference, descriptor: &Descriptor) -> String {
    format!("blob {} of {}/{}", descriptor.digest, reference.registry(), reference.repository())
}
