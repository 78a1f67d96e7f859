//! A window on the decompressed tar.

use std::io::{self, Read};
use std::mem;

use crate::digest::{Digest, Hasher};
use crate::layer::LayerError;
use crate::layer::decode::Decoder;

/// Bytes that are decompressed at a time.
pub(super) const WINDOW: usize = 256 << 10;

/// Where the bytes of a tar come from.
pub(super) trait Source {
    /// Puts the next bytes into `buffer`, whose content is of no more use; none at the end.
    fn fill(&mut self, buffer: &mut Vec<u8>) -> Result<(), LayerError>;

    /// How many bytes of the blob were read so far.
    fn consumed(&self) -> u64;
}

impl<R: Read> Source for Decoder<R> {
    fn fill(&mut self, buffer: &mut Vec<u8>) -> Result<(), LayerError> {
        buffer.resize(WINDOW, 0);
        let mut end = 0;
        // Whole windows, so that hardly a header lies in two.
        while end < WINDOW {
            match self.read(&mut buffer[end..]) {
                Ok(0) => break,
                Ok(length) => end += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        buffer.truncate(end);
        Ok(())
    }

    fn consumed(&self) -> u64 {
        self.consumed.get()
    }
}

/// Hashes what comes from another source.
pub(super) struct Hashing<S> {
    source: S,
    hasher: Hasher,
}

impl<S: Source> Hashing<S> {
    pub(super) fn new(source: S) -> Self {
        Self { source, hasher: Hasher::default() }
    }

    /// The digest of all bytes so far.
    pub(super) fn digest(self) -> Digest {
        self.hasher.finish()
    }
}

impl<S: Source> Source for Hashing<S> {
    fn fill(&mut self, buffer: &mut Vec<u8>) -> Result<(), LayerError> {
        self.source.fill(buffer)?;
        self.hasher.update(buffer);
        Ok(())
    }

    fn consumed(&self) -> u64 {
        self.source.consumed()
    }
}

/// Bytes that are in memory.
impl Source for &[u8] {
    fn fill(&mut self, buffer: &mut Vec<u8>) -> Result<(), LayerError> {
        let (piece, rest) = self.split_at(self.len().min(WINDOW));
        buffer.clear();
        buffer.extend_from_slice(piece);
        *self = rest;
        Ok(())
    }

    /// They take no more than they are.
    fn consumed(&self) -> u64 {
        u64::MAX
    }
}

pub(super) struct Input<S> {
    source: S,
    buffer: Vec<u8>,
    /// How much of the buffer is consumed.
    start: usize,
    /// Bytes that came from the source.
    filled: u64,
    eof: bool,
}

impl<S: Source> Input<S> {
    pub(super) fn new(source: S) -> Self {
        Self { source, buffer: Vec::new(), start: 0, filled: 0, eof: false }
    }

    /// Where in the tar the window begins.
    pub(super) fn offset(&self) -> u64 {
        self.filled - (self.buffer.len() - self.start) as u64
    }

    /// At least `wanted` bytes, or all that are left; nothing is consumed.
    pub(super) fn peek(&mut self, wanted: usize) -> Result<&[u8], LayerError> {
        while self.buffer.len() - self.start < wanted && !self.eof {
            let rest = self.buffer.split_off(self.start);
            self.start = 0;
            self.source.fill(&mut self.buffer)?;
            self.eof = self.buffer.is_empty();
            self.filled += self.buffer.len() as u64;
            if !rest.is_empty() {
                let next = mem::replace(&mut self.buffer, rest);
                self.buffer.extend_from_slice(&next);
            }
        }
        Ok(&self.buffer[self.start..])
    }

    /// Moves the window past `count` bytes that were peeked at.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.buffer.len());
    }

    /// Gives the next `length` bytes to `sink`, piece by piece.
    pub(super) fn copy(
        &mut self,
        mut length: u64,
        mut sink: impl FnMut(&[u8]) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        while length > 0 {
            let offset = self.offset();
            let window = self.peek(1)?;
            let piece = usize::try_from(length).map_or(window.len(), |length| length.min(window.len()));
            if piece == 0 {
                return Err(LayerError::Tar { offset, why: "it ends in the middle of a file".into() });
            }
            sink(&window[..piece])?;
            self.consume(piece);
            length -= piece as u64;
        }
        Ok(())
    }

    /// How many bytes of the blob were read so far.
    pub(super) fn consumed(&self) -> u64 {
        self.source.consumed()
    }

    /// Reads what stands after the end of the archive, and gives the source back. GNU tar and Go's reader take none
    /// of it for entries; writers leave there what was in the last record before.
    pub(super) fn finish(mut self) -> Result<S, LayerError> {
        loop {
            let length = self.peek(1)?.len();
            if length == 0 {
                return Ok(self.source);
            }
            self.consume(length);
        }
    }
}
