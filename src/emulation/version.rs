//! The version of QEMU, read from the bytes of the program, without running it.
//!
//! `qemu-ARCH --version` prints one string constant (`linux-user/main.c`, `version()`):
//! `"qemu-" TARGET_NAME " version " QEMU_FULL_VERSION "\n" …`.

use crate::lock::Emulator;

/// The version of `program`, if it is QEMU for `word`, QEMU's name of an architecture.
pub(super) fn of(program: &[u8], word: &str) -> Option<String> {
    let head = format!("qemu-{word} version ");
    let rest = &program[find(program, head.as_bytes())? + head.len()..];
    let end = rest.iter().position(|byte| matches!(byte, b'\n' | 0))?;
    let text = std::str::from_utf8(&rest[..end]).ok()?;
    Emulator::is_version(text).then(|| text.to_owned())
}

/// Position of the first `needle` in `hay`, by Horspool's algorithm, which skips most bytes of such a large file.
fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let last = needle.len().checked_sub(1)?;
    let mut skip = [needle.len(); 256];
    for (at, byte) in needle[..last].iter().enumerate() {
        skip[usize::from(*byte)] = last - at;
    }
    let mut at = 0;
    while let Some(window) = hay.get(at..at + needle.len()) {
        if window == needle {
            return Some(at);
        }
        at += skip[usize::from(window[last])];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is() {
        for (hay, needle, want) in [
            ("abcabd", "abd", Some(3)),
            ("abd", "abd", Some(0)),
            ("xxabd", "abd", Some(2)),
            ("ab", "abd", None),
            ("", "a", None),
            ("aaaaab", "aab", Some(3)),
            ("qemu-qemu-arm", "qemu-arm", Some(5)),
            ("abc", "", None),
        ] {
            assert_eq!(find(hay.as_bytes(), needle.as_bytes()), want, "{needle} in {hay}");
        }
    }

    #[test]
    fn versions() {
        for (text, want) in [
            ("…qemu-arm version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright", Some("7.2.22 (Debian 1:7.2+dfsg-7)")),
            ("qemu-arm version 9.2.2\0", Some("9.2.2")),
            ("qemu-aarch64 version 9.2.2\n", None),
            ("qemu-arm version 9.2.2", None),
            ("qemu-arm version \n", None),
            ("qemu-arm version 9\x1b[31m\n", None),
            ("qemu-arm version é\n", None),
        ] {
            assert_eq!(of(text.as_bytes(), "arm").as_deref(), want, "{text:?}");
        }
        let long = format!("qemu-arm version {}\n", "9".repeat(200));
        assert_eq!(of(long.as_bytes(), "arm"), None);
    }
}
