//! Reading answers: budgets for bodies, words for people.

use oci_distribution::errors::OciEnvelope;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap};
use reqwest::{Response, StatusCode, Url};

use super::endpoint::Target;
use super::pace::{Pace, Stalled};
use super::{Limits, RateLimit, RegistryError, retry};
use crate::visible;

/// Most characters of a registry's own words that are shown.
const MAX_MESSAGE: usize = 300;
/// Most bytes of an error's body that are looked at.
const MAX_ERROR_BODY: u64 = 16 << 10;

/// `text` fit for a terminal: control characters escaped, capped at [`MAX_MESSAGE`] characters.
pub(super) fn printable(text: &str) -> String {
    visible::shortened(text.trim(), MAX_MESSAGE)
}

/// A header's value where it is text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// `Content-Type` without parameters, in lower case.
pub(super) fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = header(headers, CONTENT_TYPE.as_str())?;
    Some(value.split(';').next().unwrap_or(value).trim().to_ascii_lowercase())
}

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
    let retry_after = retry::retry_after(response.headers());
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
    fn check(&self, response: &Response) -> Result<(), String> {
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

/// First byte, last byte and size out of `bytes 5-9/10` (RFC 9110 §14.4).
fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (unit, range) = text.trim().split_once(' ')?;
    let (range, size) = range.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    // Not u64's own parser alone, which takes a sign.
    let number = |text: &str| text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    unit.eq_ignore_ascii_case("bytes").then_some((number(first)?, number(last)?, number(size)?))
}

/// What an error's body says (distribution spec, "Error Codes"), not fit for a terminal; nothing if it is in
/// another form, since that is a web page as a rule.
pub(super) async fn words(response: &mut Response, limits: &Limits) -> String {
    let Ok(bytes) = body(response, MAX_ERROR_BODY, limits).await else { return String::new() };
    let Ok(envelope) = serde_json::from_slice::<OciEnvelope>(&bytes) else { return String::new() };
    let messages: Vec<_> = envelope.errors.iter().map(|error| error.message.as_str()).collect();
    messages.join("; ")
}

#[cfg(test)]
mod tests {
    use super::{content_range, printable};

    #[test]
    fn a_content_range_is_read_strictly() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, 9, 10)));
        for bad in ["", "bytes", "bytes */10", "bytes 5-9/*", "bytes 5-/10", "bytes +5-9/10", "lines 5-9/10", "5-9/10"]
        {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn words_of_a_registry_cannot_drive_the_terminal() {
        assert_eq!(printable("it's \"down\" \x1b[2J\r\n\u{202e}x"), "it's \"down\" \\u{1b}[2J\\r\\n\\u{202e}x");
        assert_eq!(printable(&"x".repeat(301)).chars().count(), 301);
        assert_eq!(printable(" plain ä "), "plain ä");
    }
}
