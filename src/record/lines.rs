//! A file read line by line from its end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::fs::trust::Trust;

/// How much is read at a time, in bytes.
const PIECE: usize = 64 << 10;

/// The lines of a file, last first, without their ends.
pub(super) struct Backwards {
    file: File,
    /// Where what is in `tail` begins.
    start: u64,
    /// What was read and not given yet.
    tail: Vec<u8>,
    /// Longest line that is given.
    limit: usize,
    /// The rest of a longer one is being passed over.
    skipping: bool,
    done: bool,
}

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Whole(Vec<u8>),
    TooLong,
}

impl Backwards {
    pub(super) fn open(path: &Path, limit: usize) -> io::Result<Self> {
        let file = Trust::in_caller().open(path)?;
        let start = file.metadata()?.len();
        Ok(Self { file, start, tail: Vec::new(), limit, skipping: false, done: start == 0 })
    }

    /// Reads what is before `tail`, in front of it.
    fn more(&mut self) -> io::Result<()> {
        let length = self.start.min(PIECE.max(self.tail.len()) as u64);
        let mut piece = vec![0; usize::try_from(length).unwrap_or(PIECE)];
        self.start -= length;
        self.file.read_exact_at(&mut piece, self.start)?;
        piece.append(&mut self.tail);
        self.tail = piece;
        Ok(())
    }

    fn find(&mut self) -> io::Result<Line> {
        let mut looked = 0;
        loop {
            let unseen = self.tail.len() - looked;
            if let Some(at) = self.tail[..unseen].iter().rposition(|byte| *byte == b'\n') {
                let line = self.tail.split_off(at + 1);
                self.tail.truncate(at);
                return Ok(self.whole(line));
            }
            if self.tail.len() > self.limit {
                self.skipping = true;
                self.tail.clear();
            }
            looked = self.tail.len();
            if self.start == 0 {
                self.done = true;
                let line = std::mem::take(&mut self.tail);
                return Ok(self.whole(line));
            }
            self.more()?;
        }
    }

    fn whole(&mut self, line: Vec<u8>) -> Line {
        if std::mem::take(&mut self.skipping) || line.len() > self.limit { Line::TooLong } else { Line::Whole(line) }
    }
}

impl Iterator for Backwards {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let line = self.find();
        self.done |= line.is_err();
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8], limit: usize) -> Vec<Line> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Backwards::open(file.path(), limit).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn last_first() {
        let whole = |text: &str| Line::Whole(text.into());
        assert_eq!(lines(b"", 9), []);
        assert_eq!(lines(b"a\nbc\n", 9), [whole(""), whole("bc"), whole("a")]);
        assert_eq!(lines(b"a\n\nbc", 9), [whole("bc"), whole(""), whole("a")]);
        assert_eq!(lines(b"123\n1234\n12345\nx", 4), [whole("x"), Line::TooLong, whole("1234"), whole("123")]);
        // Longer than a piece, and longer than the limit by pieces.
        let long = |length: usize| vec![b'x'; length];
        let text = [&b"first\n"[..], &long(3 * PIECE), b"\n", &long(20 * PIECE), b"\nlast\n"].concat();
        let found = lines(&text, 4 * PIECE);
        assert_eq!(found, [whole(""), whole("last"), Line::TooLong, Line::Whole(long(3 * PIECE)), whole("first")]);
    }
}
