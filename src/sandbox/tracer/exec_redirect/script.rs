//! Parser of `#!` lines, as the kernel reads them (`fs/binfmt_script.c`, `load_script`).

/// Number of bytes that the kernel reads of a file (`BINPRM_BUF_SIZE`; 128 before Linux 5.1).
pub(super) const HEAD: usize = 256;

/// Interpreter of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) interpreter: Vec<u8>,
    /// Rest of the line, as one argument.
    pub(super) argument: Option<Vec<u8>>,
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

impl Script {
    /// Parses the first line of a file; `head` is padded with zeros. `None` if the kernel would not run it as a script.
    pub(super) fn of(head: &[u8; HEAD]) -> Option<Self> {
        let line = head.strip_prefix(b"#!")?;
        let line = if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            &line[..end]
        } else {
            // The kernel ignores the last byte. A name of an interpreter that may have been cut off does not count.
            let whole = &line[..line.len() - 1];
            let name = whole.iter().position(|byte| !is_blank(*byte))?;
            line[name..].iter().position(|byte| is_blank(*byte) || *byte == 0)?;
            whole
        };
        let end = line.iter().rposition(|byte| !is_blank(*byte))? + 1;
        let start = line.iter().position(|byte| !is_blank(*byte))?;
        let line = &line[start..end];
        let until_zero = |bytes: &[u8]| bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        let length = line.iter().position(|byte| is_blank(*byte) || *byte == 0).unwrap_or(line.len());
        let (interpreter, rest) = line.split_at(length);
        let argument = match rest {
            [0, ..] | [] => None,
            rest => rest.iter().position(|byte| !is_blank(*byte)).map(|start| until_zero(&rest[start..])),
        };
        Some(Self { interpreter: interpreter.to_vec(), argument })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Option<(String, Option<String>)> {
        let mut head = [0; HEAD];
        let length = text.len().min(HEAD);
        head[..length].copy_from_slice(&text[..length]);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Script::of(&head).map(|script| (text(script.interpreter), script.argument.map(text)))
    }

    #[test]
    fn lines() {
        let long = |length: usize| format!("#!/{}", "x".repeat(length - 3));
        for (line, interpreter, argument) in [
            ("#!/bin/sh\n", "/bin/sh", None),
            ("#!/bin/sh", "/bin/sh", None),
            ("#! \t /bin/sh \t\nrest", "/bin/sh", None),
            ("#!/bin/sh -e\n", "/bin/sh", Some("-e")),
            ("#!/bin/sh \t -e  -x\t \nrest", "/bin/sh", Some("-e  -x")),
            ("#!/usr/bin/env -S a b\n", "/usr/bin/env", Some("-S a b")),
            ("#!sh\n", "sh", None),
            ("#!/bin/sh\r\n", "/bin/sh\r", None),
            ("#!/bin/sh\0 -e\n", "/bin/sh", None),
            ("#!/bin/sh -e\0x\n", "/bin/sh", Some("-e")),
            ("#!/bin/sh -e", "/bin/sh", Some("-e")),
            ("#!/bin/sh ", "/bin/sh", Some("")),
            ("#!", "", None),
        ] {
            let want = Some((interpreter.to_owned(), argument.map(str::to_owned)));
            assert_eq!(read(line.as_bytes()), want, "{line:?}");
        }
        for line in
            ["", "#", "#!\n", "#! \t\n", "# !/bin/sh\n", "\n#!/bin/sh\n", &"#!".repeat(200), &long(256), &long(300)]
        {
            assert_eq!(read(line.as_bytes()), None, "{line:?}");
        }
        // With its end in sight the line is complete; one byte more, and it may be cut off.
        assert_eq!(read(long(255).as_bytes()).unwrap().0.len(), 253);
        // An argument may be cut off: the interpreter reads the line itself.
        let cut = format!("#!/bin/sh {}", "y".repeat(300));
        assert_eq!(read(cut.as_bytes()).unwrap().1.unwrap().len(), 255 - 10);
    }
}
