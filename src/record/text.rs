//! Words of a command line, which are bytes.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use serde::de::Error as _;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Any bytes. In JSON a string where they are UTF-8, else `{"hex": "…"}`: nothing is lost.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(pub OsString);

impl From<&OsStr> for Text {
    fn from(text: &OsStr) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// For people: what is not UTF-8 is replaced.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string_lossy())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(text) = self.0.to_str() {
            return serializer.serialize_str(text);
        }
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16);
        let hex: String = self.0.as_bytes().iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(digit).collect();
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("hex", &hex)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Wire {
            Text(String),
            Bytes { hex: String },
        }
        let hex = match Wire::deserialize(deserializer)? {
            Wire::Text(text) => return Ok(Self(text.into())),
            Wire::Bytes { hex } => hex,
        };
        let pairs = hex.as_bytes().chunks(2).map(|pair| {
            let pair = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2 && !pair.starts_with('+'))?;
            u8::from_str_radix(pair, 16).ok()
        });
        let bytes: Option<Vec<u8>> = pairs.collect();
        bytes.map(|bytes| Self(OsString::from_vec(bytes))).ok_or_else(|| D::Error::custom("not hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive() {
        for bytes in [&b""[..], b"word", b"a\xffb", b"\n\x1b\"", "\u{e4}".as_bytes()] {
            let text = Text(OsString::from_vec(bytes.to_vec()));
            let json = serde_json::to_string(&text).unwrap();
            assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), text, "{json}");
        }
        assert_eq!(serde_json::to_string(&Text(OsString::from_vec(vec![0xff, 1]))).unwrap(), r#"{"hex":"ff01"}"#);
        for bad in [r#"{"hex":"f"}"#, r#"{"hex":"+f"}"#, r#"{"hex":"fg"}"#, "7", "[]"] {
            assert!(serde_json::from_str::<Text>(bad).is_err(), "{bad}");
        }
    }
}
