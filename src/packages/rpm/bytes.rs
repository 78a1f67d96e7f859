//! Bounds-checked access to numbers and slices of a file.

use std::ops::Range;

use crate::packages::Malformed;

/// Longest header of a package, in bytes; rpm's own limit.
pub(super) const MAX_HEADER: usize = 256 << 20;

/// A file, or part of one.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn piece(&self, at: usize, length: usize) -> Result<&'a [u8], Malformed> {
        let end = at.checked_add(length);
        let piece = end.and_then(|end| self.0.get(Range { start: at, end }));
        piece.ok_or(Malformed { why: "it ends early", unit: "byte", at })
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.piece(at, N)?);
        Ok(array)
    }

    pub(super) fn byte(&self, at: usize) -> Result<u8, Malformed> {
        self.array(at).map(|[byte]| byte)
    }

    pub(super) fn be16(&self, at: usize) -> Result<usize, Malformed> {
        self.array(at).map(u16::from_be_bytes).map(usize::from)
    }

    pub(super) fn be32(&self, at: usize) -> Result<usize, Malformed> {
        self.array(at).map(|bytes| u32::from_be_bytes(bytes) as usize)
    }

    pub(super) fn le32(&self, at: usize) -> Result<usize, Malformed> {
        self.array(at).map(|bytes| u32::from_le_bytes(bytes) as usize)
    }

    pub(super) fn le16(&self, at: usize) -> Result<usize, Malformed> {
        self.array(at).map(u16::from_le_bytes).map(usize::from)
    }

    /// A number as `SQLite` writes it, of up to nine bytes, and how many it has.
    pub(super) fn varint(&self, at: usize) -> Result<(u64, usize), Malformed> {
        let mut value = 0;
        for length in 1..=8 {
            let byte = self.byte(at + length - 1)?;
            value = value << 7 | u64::from(byte & 0x7f);
            if byte < 0x80 {
                return Ok((value, length));
            }
        }
        Ok((value << 8 | u64::from(self.byte(at + 8)?), 9))
    }
}
