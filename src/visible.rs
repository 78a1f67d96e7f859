//! Escaping of text from outside hermes for terminals.
//!
//! Names and messages come from images, archives, registries and projects. Control characters would be obeyed by the terminal,
//! directions of writing would show another text than there is, and a newline in a value would begin a line that looks like one
//! of hermes' own.

use std::fmt::Write as _;

/// Whether a terminal would obey `c`, or not show it: C0 and C1 controls, DEL, directions of writing (Unicode 15,
/// `Bidi_Control`), separators of lines and paragraphs, annotations, tags, the byte order mark, and what takes no room or is a
/// blank that is a letter: with these a name looks like another one. Joiners (U+200C, U+200D) and variation selectors stay,
/// since scripts need them.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{ffa0}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

/// A value in a line: hidden characters escaped as in Rust, `\n` and `\u{1b}`.
#[must_use]
pub(crate) fn visible(text: &str) -> String {
    escaped(text, |_| false)
}

/// Text of several lines: the same, but newlines and tabs stay.
#[must_use]
pub(crate) fn visible_lines(text: &str) -> String {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

/// A value in a line, cut after `length` characters.
#[must_use]
pub(crate) fn shortened(text: &str, length: usize) -> String {
    let (end, rest) = text.char_indices().nth(length).map_or((text.len(), ""), |(at, _)| (at, "…"));
    visible(&text[..end]) + rest
}

/// A path for a message: hidden characters and broken UTF-8 escaped, cut after 200 characters.
#[must_use]
pub(crate) fn visible_path(path: &[u8]) -> String {
    shortened(&String::from_utf8_lossy(path), 200)
}

/// JSON in which no string has a hidden character as it is. It means the same.
#[must_use]
pub(crate) fn visible_json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // Between strings there are only newlines and blanks, in strings no newline.
        if is_hidden(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A value as one word of bash(1), with `$'…'` for hidden characters.
#[must_use]
pub(crate) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@%,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else if text.chars().any(is_hidden) {
        // The form that has escapes: nothing reaches the terminal as it is.
        let escaped = text.chars().map(|c| match c {
            '\'' | '\\' => format!("\\{c}"),
            c if is_hidden(c) => escape(c),
            c => c.to_string(),
        });
        format!("$'{}'", escaped.collect::<String>())
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A character as `$'…'` of a shell takes it.
fn escape(c: char) -> String {
    match u32::from(c) {
        code @ ..0x80 => format!("\\x{code:02x}"),
        code @ ..0x1_0000 => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    }
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) && !stays(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        let text = "a\u{1b}[31m\u{9b}2J\u{202e}ä 日本 \\ 'x'\r\n\tb\u{7f}\u{2028}\u{e0041}";
        assert_eq!(visible(text), r"a\u{1b}[31m\u{9b}2J\u{202e}ä 日本 \ 'x'\r\n\tb\u{7f}\u{2028}\u{e0041}");
        assert_eq!(visible_lines("a\n\tb\r"), "a\n\tb\\r");
        assert_eq!((shortened("abc", 3), shortened("abcd", 3)), ("abc".into(), "abc…".into()));
        assert_eq!(shortened("ä\u{1b}x", 2), "ä\\u{1b}…");
    }

    #[test]
    fn what_is_not_seen_is_escaped() {
        for c in "\u{ad}\u{115f}\u{1160}\u{180e}\u{200b}\u{2060}\u{2064}\u{206f}\u{3164}\u{ffa0}".chars() {
            assert_eq!(visible(&format!("a{c}b")), format!("a{}b", c.escape_default()));
        }
        let needed = "\u{645}\u{6cc}\u{200c}\u{62e} \u{2764}\u{fe0f}\u{200d}\u{1f525}";
        assert_eq!(visible(needed), needed);
    }

    #[test]
    fn json_means_the_same() {
        let value = serde_json::json!({ "\u{9b}k": ["a\u{202e}\u{7f}\u{e0041}", "\u{1b}\n", "ä"] });
        for text in [serde_json::to_string_pretty(&value).unwrap(), serde_json::to_string(&value).unwrap()] {
            let shown = visible_json(&text);
            assert!(!shown.chars().any(|c| is_hidden(c) && c != '\n'), "{shown:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }
}
