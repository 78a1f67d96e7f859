//! Compression of a layer in several threads.
//!
//! Each piece of the tar becomes a frame of its own (RFC 8878, §3.1), so that the bytes are the same with any number of threads.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::num::NonZero;
use std::thread;

use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use crate::layer::monitor::Monitor;

/// Level of compression (zstd(1)).
const LEVEL: i32 = 3;
/// Bytes of a piece. The larger, the less is lost to its beginning, where there is nothing yet to refer to.
const PIECE: usize = 4 << 20;
/// Most threads.
const MOST: usize = 16;

/// Compresses what `fill` writes to `out`, and returns both with what `fill` returns. All threads have ended then.
///
/// # Errors
/// Those of `out` and `fill`; the system has no thread left.
pub(crate) fn compressed<W: Write, T>(
    out: W,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<T>,
) -> io::Result<(W, T)> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST);
    with_threads(out, threads, fill)
}

fn with_threads<W: Write, T>(
    out: W,
    threads: usize,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<T>,
) -> io::Result<(W, T)> {
    let queue = Queue::default();
    thread::scope(|scope| {
        // Dropped before the threads are waited for.
        let _end = End(&queue);
        for _ in 0..threads {
            thread::Builder::new().name("compress".into()).spawn_scoped(scope, || queue.work())?;
        }
        let piece = Vec::with_capacity(PIECE);
        let mut pieces = Pieces { queue: &queue, out, most: 2 * threads, piece, given: 0, written: 0 };
        let value = fill(&mut pieces)?;
        Ok((pieces.finish()?, value))
    })
}

/// Pieces, and frames made of them.
#[derive(Default)]
struct Queue(Monitor<State>);

#[derive(Default)]
struct State {
    pieces: VecDeque<(u64, Vec<u8>)>,
    frames: BTreeMap<u64, io::Result<Vec<u8>>>,
    /// Pieces that were used.
    spare: Vec<Vec<u8>>,
    has_ended: bool,
}

impl Queue {
    /// Compresses pieces until there are no more.
    fn work(&self) {
        let compressor = || {
            let mut compressor = Compressor::new(LEVEL)?;
            compressor.set_parameter(CParameter::ChecksumFlag(true))?;
            Ok::<_, io::Error>(compressor)
        };
        let mut compressor = compressor();
        let next = |state: &mut State| match state.pieces.pop_front() {
            Some(piece) => Some(Some(piece)),
            None => state.has_ended.then_some(None),
        };
        while let Some((number, piece)) = self.0.when(next) {
            let frame = match &mut compressor {
                Ok(compressor) => compressor.compress(&piece),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            };
            self.0.change(|state| {
                state.frames.insert(number, frame);
                state.spare.push(piece);
            });
        }
    }
}

/// Makes all threads end when it is dropped.
struct End<'a>(&'a Queue);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.0.change(|state| (state.has_ended, state.pieces) = (true, VecDeque::new()));
    }
}

/// Cuts what is written into pieces, and writes the frames in their order.
struct Pieces<'a, W> {
    queue: &'a Queue,
    out: W,
    /// Most pieces that are being compressed or wait.
    most: usize,
    piece: Vec<u8>,
    given: u64,
    written: u64,
}

impl<W: Write> Pieces<'_, W> {
    /// Hands the piece over.
    fn give(&mut self) -> io::Result<()> {
        while self.given - self.written >= self.most as u64 {
            self.write_frame()?;
        }
        self.queue.0.change(|state| {
            let mut next = state.spare.pop().unwrap_or_else(|| Vec::with_capacity(PIECE));
            next.clear();
            state.pieces.push_back((self.given, std::mem::replace(&mut self.piece, next)));
        });
        self.given += 1;
        Ok(())
    }

    /// Waits for the next frame, and writes it.
    fn write_frame(&mut self) -> io::Result<()> {
        let frame = self.queue.0.when(|state| state.frames.remove(&self.written))?;
        self.written += 1;
        self.out.write_all(&frame)
    }

    fn finish(mut self) -> io::Result<W> {
        // Nothing at all is a frame too.
        if !self.piece.is_empty() || self.given == 0 {
            self.give()?;
        }
        while self.written < self.given {
            self.write_frame()?;
        }
        Ok(self.out)
    }
}

impl<W: Write> Write for Pieces<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..length]);
        if self.piece.len() == PIECE {
            self.give()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that compress a little.
    fn bytes(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            u8::try_from(state >> 26).unwrap()
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn the_bytes_are_the_same_with_any_number_of_threads() {
        for length in [0, 1, PIECE - 1, PIECE, 3 * PIECE + 5] {
            let bytes = bytes(length);
            let compress = |threads: usize, step: usize| {
                let fill = |out: &mut dyn Write| bytes.chunks(step).try_for_each(|piece| out.write_all(piece));
                with_threads(Vec::new(), threads, fill).unwrap().0
            };
            let one = compress(1, 1 << 20);
            assert_eq!(zstd::decode_all(one.as_slice()).unwrap(), bytes, "{length}");
            assert_eq!(compress(4, 12_345), one, "{length}");
        }
    }

    #[test]
    fn errors_end_all_threads() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let bytes = bytes(PIECE);
        let many = |out: &mut dyn Write| (0..100).try_for_each(|_| out.write_all(&bytes));
        let full = with_threads(Full, 2, many);
        assert_eq!(full.map(drop).unwrap_err().kind(), io::ErrorKind::StorageFull);
        let failed = with_threads(Vec::new(), 2, |out| {
            out.write_all(&bytes)?;
            Err::<(), _>(io::Error::from(io::ErrorKind::NotFound))
        });
        assert_eq!(failed.map(drop).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
