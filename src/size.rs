//! Sizes, processor counts and durations: parsing what users write, and formatting for users.

use std::fmt::Write as _;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};

use crate::visible::visible;

/// A number of bytes: of a store, or of a second of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub u64);

/// Text that is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a size such as 500K, 20G, 1.5MiB or 4096, got '{0}'")]
pub struct ParseSizeError(String);

impl FromStr for Size {
    type Err = ParseSizeError;

    /// A number, perhaps with a fraction and a unit. K, M, G and T are powers of 1024, as with curl, du
    /// and systemd, and so are KiB to TiB; kB to TB are powers of 1000. Case does not matter.
    fn from_str(text: &str) -> Result<Self, ParseSizeError> {
        let wrong = || ParseSizeError(visible(text));
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let unit = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(wrong()),
        };
        decimal(number, unit).map(Self).ok_or_else(wrong)
    }
}

/// So many of a `unit`, of which there may be a fraction.
fn decimal(number: &str, unit: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    // Nine digits after the point are more than anybody measures, and cannot overflow.
    if whole.is_empty() || part.len() > 9 || number.ends_with('.') {
        return None;
    }
    let read = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u64>().ok().map(u128::from) };
    let scale = 10_u128.pow(u32::try_from(part.len()).unwrap_or_default());
    let unit = u128::from(unit);
    u64::try_from(read(whole)? * unit + read(part)? * unit / scale).ok()
}

/// A number of bytes as [`Size`] reads it, in the largest unit that divides it.
#[must_use]
pub(crate) fn bytes(bytes: u64) -> String {
    let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
    let fit = units.into_iter().find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    fit.map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// A number of bytes for people, in powers of 1000: `512 B`, `393.0 MB`.
#[must_use]
pub(crate) fn shown(bytes: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    let Some((unit, name)) = units.into_iter().find(|(unit, _)| bytes >= *unit) else { return format!("{bytes} B") };
    let tenths = (u128::from(bytes) * 10 + u128::from(unit) / 2) / u128::from(unit);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// A number of processors, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cpus(pub u64);

/// Text that is no number of processors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a number of processors such as 4 or 1.5, got '{0}'")]
pub(crate) struct ParseCpusError(String);

impl FromStr for Cpus {
    type Err = ParseCpusError;

    /// A number above 0, perhaps with up to three digits after the point.
    fn from_str(text: &str) -> Result<Self, ParseCpusError> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = (digits(whole) && digits(part) && part.len() <= 3 && whole.len() <= 9)
            .then(|| format!("{whole}{part:0<3}").parse().ok())
            .flatten();
        number.filter(|number| *number > 0).map(Self).ok_or_else(|| ParseCpusError(visible(text)))
    }
}

/// Thousandths as a decimal number.
#[must_use]
pub(crate) fn thousandths(number: u64) -> String {
    let text = format!("{}.{:03}", number / 1000, number % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A time that something may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub Duration);

/// Text that is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a time such as 30s, 5m, 1h30m or 90, got '{0}'")]
pub(crate) struct ParseTimeError(String);

/// The units of times, longest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl FromStr for Time {
    type Err = ParseTimeError;

    /// Numbers with units, each smaller than the one before: `1h30m`. A number alone is seconds, and may
    /// have a fraction, as with timeout(1). Nothing at all is no time.
    fn from_str(text: &str) -> Result<Self, ParseTimeError> {
        let wrong = || ParseTimeError(visible(text));
        let mut rest = text;
        let (mut milliseconds, mut last) = (0_u64, u64::MAX);
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, tail) = rest.split_at(end);
            let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(end);
            // A number without a unit stands alone.
            let name = if unit.is_empty() && number == text { "s" } else { unit };
            let unit = UNITS.iter().find(|(known, _)| *known == name).ok_or_else(wrong)?.1;
            let more = decimal(number, unit).filter(|_| unit < last).ok_or_else(wrong)?;
            milliseconds = milliseconds.checked_add(more).ok_or_else(wrong)?;
            (rest, last) = (tail, unit);
        }
        if milliseconds == 0 { Err(wrong()) } else { Ok(Self(Duration::from_millis(milliseconds))) }
    }
}

/// A time as [`Time`] reads it.
#[must_use]
pub(crate) fn duration(time: Duration) -> String {
    let mut left = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, unit) in UNITS {
        if left >= unit {
            let _ = write!(text, "{}{name}", left / unit);
            left %= unit;
        }
    }
    text
}

/// A time in JSON: seconds.
pub(crate) fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// The same, read again.
///
/// # Errors
/// The deserializer's; a number that is no time.
pub(crate) fn from_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// A time in JSON that need not be there.
pub(crate) mod optional_seconds {
    use std::time::Duration;

    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    /// Writes seconds, or null.
    #[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
    pub(crate) fn serialize<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(|time| time.as_secs_f64()).serialize(serializer)
    }

    /// Reads them.
    ///
    /// # Errors
    /// The deserializer's; a number that is no time.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        seconds.map(Duration::try_from_secs_f64).transpose().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_processors() {
        for (number, text) in [(0, "0"), (1000, "1000"), (1 << 10, "1K"), (3 << 30, "3G"), (1536 << 20, "1536M")] {
            assert_eq!(bytes(number), text);
            assert_eq!(text.parse(), Ok(Size(number)));
        }
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (393_049_999, "393.0 MB"),
            (393_050_000, "393.1 MB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(shown(number), text);
        }
        for (text, number, shown) in
            [("4", 4000, "4"), ("1.5", 1500, "1.5"), ("0.001", 1, "0.001"), ("16.250", 16_250, "16.25")]
        {
            assert_eq!(text.parse(), Ok(Cpus(number)));
            assert_eq!(thousandths(number), shown);
        }
        for text in ["", "0", "0.0", "-1", ".5", "1.", "1.2345", "1,5", "+1", "x", "99999999999"] {
            assert!(text.parse::<Cpus>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_as_people_write_them() {
        for (text, milliseconds) in [
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("1h30m", Some(5_400_000)),
            ("1d2h3m4s5ms", Some(93_784_005)),
            ("90", Some(90_000)),
            ("0.5", Some(500)),
            ("1.5h", Some(5_400_000)),
            ("200ms", Some(200)),
            ("18446744073709551s", Some(18_446_744_073_709_551_000)),
            ("", None),
            ("0", None),
            ("0s", None),
            ("m", None),
            ("5 m", None),
            ("-5m", None),
            ("5x", None),
            ("5M", None),
            ("30m1h", None),
            ("1m1m", None),
            ("1h30", None),
            ("1..5s", None),
            ("1.s", None),
            (".5s", None),
            ("99999999999999999999s", None),
            ("18446744073709551616", None),
            ("213503982335d", None),
        ] {
            let time = text.parse::<Time>().ok().map(|Time(time)| time);
            assert_eq!(time, milliseconds.map(Duration::from_millis), "{text:?}");
            if let Some(time) = time {
                assert_eq!(duration(time).parse(), Ok(Time(time)), "{}", duration(time));
            }
        }
        assert_eq!(duration(Duration::from_secs(5400)), "1h30m");
    }

    #[test]
    fn as_people_write_them() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("7B", Some(7)),
            ("500K", Some(500 << 10)),
            ("1.25k", Some(1280)),
            ("2M", Some(2 << 20)),
            ("2mb", Some(2_000_000)),
            ("1.5MiB", Some(3 << 19)),
            ("20GiB", Some(20 << 30)),
            ("20g", Some(20 << 30)),
            ("1.5TB", Some(1_500_000_000_000)),
            ("0.123456789GB", Some(123_456_789)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("99999999999T", None),
            ("", None),
            ("K", None),
            (".5M", None),
            ("5.M", None),
            ("1.2.3M", None),
            ("-1", None),
            ("1 M", None),
            ("5X", None),
            ("5Mi", None),
            ("1M/s", None),
        ] {
            assert_eq!(text.parse::<Size>().ok(), bytes.map(Size), "{text:?}");
        }
    }
}
