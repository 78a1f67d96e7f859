//! Versions of packages, and their order (Debian policy, §5.6.12; deb-version(7)).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::hint::{ErrorKind, Hint};
use crate::visible::shortened;

/// Longest version, in bytes.
const MAX_LENGTH: usize = 200;
/// Greatest epoch: dpkg keeps it in a C `int`.
const MAX_EPOCH: u32 = i32::MAX.unsigned_abs();

/// A version: `[epoch:]upstream[-revision]`.
///
/// Versions are equal if dpkg takes them for equal, so `1.0`, `0:1.00` and `1.0-0` are. Compare [`Version::as_str`] for the
/// same text.
#[derive(Debug, Clone)]
pub struct Version {
    text: Box<str>,
    epoch: u32,
    /// Where the upstream version begins in the text.
    upstream: u8,
    /// Where the upstream version ends.
    end: u8,
}

/// A text that is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid version '{text}': {why}")]
pub struct ParseVersionError {
    text: String,
    why: &'static str,
}

impl Hint for ParseVersionError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }
}

impl Version {
    /// The version as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The epoch; 0 if none is written.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The version without epoch and revision.
    #[must_use]
    pub fn upstream(&self) -> &str {
        &self.text[usize::from(self.upstream)..usize::from(self.end)]
    }

    /// The Debian revision; empty if none is written.
    #[must_use]
    pub fn revision(&self) -> &str {
        self.text.get(usize::from(self.end) + 1..).unwrap_or_default()
    }

    /// The version without its epoch, as file names have it.
    #[must_use]
    pub fn without_epoch(&self) -> &str {
        &self.text[usize::from(self.upstream)..]
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    /// Accepts what dpkg accepts without a warning (`parseversion`). A revision follows the last hyphen.
    fn from_str(text: &str) -> Result<Self, ParseVersionError> {
        let fail = |why| Err(ParseVersionError { text: shortened(text, 100), why });
        if text.len() > MAX_LENGTH {
            return fail("it is longer than 200 bytes");
        }
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) if epoch.bytes().all(|c| c.is_ascii_digit()) => match epoch.parse() {
                Ok(epoch @ 0..=MAX_EPOCH) => (epoch, rest),
                _ => return fail("the epoch must be a number of up to 31 bits"),
            },
            Some(_) => return fail("the epoch must be a number"),
            None => (0, text),
        };
        let (upstream, revision) = rest.rsplit_once('-').map_or((rest, None), |(up, rev)| (up, Some(rev)));
        if !upstream.starts_with(|c: char| c.is_ascii_digit()) {
            return fail("the upstream version must begin with a digit");
        }
        if revision == Some("") {
            return fail("the revision is empty");
        }
        let known = |c: u8| c.is_ascii_alphanumeric() || b".+~".contains(&c);
        if !upstream.bytes().all(|c| known(c) || b"-:".contains(&c)) || !revision.unwrap_or_default().bytes().all(known)
        {
            return fail("allowed are letters, digits, '.', '+', '-', '~'");
        }
        let start = text.len() - rest.len();
        let position = |at: usize| u8::try_from(at).unwrap_or(u8::MAX);
        Ok(Self { text: text.into(), epoch, upstream: position(start), end: position(start + upstream.len()) })
    }
}

/// Weight of a character outside numbers: `~` before the end, the end before letters, letters before all others.
fn weight(c: Option<&u8>) -> i32 {
    match c {
        Some(b'~') => -1,
        None | Some(b'0'..=b'9') => 0,
        Some(c) if c.is_ascii_alphabetic() => i32::from(*c),
        Some(c) => i32::from(*c) + 256,
    }
}

/// Cuts the leading bytes for which `is` holds off `text`.
fn leading<'a>(text: &mut &'a [u8], is: impl Fn(&u8) -> bool) -> &'a [u8] {
    let (taken, rest) = text.split_at(text.iter().position(|c| !is(c)).unwrap_or(text.len()));
    *text = rest;
    taken
}

/// dpkg's `verrevcmp`: alternately a part without digits, by [`weight`], and a number of any length.
fn compare(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    while !left.is_empty() || !right.is_empty() {
        let (a, b) = (leading(&mut left, |c| !c.is_ascii_digit()), leading(&mut right, |c| !c.is_ascii_digit()));
        for at in 0..a.len().max(b.len()) {
            let order = weight(a.get(at)).cmp(&weight(b.get(at)));
            if order.is_ne() {
                return order;
            }
        }
        // Zeros in front of a number do not count.
        leading(&mut left, |c| *c == b'0');
        leading(&mut right, |c| *c == b'0');
        let (a, b) = (leading(&mut left, u8::is_ascii_digit), leading(&mut right, u8::is_ascii_digit));
        let order = a.len().cmp(&b.len()).then_with(|| a.cmp(b));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare(self.upstream(), other.upstream()))
            .then_with(|| compare(self.revision(), other.revision()))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_order_of_dpkg() {
        // Each is less than the next; those of a row are equal.
        let rows: &[&[&str]] = &[
            &["0~~", "0:0~~"],
            &["0~~a"],
            &["0~"],
            &["0", "0-0", "00", "0:0", "0-00"],
            &["0-0a"],
            &["0a"],
            &["0+"],
            &["1.0~rc1-1"],
            &["1.0-1~bpo12+1"],
            &["1.0-1"],
            &["1.0-1+b1"],
            &["1.0-1+deb12u1"],
            &["1.0-1.1"],
            &["1.0-2"],
            &["1.0-10"],
            &["1.0+dfsg-1"],
            &["1.0.1"],
            &["1.2"],
            &["1.10"],
            &["9"],
            &["10"],
            &["99999999999999999999999999999999"],
            &["100000000000000000000000000000000"],
            &["1:0.1"],
            &["2:0-1", "002:0-1"],
        ];
        for (at, row) in rows.iter().enumerate() {
            for left in *row {
                for (other, right) in
                    rows.iter().enumerate().flat_map(|(at, row)| row.iter().map(move |text| (at, text)))
                {
                    assert_eq!(version(left).cmp(&version(right)), at.cmp(&other), "{left} and {right}");
                }
            }
        }
    }

    #[test]
    fn the_parts_of_a_version() {
        let parts = |text| {
            let version = version(text);
            (version.epoch(), version.upstream().to_owned(), version.revision().to_owned())
        };
        assert_eq!(parts("1:2.3-rc-4+b1"), (1, "2.3-rc".into(), "4+b1".into()));
        assert_eq!(parts("20230311"), (0, "20230311".into(), String::new()));
        assert_eq!(parts("1:2:3"), (1, "2:3".into(), String::new()));
        assert_eq!(version("1:2.3-4").without_epoch(), "2.3-4");
    }

    #[test]
    fn only_versions_are_accepted() {
        for bad in [
            "",
            "a1",
            "1-",
            "-1",
            "1 2",
            " 1",
            "1_2",
            "x:1",
            ":1",
            "2147483648:1",
            "1:",
            "1:-1",
            "1/2",
            "1\n",
            "1ä",
            "1-1:2-1_",
        ] {
            assert!(bad.parse::<Version>().is_err(), "accepted {bad:?}");
        }
        assert!("1".repeat(200).parse::<Version>().is_ok());
        assert!("1".repeat(201).parse::<Version>().is_err());
    }
}
