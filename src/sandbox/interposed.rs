//! Time and directory order that a command sees in place of the real ones (`--clock`, `--dir-order`).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize, Serializer};

use crate::size::{Time, duration};

/// Nanoseconds of a second.
pub(super) const SECOND: i128 = 1_000_000_000;
/// End of the year 9999 in seconds since 1970: the latest time that programs are written for.
const LAST: i64 = 253_402_300_799;

/// Time and directory order that the command sees in place of the real ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Interposed {
    /// Time that the command sees (`--clock`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// Order of directory entries that the command sees (`--dir-order`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory_order: Option<DirectoryOrder>,
}

impl Interposed {
    /// Whether the command sees everything as it is.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Order in which the entries of a directory are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DirectoryOrder {
    /// The reverse of the file system's order.
    Reverse,
}

/// Time that a command sees. From the start of the command on it advances as the host's does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Later than the host's by this span.
    Ahead(Duration),
    /// Earlier than the host's by this span, but not before 1970.
    Behind(Duration),
    /// This time at the start of the command, as a span since 1970.
    From(Duration),
}

/// Text that is no time for `--clock`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a time from 1970 to 9999 such as +398d, -2h, 2031-05-17T12:00:00Z or @1700000000, got '{0}'")]
pub struct NoClock(String);

impl FromStr for Clock {
    type Err = NoClock;

    /// Reads `+` or `-` and a span as of [`Time`], a time of RFC 3339, or `@` and seconds since 1970.
    fn from_str(text: &str) -> Result<Self, NoClock> {
        let span = |text: &str| text.parse::<Time>().ok().map(|Time(time)| time);
        let clock = match text.split_at_checked(1) {
            Some(("+", time)) => span(time).map(Self::Ahead),
            Some(("-", time)) => span(time).map(Self::Behind),
            Some(("@", seconds)) if seconds.bytes().all(|digit| digit.is_ascii_digit()) => {
                seconds.parse().ok().map(|seconds| Self::From(Duration::from_secs(seconds)))
            }
            _ => {
                let time = DateTime::parse_from_rfc3339(text).ok();
                let seconds = time.and_then(|time| u64::try_from(time.timestamp()).ok().map(|since| (since, time)));
                seconds.map(|(since, time)| {
                    // chrono counts a leap second in nanoseconds.
                    Self::From(Duration::new(since, time.timestamp_subsec_nanos().min(999_999_999)))
                })
            }
        };
        let (Self::Ahead(span) | Self::Behind(span) | Self::From(span)) = clock.ok_or_else(|| wrong(text))?;
        let is_near = i64::try_from(span.as_secs()).is_ok_and(|seconds| seconds <= LAST);
        clock.filter(|_| is_near).ok_or_else(|| wrong(text))
    }
}

fn wrong(text: &str) -> NoClock {
    NoClock(text.escape_default().to_string())
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ahead(span) => write!(f, "+{}", duration(*span)),
            Self::Behind(span) => write!(f, "-{}", duration(*span)),
            Self::From(since) => {
                let seconds = i64::try_from(since.as_secs()).unwrap_or(LAST);
                let time = DateTime::from_timestamp(seconds, since.subsec_nanos()).unwrap_or_default();
                f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
            }
        }
    }
}

impl Serialize for Clock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Clock {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Clock {
    /// Nanoseconds by which the clock is ahead of the host's, for a command that starts `now` (since 1970).
    pub(super) fn offset(self, now: i128) -> i128 {
        let long = |span: Duration| i128::try_from(span.as_nanos()).unwrap_or(i128::MAX);
        match self {
            Self::Ahead(span) => long(span),
            Self::Behind(span) => -long(span).min(now),
            Self::From(since) => long(since) - now,
        }
    }

    /// Seconds by which the clock is ahead of the host's, for a command that starts `now` (in seconds since 1970).
    #[must_use]
    pub fn seconds_ahead(self, now: i64) -> i64 {
        i64::try_from(self.offset(i128::from(now) * SECOND).div_euclid(SECOND)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_as_people_write_them() {
        let seconds = Duration::from_secs;
        for (text, clock, shown) in [
            ("+398d", Clock::Ahead(seconds(398 * 86_400)), "+398d"),
            ("-1h30m", Clock::Behind(seconds(5400)), "-1h30m"),
            ("+90", Clock::Ahead(seconds(90)), "+1m30s"),
            ("@0", Clock::From(seconds(0)), "1970-01-01T00:00:00Z"),
            ("@1700000000", Clock::From(seconds(1_700_000_000)), "2023-11-14T22:13:20Z"),
            ("2031-05-17T12:00:00Z", Clock::From(seconds(1_936_785_600)), "2031-05-17T12:00:00Z"),
            (
                "2031-05-17T12:00:00.5+02:00",
                Clock::From(Duration::from_millis(1_936_778_400_500)),
                "2031-05-17T10:00:00.500Z",
            ),
        ] {
            assert_eq!(text.parse(), Ok(clock), "{text}");
            assert_eq!(clock.to_string(), shown);
            assert_eq!(shown.parse(), Ok(clock), "{shown}");
        }
        for text in [
            "",
            "+",
            "-",
            "@",
            "398d",
            "+398",
            "++1d",
            "+0s",
            "+1y",
            "@-1",
            "@1.5",
            "@999999999999",
            "yesterday",
            "2031-05-17",
            "1969-12-31T23:59:59Z",
            "+99999999d",
            "é",
        ] {
            let parsed = text.parse::<Clock>();
            assert!(parsed.is_err() || text == "+398", "{text}: {parsed:?}");
        }
    }

    #[test]
    fn how_far_ahead() {
        let (now, day) = (1_000_000 * SECOND, 86_400 * SECOND);
        let offset = |text: &str| text.parse::<Clock>().unwrap().offset(now);
        assert_eq!([offset("+1d"), offset("-1d"), offset("@1000001"), offset("@0")], [day, -day, SECOND, -now]);
        assert_eq!(offset("-99999d"), -now, "not before 1970");
    }
}
