//! The common syntax of dpkg's and apk's databases: blocks of lines `NAME:VALUE`, separated by empty lines.

use crate::packages::Malformed;

/// The wanted fields of a block, in the order in which they were asked for.
pub(super) struct Stanza<'a, const N: usize> {
    values: [Option<&'a [u8]>; N],
    /// The line it begins at, from 1.
    pub(super) line: usize,
}

impl<'a, const N: usize> Stanza<'a, N> {
    /// A field's value, without spaces around it.
    pub(super) fn get(&self, field: usize) -> Option<&'a [u8]> {
        self.values[field].map(<[u8]>::trim_ascii)
    }

    /// Why the block cannot be used.
    pub(super) fn malformed(&self, why: &'static str) -> Malformed {
        Malformed::line(self.line, why)
    }
}

/// The blocks of `text`, with of each these fields. Other fields, and lines that go on with one, are passed over.
///
/// # Errors
/// A line that is no field; a wanted field that a block has twice.
pub(super) fn parse<'a, const N: usize>(text: &'a [u8], wanted: [&str; N]) -> Result<Vec<Stanza<'a, N>>, Malformed> {
    let mut stanzas = Vec::new();
    let mut open: Option<Stanza<'a, N>> = None;
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            stanzas.extend(open.take());
            continue;
        }
        let number = at + 1;
        let stanza = open.get_or_insert(Stanza { values: [None; N], line: number });
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            continue;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Err(Malformed::line(number, "a line is neither a field nor part of one"));
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if let Some(field) = wanted.iter().position(|wanted| wanted.as_bytes() == name)
            && stanza.values[field].replace(value).is_some()
        {
            return Err(Malformed::line(number, "a field is there twice"));
        }
    }
    stanzas.extend(open);
    Ok(stanzas)
}
