//! How a failure is shown: the error, its causes indented, then what to do.

use std::error::Error;
use std::fmt::Write as _;

use crate::hint::Hint;

/// The text of a failure. Control characters of whatever origin are made visible.
pub(super) fn render(error: &dyn Hint) -> String {
    let mut text = format!("error: {}\n", visible(&error.to_string()));
    let mut said = error.to_string();
    let mut cause: Option<&dyn Error> = error.source();
    while let Some(error) = cause {
        // A transparent wrapper says what its source says.
        let words = error.to_string();
        if words != said {
            let _ = writeln!(text, "  {}", visible(words.trim_end()).replace('\n', "\n  "));
        }
        said = words;
        cause = error.source();
    }
    for (position, hint) in error.hints().iter().enumerate() {
        let _ = writeln!(text, "{}hint: {}", if position == 0 { "\n" } else { "" }, visible(hint));
    }
    text
}

/// Longest text of one cause shown, in characters: some of it may be a registry's.
const MAX_TEXT: usize = 2000;

fn visible(text: &str) -> String {
    let shown = text.chars().take(MAX_TEXT).map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c });
    let rest = if text.chars().nth(MAX_TEXT).is_some() { " […]" } else { "" };
    shown.chain(rest.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Error;
    use crate::platform::Platform;

    #[test]
    fn error_causes_and_hints() {
        let error = Error::from("vax".parse::<Platform>().unwrap_err());
        insta::assert_snapshot!(render(&error), @r"
        error: unknown platform 'vax'

        hint: known platforms: linux-i686, linux-x86_64, linux-armv5, linux-armv6, linux-armv7, linux-aarch64, linux-ppc64le, linux-riscv64, linux-s390x
        ");
        let error = Error::WorkDirectory { source: std::io::Error::other("x".repeat(100_000)) };
        assert!(render(&error).len() < 3000);
        let error = Error::WorkDirectory { source: std::io::Error::other("a\x1b[31mb") };
        assert_eq!(
            render(&error),
            "error: cannot use the current directory as /work\n  a\u{fffd}[31mb\n\nhint: change to a directory that exists and that you may enter\n"
        );
    }
}
