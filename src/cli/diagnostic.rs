//! The text of a failure: the error, its causes indented, then hints.

use std::error::Error;
use std::fmt::Write as _;

use crate::hint::{Hint, texts};
use crate::visible::visible_lines;

/// Renders a failure. Control characters are escaped.
pub(super) fn render(error: &dyn Hint) -> String {
    render_parts(error, &error.hints())
}

/// Renders an error, its causes, and hints.
pub(super) fn render_parts(error: &dyn Error, hints: &[String]) -> String {
    let mut text = String::new();
    for (position, line) in texts(error).iter().enumerate() {
        let _ = writeln!(text, "{}{}", if position == 0 { "error: " } else { "  " }, indented(line));
    }
    for (position, hint) in hints.iter().enumerate() {
        let _ = writeln!(text, "{}hint: {}", if position == 0 { "\n" } else { "" }, indented(hint));
    }
    text
}

/// Longest text of one cause, in characters, since it may come from a registry.
const MAX_TEXT: usize = 2000;

/// Indents all lines but the first, so that a value with newlines cannot imitate a line of hermes.
fn indented(text: &str) -> String {
    let (end, rest) = text.char_indices().nth(MAX_TEXT).map_or((text.len(), ""), |(at, _)| (at, " […]"));
    (visible_lines(text[..end].trim_end()) + rest).replace('\n', "\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Error;
    use crate::reference::Reference;

    #[test]
    fn error_causes_and_hints() {
        let error = Error::from("UPPER".parse::<Reference>().unwrap_err());
        insta::assert_snapshot!(render(&error), @r"
        error: invalid image reference 'UPPER': the name must be lower-case letters and digits, joined by '.', '_' or '-', in parts separated by '/'

        hint: examples of references: debian:bookworm, quay.io/pypa/manylinux_2_28_x86_64 or 127.0.0.1:5000/tools@sha256:…
        ");
        let error = Error::WorkDirectory { source: std::io::Error::other("x".repeat(100_000)) };
        assert!(render(&error).len() < 3000);
        let error = Error::WorkDirectory { source: std::io::Error::other("a\x1b[31mb") };
        assert_eq!(
            render(&error),
            "error: cannot use the current directory as /work\n  a\\u{1b}[31mb\n\nhint: change to a directory that exists and that you can enter\n"
        );
    }
}
