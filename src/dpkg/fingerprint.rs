//! Fingerprints of the keys that sign archives.

use std::fmt;
use std::str::FromStr;

use crate::hint::Hint;
use crate::visible::shortened;

/// The fingerprint of an OpenPGP key of version 4 (RFC 9580, §5.5.4): SHA-1 of the key. As text it is 40 upper-case hexadecimal
/// digits. It names a key that is already trusted; trust never rests on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub(crate) [u8; 20]);

/// A text that is not a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid key fingerprint '{0}': expected 40 upper-case hexadecimal digits")]
pub struct ParseFingerprintError(String);

impl Hint for ParseFingerprintError {}

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, ParseFingerprintError> {
        let is_hexadecimal = |c: u8| matches!(c, b'0'..=b'9' | b'A'..=b'F');
        let mut bytes = [0; 20];
        let fits = text.len() == 2 * bytes.len() && text.bytes().all(is_hexadecimal);
        for (at, byte) in bytes.iter_mut().enumerate().filter(|_| fits) {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap_or_default();
        }
        if fits { Ok(Self(bytes)) } else { Err(ParseFingerprintError(shortened(text, 100))) }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_text() {
        let text = "4CB50190207B4758A3F73A796ED0E7B82643E131";
        assert_eq!(text.parse::<Fingerprint>().unwrap().to_string(), text);
        for bad in
            ["", &text.to_lowercase(), &text[1..], &format!("{text}0"), &format!("+{}", &text[1..]), &"ä".repeat(20)]
        {
            assert!(bad.parse::<Fingerprint>().is_err(), "accepted {bad:?}");
        }
    }
}
