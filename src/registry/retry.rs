//! When a request is tried again, and how long that waits.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

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

/// The pauses that a registry asked for (`Retry-After`), over all requests to it. Requests that run at the
/// same time are asked for the same pause, which counts once.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    granted: Duration,
    /// The end of the latest one.
    until: Option<Instant>,
}

impl Pauses {
    /// Grants a pause of `asked` at `now`, unless all of them would then be longer than `most`.
    fn grant(&mut self, asked: Duration, most: Duration, now: Instant) -> bool {
        let begins = self.until.map_or(now, |until| until.max(now));
        let Some(ends) = now.checked_add(asked) else { return false };
        let further = ends.saturating_duration_since(begins);
        if self.granted.saturating_add(further) > most {
            return false;
        }
        self.granted += further;
        self.until = Some(ends.max(begins));
        true
    }
}

/// Waits before try number `next`, because of `error`: as long as the registry asks for, or for a
/// [`pause`]. `false` where the registry asks for more patience than there is: then there is no point in
/// another try.
pub(super) async fn wait(
    error: &RegistryError,
    next: u32,
    limits: &Limits,
    pauses: &Mutex<Pauses>,
    reporter: &dyn Reporter,
) -> bool {
    let Some(asked) = error.retry_after().filter(|asked| !asked.is_zero()) else {
        pause(error, next, limits, reporter).await;
        return true;
    };
    let granted = pauses.lock().unwrap_or_else(PoisonError::into_inner).grant(asked, limits.patience, Instant::now());
    if granted {
        let seconds = asked.as_secs();
        reporter.warn(&format!("{error}; try {next} of {TRIES} follows in {seconds} s"));
        tokio::time::sleep(asked).await;
    }
    granted
}

/// Waits before try number `next`, because of `error`: a random part of a time that grows.
pub(super) async fn pause(error: &RegistryError, next: u32, limits: &Limits, reporter: &dyn Reporter) {
    let longest = limits.pause * 4_u32.saturating_pow(next.saturating_sub(2).min(8));
    // The seed of a hash map is as random as this needs.
    let part = RandomState::new().hash_one(next) % 1001;
    reporter.verbose(&format!("{error}; try {next} of {TRIES} follows"));
    tokio::time::sleep(longest * u32::try_from(part).unwrap_or_default() / 1000).await;
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
    fn pauses_are_bounded_in_total() {
        let (mut pauses, now, most) = (Pauses::default(), Instant::now(), Duration::from_secs(300));
        let seconds = Duration::from_secs;
        assert!(!pauses.grant(seconds(301), most, now) && !pauses.grant(Duration::MAX, most, now));
        // Four requests at the same time, then one more.
        for _ in 0..4 {
            assert!(pauses.grant(seconds(100), most, now));
        }
        assert!(pauses.grant(seconds(150), most, now));
        let later = now + seconds(150);
        assert!(!pauses.grant(seconds(151), most, later));
        assert!(pauses.grant(seconds(150), most, later));
        assert!(!pauses.grant(seconds(1), most, later + seconds(1000)));
        assert!(pauses.grant(Duration::ZERO, most, later + seconds(1000)));
    }
}
