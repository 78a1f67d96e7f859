//! Reading responses: limits for bodies, and the errors that a status stands for.

use oci_distribution::errors::OciEnvelope;
use reqwest::{Response, StatusCode, Url};

use super::error::RegistryError;
use super::headers::retry_after;
use super::message::printable;
use super::pace::{Pace, Stalled};
use super::rate_limit::RateLimit;
use super::request::Target;
use super::settings::Limits;
use crate::digest::Digest;

/// Most bytes read of the body of an error.
const MAX_ERROR_BODY: u64 = 16 << 10;

/// Why a body was not read.
pub(super) enum Unread {
    /// It is larger than allowed.
    TooLong,
    /// The transfer ended early, or was too slow.
    Stalled(Stalled),
}

/// Reads the whole body, at most `limit` bytes.
pub(super) async fn body(response: &mut Response, limit: u64, limits: &Limits) -> Result<Vec<u8>, Unread> {
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(Unread::TooLong);
    }
    let (mut bytes, mut pace) = (Vec::new(), Pace::default());
    let deadline = tokio::time::Instant::now() + limits.document;
    loop {
        let chunk = tokio::time::timeout_at(deadline, pace.chunk(response, limits))
            .await
            .unwrap_or_else(|_| Err(Stalled::Slow { bytes: bytes.len() as u64, seconds: limits.document.as_secs() }));
        let Some(chunk) = chunk.map_err(Unread::Stalled)? else { return Ok(bytes) };
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(Unread::TooLong);
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// Returns the response if it is a success, else the error that it stands for. `url` is the requested URL.
pub(super) async fn check(
    mut response: Response,
    host: &str,
    url: &str,
    target: &Target<'_>,
    limits: &Limits,
) -> Result<Response, RegistryError> {
    let status = response.status();
    let (host, subject) = (host.to_owned(), target.subject.to_owned());
    match (status, &target.rest) {
        // All of it instead of the rest: servers need not support ranges.
        (StatusCode::OK, _) => return Ok(response),
        (StatusCode::PARTIAL_CONTENT, Some(rest)) => {
            return match rest.check(&response) {
                Ok(()) => Ok(response),
                Err(why) => Err(RegistryError::Range { host, subject, why }),
            };
        }
        (StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => {
            return Err(RegistryError::Range {
                host,
                subject,
                why: "the registry does not have this range (status 416)".into(),
            });
        }
        // Another success would be a part of what was requested.
        _ => {}
    }
    let retry_after = retry_after(response.headers());
    let limit = RateLimit::read(response.headers()).map(Box::new);
    // Some registries redirect all requests to another one, whose answer for a manifest counts.
    let is_blob = target.path.starts_with("blobs/");
    let refused = status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS;
    if is_blob && refused && is_elsewhere(&response, url) {
        return Err(RegistryError::Storage { host, subject, status: status.as_u16() });
    }
    let message = printable(&error_messages(&mut response, limits).await);
    Err(match status.as_u16() {
        404 => RegistryError::NotFound { host, subject, message },
        401 | 403 => RegistryError::Denied { host, subject, message },
        429 => RegistryError::RateLimited { host, message, retry_after, limit },
        status => RegistryError::Status { host, url: url.to_owned(), proxy: None, status, message, retry_after },
    })
}

/// Whether the response to `url` comes from another server, after a redirect.
pub(super) fn is_elsewhere(response: &Response, url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.origin() != response.url().origin())
}

/// The messages in the body of an error (distribution spec, "Error Codes"), not escaped. Empty for a body in another
/// format, which is usually a web page.
pub(super) async fn error_messages(response: &mut Response, limits: &Limits) -> String {
    let Ok(bytes) = body(response, MAX_ERROR_BODY, limits).await else { return String::new() };
    let Ok(envelope) = serde_json::from_slice::<OciEnvelope>(&bytes) else { return String::new() };
    let messages: Vec<_> = envelope.errors.iter().map(|error| error.message.as_str()).collect();
    messages.join("; ")
}

/// Whether a request that writes succeeded.
pub(super) fn is_success_of_write(status: StatusCode) -> bool {
    matches!(status, StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED | StatusCode::NO_CONTENT)
}

pub(super) fn expect_digest(expected: Digest, got: Digest, host: &str, subject: &str) -> Result<(), RegistryError> {
    if expected == got {
        return Ok(());
    }
    Err(RegistryError::WrongDigest { host: host.to_owned(), subject: subject.to_owned(), expected, got })
}
