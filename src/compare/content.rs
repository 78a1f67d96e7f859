//! Comparison of contents of any size, in pieces.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::compare::diff::{Difference, text};

/// How much is read at a time.
const PIECE: usize = 128 << 10;
/// How much is examined to tell text from other things, as git and grep do.
const HEAD: usize = 8000;
/// Longest part of a line that is shown.
const SHOWN: usize = 160;

/// A file, or a member of an archive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) file: &'a File,
    pub(super) start: u64,
    pub(super) size: u64,
}

impl<'a> Part<'a> {
    /// A part of this one, if it lies in it.
    pub(super) fn part(self, start: u64, size: u64) -> Option<Part<'a>> {
        (start.checked_add(size)? <= self.size).then(|| Part { start: self.start + start, size, ..self })
    }

    /// Reads what there is from `offset` on, as far as it fits.
    pub(super) fn read(self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        let mut done = 0;
        while done < left {
            match self.file.read_at(&mut buffer[done..left], self.start + offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Reads all of a part that is not larger than `limit`.
    pub(super) fn bytes(self, limit: u64) -> io::Result<Vec<u8>> {
        if self.size > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {limit} bytes")));
        }
        let mut bytes = vec![0; usize::try_from(self.size).map_err(io::Error::other)?];
        self.read(0, &mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn starts_with(self, magic: &[u8]) -> io::Result<bool> {
        let mut head = vec![0; magic.len()];
        Ok(self.read(0, &mut head)? == magic.len() && head == magic)
    }

    /// Whether there are only zeros.
    pub(super) fn is_blank(self) -> io::Result<bool> {
        let mut offset = 0;
        let mut buffer = vec![0; PIECE];
        while offset < self.size {
            let read = self.read(offset, &mut buffer)?;
            if buffer[..read].iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            offset += read as u64;
        }
        Ok(true)
    }

    /// Where the next byte is that is not in a hole of the file, from `offset` on.
    fn data(self, offset: u64) -> u64 {
        match rustix::fs::seek(self.file, SeekFrom::Data(self.start + offset)) {
            Ok(at) => at.saturating_sub(self.start).min(self.size),
            Err(Errno::NXIO) => self.size,
            // Not every file system knows of holes.
            Err(_) => offset,
        }
    }
}

/// The first byte that differs; the size of the shorter one, where it is the beginning of the other.
pub(super) fn first_difference(first: Part, second: Part) -> io::Result<Option<u64>> {
    let both = first.size.min(second.size);
    let (mut one, mut other) = (vec![0; PIECE], vec![0; PIECE]);
    let mut offset = 0;
    while offset < both {
        let data = first.data(offset).min(second.data(offset)).min(both);
        if data > offset {
            offset = data;
            continue;
        }
        let read = first.read(offset, &mut one)?.min(second.read(offset, &mut other)?);
        if one[..read] != other[..read] {
            let same = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
            return Ok(Some(offset + same as u64));
        }
        offset += read as u64;
    }
    Ok((first.size != second.size).then_some(both))
}

/// The difference at `offset` as a reader wants it: a line of a text, else a place.
pub(super) fn describe(first: Part, second: Part, offset: u64) -> io::Result<Difference> {
    if !(is_text(first)? && is_text(second)?) {
        return Ok(Difference::Content { offset, first: first.size, second: second.size });
    }
    let (mut number, mut start, mut at) = (1, 0, 0);
    let mut buffer = vec![0; PIECE];
    while at < offset {
        let read = (first.read(at, &mut buffer)? as u64).min(offset - at);
        for (position, _) in
            buffer.iter().enumerate().take(usize::try_from(read).unwrap_or(0)).filter(|(_, byte)| **byte == b'\n')
        {
            number += 1;
            start = at + position as u64 + 1;
        }
        at += read;
    }
    // Of a long line, what is around the place.
    let start = start.max(offset.saturating_sub(SHOWN as u64 / 2));
    Ok(Difference::Line { number, first: line(first, start)?, second: line(second, start)? })
}

fn is_text(part: Part) -> io::Result<bool> {
    let mut head = vec![0; HEAD];
    let read = part.read(0, &mut head)?;
    Ok(!head[..read].contains(&0))
}

fn line(part: Part, start: u64) -> io::Result<String> {
    let mut bytes = vec![0; SHOWN];
    let read = part.read(start, &mut bytes)?;
    let line = bytes[..read].split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(text(line))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn whole(file: &File) -> Part<'_> {
        Part { file, start: 0, size: file.metadata().unwrap().len() }
    }

    #[test]
    fn the_first_difference_wherever_it_is() {
        let long = vec![b'x'; 3 * PIECE];
        for at in [0, 1, PIECE - 1, PIECE, 2 * PIECE + 5, 3 * PIECE - 1] {
            let mut other = long.clone();
            other[at] = b'y';
            let (one, other) = (file(&long), file(&other));
            assert_eq!(first_difference(whole(&one), whole(&other)).unwrap(), Some(at as u64));
        }
        for (one, other, want) in
            [(&b""[..], &b""[..], None), (b"", b"a", Some(0)), (b"ab", b"a", Some(1)), (b"ab", b"ab", None)]
        {
            let (one, other) = (file(one), file(other));
            assert_eq!(first_difference(whole(&one), whole(&other)).unwrap(), want);
        }
    }

    #[test]
    fn holes_are_not_read_and_not_overlooked() {
        let sparse = |length: u64, byte: Option<u64>| {
            let file = tempfile::tempfile().unwrap();
            file.set_len(length).unwrap();
            if let Some(at) = byte {
                file.write_all_at(b"x", at).unwrap();
            }
            file
        };
        // Half a tebibyte would take minutes to read.
        let length = 1 << 39;
        for (one, other, want) in [
            (None, None, None),
            (None, Some(1 << 38), Some(1 << 38)),
            (Some(5), Some(5), None),
            (Some(5), None, Some(5)),
        ] {
            let (one, other) = (sparse(length, one), sparse(length, other));
            assert_eq!(first_difference(whole(&one), whole(&other)).unwrap(), want);
        }
    }

    #[test]
    fn a_line_of_a_text_else_a_place() {
        let described = |one: &[u8], other: &[u8]| {
            let (one, other) = (file(one), file(other));
            let offset = first_difference(whole(&one), whole(&other)).unwrap().unwrap();
            describe(whole(&one), whole(&other), offset).unwrap()
        };
        let line = |number, first: &str, second: &str| Difference::Line {
            number,
            first: first.to_owned(),
            second: second.to_owned(),
        };
        assert_eq!(described(b"a\nbcd\ne", b"a\nbxd\ne"), line(2, "bcd", "bxd"));
        assert_eq!(described(b"a\n", b"a\nb\n"), line(2, "", "b"));
        assert_eq!(described(b"a", b"b"), line(1, "a", "b"));
        assert_eq!(described(b"a\0b", b"a\0c"), Difference::Content { offset: 2, first: 3, second: 3 });
        let long = "l".repeat(100_000);
        let Difference::Line { number: 1, first, .. } =
            described(format!("{long}a").as_bytes(), format!("{long}b").as_bytes())
        else {
            panic!()
        };
        assert!(first.ends_with("la") && first.len() <= SHOWN);
    }
}
