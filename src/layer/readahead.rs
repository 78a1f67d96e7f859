//! Decompression in a thread of its own, a few windows ahead of the reader of the tar.

use std::io::{self, Read};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, Scope};

use crate::layer::decode::{Consumed, Decoder};
use crate::layer::input::{Source, WINDOW};
use crate::layer::{LayerError, Limits};

/// Windows that are there at all: being filled, waiting, being read.
const WINDOWS: usize = 6;

/// The reader's end. Dropped, it ends the thread, which is waited for by its scope.
pub(super) struct Ahead {
    empty: SyncSender<Vec<u8>>,
    full: Receiver<Result<Vec<u8>, LayerError>>,
    consumed: Consumed,
}

impl Ahead {
    /// Begins to read `blob`, and to decompress it.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start<'scope, R: Read + Send + 'scope>(
        scope: &'scope Scope<'scope, '_>,
        blob: R,
        limits: &Limits,
    ) -> io::Result<Self> {
        let (empty, to_fill) = mpsc::sync_channel(WINDOWS);
        let (filled, full) = mpsc::sync_channel(WINDOWS);
        let (limits, consumed) = (*limits, Consumed::default());
        let count = consumed.clone();
        thread::Builder::new().name("inflate".into()).spawn_scoped(scope, move || {
            let outcome =
                Decoder::counting(blob, &limits, count).and_then(|decoder| decode(decoder, &to_fill, &filled));
            // Nobody listens any more where the reader has failed by itself.
            let _ = outcome.map_err(|error| filled.send(Err(error)));
        })?;
        // The reader's own first buffer is the last one.
        for _ in 1..WINDOWS {
            let _ = empty.send(Vec::new());
        }
        Ok(Self { empty, full, consumed })
    }
}

impl Source for Ahead {
    fn fill(&mut self, buffer: &mut Vec<u8>) -> Result<(), LayerError> {
        let mut used = std::mem::take(buffer);
        if used.capacity() > 2 * WINDOW {
            // It held a long header.
            used = Vec::new();
        }
        // The thread may have come to its end, with the rest of its windows on their way.
        let _ = self.empty.send(used);
        // One that has ended has said that there is no more.
        *buffer = self.full.recv().unwrap_or(Ok(Vec::new()))?;
        Ok(())
    }

    fn consumed(&self) -> u64 {
        self.consumed.get()
    }
}

/// Fills windows up to the end, which an empty window marks, or until the receiver is gone.
fn decode(
    mut decoder: Decoder<impl Read>,
    to_fill: &Receiver<Vec<u8>>,
    filled: &SyncSender<Result<Vec<u8>, LayerError>>,
) -> Result<(), LayerError> {
    for mut window in to_fill {
        decoder.fill(&mut window)?;
        let ended = window.is_empty();
        if filled.send(Ok(window)).is_err() || ended {
            break;
        }
    }
    Ok(())
}
