//! A window on the tar as it comes out of the decompressor; every byte is hashed on its way in.

use std::io::{self, Read};

use crate::digest::{Digest, Hasher};
use crate::layer::LayerError;
use crate::layer::decode::Decoder;

const WINDOW: usize = 256 << 10;

pub(super) struct Input<R: Read> {
    decoder: Decoder<R>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    hasher: Hasher,
    eof: bool,
}

impl<R: Read> Input<R> {
    pub(super) fn new(decoder: Decoder<R>) -> Self {
        Self { decoder, buffer: vec![0; WINDOW], start: 0, end: 0, hasher: Hasher::default(), eof: false }
    }

    /// Where in the tar the window begins.
    pub(super) fn offset(&self) -> u64 {
        self.hasher.count() - (self.end - self.start) as u64
    }

    /// At least `wanted` bytes, or all that are left; nothing is consumed.
    pub(super) fn peek(&mut self, wanted: usize) -> Result<&[u8], LayerError> {
        if self.end - self.start < wanted && !self.eof {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.buffer.len() < wanted {
                self.buffer.resize(wanted.next_multiple_of(WINDOW), 0);
            }
            while self.end < wanted {
                let n = match self.decoder.read(&mut self.buffer[self.end..]) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    other => other?,
                };
                if n == 0 {
                    self.eof = true;
                    break;
                }
                self.hasher.update(&self.buffer[self.end..self.end + n]);
                self.end += n;
            }
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Moves the window past `count` bytes that were peeked at.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
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

    /// Reads the zeros that may stand after the end of the archive, and gives the digest of it all.
    pub(super) fn finish(mut self) -> Result<Digest, LayerError> {
        loop {
            let offset = self.offset();
            let window = self.peek(1)?;
            if window.is_empty() {
                return Ok(self.hasher.finish());
            }
            if window.iter().any(|byte| *byte != 0) {
                return Err(LayerError::Tar { offset, why: "something stands after its end".into() });
            }
            let length = window.len();
            self.consume(length);
        }
    }
}
