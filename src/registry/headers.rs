//! Response headers, read strictly.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};

use crate::digest::Digest;

/// The value of a header, if it is text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// `Content-Type` without parameters, in lower case.
pub(super) fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = header(headers, CONTENT_TYPE.as_str())?;
    Some(value.split(';').next().unwrap_or(value).trim().to_ascii_lowercase())
}

/// `Docker-Content-Digest`: the digest of a document, as the registry states it.
pub(super) fn content_digest(headers: &HeaderMap) -> Option<Digest> {
    header(headers, "docker-content-digest")?.parse().ok()
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds, or a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = header(headers, RETRY_AFTER.as_str())?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = DateTime::parse_from_rfc2822(text).ok()?;
    // By the registry's clock if it sends its time: the clock of this machine may be wrong.
    let now = header(headers, DATE.as_str()).and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    let left = then.to_utc() - now.map_or_else(Utc::now, |now| now.to_utc());
    Some(left.to_std().unwrap_or_default())
}

/// `Content-Range`: first byte, last byte and size in `bytes 5-9/10` (RFC 9110 §14.4).
pub(super) fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (unit, range) = text.trim().split_once(' ')?;
    let (range, size) = range.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    // The parser of u64 accepts a sign.
    let number = |text: &str| text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    unit.eq_ignore_ascii_case("bytes").then_some((number(first)?, number(last)?, number(size)?))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn patience_is_asked_for_in_seconds_or_until_a_date() {
        let asked = |after: &'static str, date: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(after));
            if let Some(date) = date {
                headers.insert(DATE, HeaderValue::from_static(date));
            }
            retry_after(&headers)
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(asked("30", None), seconds(30));
        assert_eq!(asked(" 0 ", None), seconds(0));
        let now = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:07 GMT", now), seconds(30));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:07 GMT", now), seconds(0), "a date that has passed");
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT", None), seconds(0), "by this machine's clock");
        for nonsense in ["0.88ms", "-1", "soon", "", "99999999999999999999999"] {
            assert_eq!(asked(nonsense, now), None, "{nonsense}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn a_content_range_is_read_strictly() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, 9, 10)));
        for bad in ["", "bytes", "bytes */10", "bytes 5-9/*", "bytes 5-/10", "bytes +5-9/10", "lines 5-9/10", "5-9/10"]
        {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
