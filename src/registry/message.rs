//! Text from a registry, made fit for a terminal.

use crate::visible;

/// Most characters shown of a text from a registry.
const MAX_MESSAGE: usize = 300;

/// `text` with control characters escaped, at most [`MAX_MESSAGE`] characters of it.
pub(super) fn printable(text: &str) -> String {
    visible::shortened(text.trim(), MAX_MESSAGE)
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn words_of_a_registry_cannot_drive_the_terminal() {
        assert_eq!(printable("it's \"down\" \x1b[2J\r\n\u{202e}x"), "it's \"down\" \\u{1b}[2J\\r\\n\\u{202e}x");
        assert_eq!(printable(&"x".repeat(301)).chars().count(), 301);
        assert_eq!(printable(" plain ä "), "plain ä");
    }
}
