//! Rate limit of a registry: Docker Hub's `ratelimit-*` headers, in the syntax of draft-polli-ratelimit-headers-02
//! (`100;w=21600`).

use std::fmt;

use reqwest::header::HeaderMap;

use super::headers::header;
use super::message::printable;

/// A rate limit, as the registry states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests within the window.
    pub limit: u64,
    /// Requests left in the window, if stated.
    pub remaining: Option<u64>,
    /// Length of the window in seconds, if stated.
    pub window: Option<u64>,
    /// The address or account that it applies to, escaped and shortened. Empty if not stated.
    pub source: String,
}

impl RateLimit {
    /// Reads the headers of a response.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let (limit, window) = amount(header(headers, "ratelimit-limit")?)?;
        let remaining = header(headers, "ratelimit-remaining").and_then(amount).map(|(number, _)| number);
        let source = header(headers, "docker-ratelimit-source").map(printable).unwrap_or_default();
        Some(Self { limit, remaining, window, source })
    }

    /// Whether at most a tenth of the requests is left.
    pub(super) fn is_low(&self) -> bool {
        self.remaining.is_some_and(|remaining| remaining <= self.limit / 10)
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(remaining) = self.remaining {
            write!(f, "{remaining} of ")?;
        }
        write!(f, "{} requests", self.limit)?;
        match self.window {
            Some(seconds) if seconds > 0 && seconds % 3600 == 0 => write!(f, " in {} h", seconds / 3600)?,
            Some(seconds) => write!(f, " in {seconds} s")?,
            None => {}
        }
        if self.remaining.is_some() {
            write!(f, " left")?;
        }
        if self.source.is_empty() { Ok(()) } else { write!(f, " for {}", self.source) }
    }
}

/// Parses a number and its parameter `w`.
fn amount(text: &str) -> Option<(u64, Option<u64>)> {
    // The parser of u64 accepts a sign.
    let number = |text: &str| {
        let text = text.trim();
        if text.bytes().all(|c| c.is_ascii_digit()) { text.parse().ok() } else { None }
    };
    // Of several policies, separated by commas, the first one applies.
    let mut parts = text.split(',').next()?.split(';');
    let first = number(parts.next()?)?;
    Some((first, parts.find_map(|part| number(part.trim().strip_prefix("w=")?))))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> Option<RateLimit> {
        let pairs = pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        RateLimit::read(&pairs.collect())
    }

    #[test]
    fn what_docker_hub_says() {
        let source = ("docker-ratelimit-source", "192.0.2.7");
        let limit = read(&[("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "76;w=21600"), source]).unwrap();
        assert_eq!(limit.to_string(), "76 of 100 requests in 6 h left for 192.0.2.7");
        assert!(!limit.is_low());
        for (remaining, low) in [("11", false), ("10;w=21600", true), ("0;w=21600", true), ("-1", false), ("x", false)]
        {
            let limit = read(&[("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", remaining)]).unwrap();
            assert_eq!(limit.is_low(), low, "{remaining}");
        }
        assert_eq!(read(&[("ratelimit-limit", "5, 5;w=60")]).unwrap().to_string(), "5 requests");
        assert_eq!(read(&[("ratelimit-limit", "5;w=90")]).unwrap().to_string(), "5 requests in 90 s");
    }

    #[test]
    fn what_is_no_such_header_says_nothing() {
        for bad in ["", "many", "+5", "-5;w=60", "99999999999999999999999", ";w=60"] {
            assert_eq!(read(&[("ratelimit-limit", bad)]), None, "{bad}");
        }
        assert_eq!(read(&[("ratelimit-remaining", "5")]), None);
        let limit = read(&[("ratelimit-limit", "5;w=x"), ("docker-ratelimit-source", "a\tb")]).unwrap();
        assert_eq!((limit.window, limit.source.as_str()), (None, "a\\tb"));
    }
}
