//! Percent-encoding of bytes that a text format cannot hold.

use std::fmt::Write as _;

/// `bytes` with `%` and two lower-case hexadecimal digits for each byte that is not to be kept as it is. `keeps` must not keep
/// `%`, nor a byte that is not ASCII.
pub(crate) fn encode(bytes: &[u8], keeps: impl Fn(u8) -> bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if keeps(*byte) {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02x}");
        }
    }
    text
}

/// The bytes that were encoded; `None` where `%` stands without two hexadecimal digits.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
        bytes.push(u8::try_from(high << 4 | low).ok()?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = encode(&bytes, |byte| byte.is_ascii_graphic() && byte != b'%');
        assert!(text.is_ascii() && text.contains("$%25&"));
        assert_eq!(decode(&text), Some(bytes));
        assert_eq!(decode("ä%C3%a4"), Some("ää".into()));
        for wrong in ["%", "%4", "%+4", "%4g", "a%"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
