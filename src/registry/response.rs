//! Reading answers: budgets for bodies, words for people.

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

/// Most bytes of an error's body that are looked at.
const MAX_ERROR_BODY: u64 = 16 << 10;

/// Why a body cannot be had.
pub(super) enum Unread {
    /// It is longer than allowed.
    TooLong,
    /// It does not come, or too slowly.
    Stalled(Stalled),
}

/// The whole body, at most `limit` bytes.
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

/// The answer if it is a success, else the error it stands for. `url` is what was asked for.
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
        // Where the rest was asked for, this is the whole: allowed to who knows no ranges.
        (StatusCode::OK, _) => return Ok(response),
        (StatusCode::PARTIAL_CONTENT, Some(rest)) => {
            return match rest.check(&response) {
                Ok(()) => Ok(response),
                Err(why) => Err(RegistryError::Range { host, subject, why }),
            };
        }
        (StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => {
            return Err(RegistryError::Range { host, subject, why: "it has no such range (status 416)".into() });
        }
        // No other success fits: nothing was left out.
        _ => {}
    }
    let retry_after = retry_after(response.headers());
    let limit = RateLimit::read(response.headers()).map(Box::new);
    // Some registries redirect everything to another one, whose word on manifests is the answer.
    let is_blob = target.path.starts_with("blobs/");
    let refused = status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS;
    if is_blob && refused && is_elsewhere(&response, url) {
        return Err(RegistryError::Storage { host, subject, status: status.as_u16() });
    }
    let message = printable(&words(&mut response, limits).await);
    Err(match status.as_u16() {
        404 => RegistryError::NotFound { host, subject, message },
        401 | 403 => RegistryError::Denied { host, subject, message },
        429 => RegistryError::RateLimited { host, message, retry_after, limit },
        status => RegistryError::Status { host, url: url.to_owned(), proxy: None, status, message, retry_after },
    })
}

/// Whether the answer to `url` comes from another server, by a redirect.
pub(super) fn is_elsewhere(response: &Response, url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.origin() != response.url().origin())
}

/// What an error's body says (distribution spec, "Error Codes"), not fit for a terminal; nothing if it is in
/// another form, since that is a web page as a rule.
pub(super) async fn words(response: &mut Response, limits: &Limits) -> String {
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
