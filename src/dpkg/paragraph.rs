//! Control files (deb822(5); Debian policy, §5.1): paragraphs of lines `NAME: VALUE`, separated by empty lines. apk's database
//! has the same syntax.

use crate::hint::{ErrorKind, Hint};

/// The wanted fields of a paragraph, in the order in which they were asked for.
pub(crate) struct Paragraph<'a, const N: usize> {
    values: [Option<&'a [u8]>; N],
    /// All its lines.
    pub(crate) text: &'a [u8],
    /// The line it begins at, from 1.
    pub(crate) line: usize,
}

/// A text that is not a control file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}, at line {line}")]
pub struct ParseParagraphError {
    pub(crate) line: usize,
    pub(crate) why: &'static str,
}

impl Hint for ParseParagraphError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Integrity
    }
}

impl<'a, const N: usize> Paragraph<'a, N> {
    /// A field's value, without spaces around it. A folded or multi-line value has its line ends and the spaces that begin
    /// each line.
    pub(crate) fn get(&self, field: usize) -> Option<&'a [u8]> {
        self.values[field].map(<[u8]>::trim_ascii)
    }

    /// The error that the paragraph cannot be used.
    pub(crate) fn malformed(&self, why: &'static str) -> ParseParagraphError {
        ParseParagraphError { line: self.line, why }
    }
}

/// The paragraphs of a text, read one by one.
pub(crate) struct Paragraphs<'a, 'w, const N: usize> {
    text: &'a [u8],
    /// Where the next line begins.
    at: usize,
    /// The number of lines before it.
    lines: usize,
    wanted: [&'w str; N],
}

/// The paragraphs of `text`, of each these fields. Names are compared exactly, since apk's differ in case only. Other fields
/// are passed over.
///
/// The iterator yields an error for a line that is not a field, or for a wanted field that a paragraph has twice, and then
/// ends.
pub(crate) fn paragraphs<'a, 'w, const N: usize>(text: &'a [u8], wanted: [&'w str; N]) -> Paragraphs<'a, 'w, N> {
    Paragraphs { text, at: 0, lines: 0, wanted }
}

impl<const N: usize> Paragraphs<'_, '_, N> {
    fn fail(&mut self, why: &'static str) -> ParseParagraphError {
        self.at = self.text.len();
        ParseParagraphError { line: self.lines, why }
    }
}

impl<'a, const N: usize> Iterator for Paragraphs<'a, '_, N> {
    type Item = Result<Paragraph<'a, N>, ParseParagraphError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut open: Option<Paragraph<'a, N>> = None;
        // The paragraph's beginning; the wanted field that the lines belong to, with the beginning of its value.
        let (mut begin, mut current) = (self.at, None);
        while self.at < self.text.len() {
            let start = self.at;
            let end =
                self.text[start..].iter().position(|byte| *byte == b'\n').map_or(self.text.len(), |at| start + at);
            let line = &self.text[start..end];
            self.at = end + 1;
            self.lines += 1;
            if line.is_empty() {
                if open.is_some() {
                    break;
                }
                begin = self.at;
                continue;
            }
            let paragraph = open.get_or_insert(Paragraph { values: [None; N], text: &[], line: self.lines });
            paragraph.text = &self.text[begin..end];
            if matches!(line[0], b' ' | b'\t') {
                if let Some((field, value)) = current {
                    paragraph.values[field] = Some(&self.text[value..end]);
                }
                continue;
            }
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                return Some(Err(self.fail("a line is neither a field nor its continuation")));
            };
            let wanted = self.wanted.iter().position(|wanted| wanted.as_bytes() == &line[..colon]);
            current = wanted.map(|field| (field, start + colon + 1));
            if let Some(field) = wanted
                && paragraph.values[field].replace(&line[colon + 1..]).is_some()
            {
                return Some(Err(self.fail("a field occurs twice")));
            }
        }
        open.map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_values_and_unwanted_fields() {
        let text = b"\n\nA: 1\nX: no\n A: no\nB:\n 2\n\t3\n\n\nB:4";
        let all: Vec<_> = paragraphs(text, ["A", "B"]).map(Result::unwrap).collect();
        let values: Vec<_> = all.iter().map(|paragraph| [paragraph.get(0), paragraph.get(1)]).collect();
        assert_eq!(values, [[Some(&b"1"[..]), Some(b"2\n\t3")], [None, Some(b"4")]]);
        assert_eq!(all.iter().map(|paragraph| paragraph.line).collect::<Vec<_>>(), [3, 11]);
        assert_eq!(all[0].text, b"A: 1\nX: no\n A: no\nB:\n 2\n\t3");
        assert_eq!(all[1].text, b"B:4");
        assert!(paragraphs(b"\n", ["A"]).next().is_none());
    }

    #[test]
    fn errors_name_the_line_and_end_the_text() {
        for (text, line) in [("A: 1\n\nA\nA: 1\n", 3), ("A: 1\nB: 2\nA: 1\n\nA: 2\n", 3)] {
            let mut all = paragraphs(text.as_bytes(), ["A"]);
            let error = all.find_map(Result::err).unwrap();
            assert_eq!(error.line, line);
            assert!(all.next().is_none());
        }
    }
}
