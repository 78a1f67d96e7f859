//! When a request is tried again, and how long that waits.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use super::response::header;
use super::{Limits, RegistryError};
use crate::progress::Reporter;

/// How often a request is tried where another try may help, or a blob that does not get on.
pub(super) const TRIES: u32 = 3;

/// How long the registry asks to be left alone (RFC 9110 §10.2.3): seconds, or a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = header(headers, RETRY_AFTER.as_str())?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = DateTime::parse_from_rfc2822(text).ok()?;
    // By the registry's own clock where it tells it: this machine's may be wrong.
    let now = header(headers, DATE.as_str()).and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    let left = then.to_utc() - now.map_or_else(Utc::now, |now| now.to_utc());
    Some(left.to_std().unwrap_or_default())
}

/// Waits before try number `next`, because of `error`: as long as the registry asks for, or for a
/// random part of a pause that grows.
pub(super) async fn wait(error: &RegistryError, next: u32, limits: &Limits, reporter: &dyn Reporter) {
    let pause = if let Some(asked) = error.retry_after() {
        let given = asked.min(limits.patience);
        let shorter = if given < asked { format!("; trying again in {} s", given.as_secs()) } else { String::new() };
        reporter.note(&format!("{error}; it asks to be left alone for {} s{shorter}", asked.as_secs()));
        given
    } else {
        let longest = limits.pause * 4_u32.saturating_pow(next.saturating_sub(2).min(8));
        // The seed of a hash map is as random as this needs.
        let part = RandomState::new().hash_one(next) % 1001;
        longest * u32::try_from(part).unwrap_or_default() / 1000
    };
    reporter.detail(&format!("{error}; try {next} of {TRIES} follows"));
    tokio::time::sleep(pause).await;
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
}
