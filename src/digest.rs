//! SHA-256 digests: the only names by which hermes trusts bytes.
//!
//! The text form is `sha256:` and 64 lower-case hexadecimal digits (OCI image spec, "Digests").
//! Parsing is strict, so that a digest out of a hostile document can safely become part of a path.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::hint::Hint;
use crate::visible::shortened;

const PREFIX: &str = "sha256:";
/// Bytes that are read at a time.
const PIECE: usize = 128 << 10;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Text that is not a digest hermes accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid digest '{0}': expected sha256:<64 lower-case hexadecimal digits>")]
pub struct ParseDigestError(String);

impl Hint for ParseDigestError {}

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest with these 64 hexadecimal digits, for constants.
    ///
    /// # Panics
    /// For anything else; as a constant, when the program is compiled.
    #[must_use]
    pub(crate) const fn literal(hex: &str) -> Self {
        match parse(hex.as_bytes()) {
            Some(bytes) => Self(bytes),
            None => panic!("not 64 lower-case hexadecimal digits"),
        }
    }

    /// The digest of everything that is left in `from`, and its length. `advance` gets the number of bytes of each piece.
    pub(crate) fn of_reader(from: &mut impl Read, advance: &dyn Fn(u64)) -> io::Result<(Self, u64)> {
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; PIECE];
        loop {
            let length = match from.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                length => length?,
            };
            if length == 0 {
                let size = hasher.count();
                return Ok((hasher.finish(), size));
            }
            hasher.update(&buffer[..length]);
            advance(length as u64);
        }
    }

    /// The 64 hexadecimal digits without the algorithm: a safe file name.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// The first 12 hexadecimal digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }

    /// Parses the 64 hexadecimal digits without the algorithm.
    ///
    /// # Errors
    /// Anything but exactly 64 lower-case hexadecimal digits.
    pub fn from_hex(hex: &str) -> Result<Self, ParseDigestError> {
        parse(hex.as_bytes()).map(Self).ok_or_else(|| ParseDigestError(hex.escape_default().to_string()))
    }
}

/// The bytes of a hash in lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 0xf)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// Values of the hexadecimal digits by their byte; more than 15 for all other bytes. A table, because branches on the digits
/// of a hash cannot be predicted, and a start parses dozens of digests.
const NIBBLES: [u8; 256] = {
    let (mut nibbles, mut value) = ([u8::MAX; 256], 0);
    while value < 16 {
        nibbles[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    nibbles
};

/// The bytes that 64 lower-case hexadecimal digits stand for.
const fn parse(hex: &[u8]) -> Option<[u8; 32]> {
    let (mut bytes, mut all, mut at) = ([0; 32], 0, 0);
    if hex.len() != 2 * bytes.len() {
        return None;
    }
    while at < bytes.len() {
        let (high, low) = (NIBBLES[hex[2 * at] as usize], NIBBLES[hex[2 * at + 1] as usize]);
        bytes[at] = high << 4 | low;
        all |= high | low;
        at += 1;
    }
    if all < 16 { Some(bytes) } else { None }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        text.strip_prefix(PREFIX)
            .and_then(|hex| Self::from_hex(hex).ok())
            .ok_or_else(|| ParseDigestError(shortened(text, 100)))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{PREFIX}{}", self.hex()))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Counts and hashes bytes as they pass.
#[derive(Clone, Default)]
pub(crate) struct Hasher {
    state: Sha256,
    count: u64,
}

impl Hasher {
    /// Adds `bytes`.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.count += bytes.len() as u64;
    }

    /// Bytes seen so far.
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The digest of all bytes seen.
    #[must_use]
    pub(crate) fn finish(self) -> Digest {
        Digest(self.state.finalize().into())
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader that hashes what is read through it.
pub(crate) struct HashingReader<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> HashingReader<R> {
    /// Reads from `inner` and hashes.
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, hasher: Hasher::default() }
    }

    /// The reader and the hash of what came through.
    pub(crate) fn into_parts(self) -> (R, Hasher) {
        (self.inner, self.hasher)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_only_the_canonical_form() {
        let good = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(good.parse::<Digest>().unwrap(), Digest::of(b""));
        assert_eq!(Digest::of(b"").to_string(), good);
        for bad in [
            "",
            "sha256:",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85",
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8555",
            "sha256:../../../../../../../../../../../../../../../../../../../etc/pass",
            "sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            assert!(bad.parse::<Digest>().is_err(), "accepted {bad:?}");
        }
    }

    #[test]
    fn hashing_reader_sees_every_byte() {
        let mut reader = HashingReader::new(&b"some bytes"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        let (_, hasher) = reader.into_parts();
        assert_eq!((hasher.count(), hasher.finish()), (10, Digest::of(b"some bytes")));
    }
}
