//! Numbers of bytes as people write them.

use std::str::FromStr;

/// A number of bytes: of a store, or of a second of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Text that is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a size such as 500K, 20G, 1.5MiB or 4096")]
pub struct NoSize(String);

impl FromStr for Size {
    type Err = NoSize;

    /// A number, perhaps with a fraction and a unit. K, M, G and T are powers of 1024, as with curl, du
    /// and systemd, and so are KiB to TiB; kB to TB are powers of 1000. Case does not matter.
    fn from_str(text: &str) -> Result<Self, NoSize> {
        let wrong = || NoSize(text.escape_default().to_string());
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
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        // Nine digits after the point are more than anybody measures, and cannot overflow.
        if whole.is_empty() || part.len() > 9 || number.ends_with('.') {
            return Err(wrong());
        }
        let read = |digits: &str| if digits.is_empty() { Ok(0) } else { digits.parse::<u64>().map_err(|_| wrong()) };
        let scale = 10_u128.pow(u32::try_from(part.len()).unwrap_or_default());
        let bytes = u128::from(read(whole)?) * unit + u128::from(read(part)?) * unit / scale;
        u64::try_from(bytes).map(Self).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
