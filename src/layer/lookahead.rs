//! Decompression of several archives in threads of their own, ahead of one reader that takes the archives one after the other.
//!
//! The threads share a number of windows, so that memory is bounded. The archive that is being read always gets one, so that
//! none of the others can make it wait for ever.

use std::collections::VecDeque;
use std::io::Read;

use crate::layer::decode::Decoder;
use crate::layer::input::{Source, WINDOW};
use crate::layer::monitor::Monitor;
use crate::layer::{LayerError, Limits};

/// Windows that may be full and wait, of all archives together: 64 MiB.
const WAITING: usize = (64 << 20) / WINDOW;
/// The same of the archive that is being read, if others have all of them.
const OWN: usize = 4;
/// Archives that may be begun before the reader comes to them: their heads take memory too.
const BEGUN: usize = 8;
/// Empty windows that are kept for the next one.
const SPARE: usize = 16;

/// What comes of archives: of each a head of type `T`, its decompressed bytes, and how it ended.
pub(crate) struct Lookahead<T, E>(Monitor<State<T, E>>);

struct State<T, E> {
    archives: Vec<Archive<T, E>>,
    /// The archive that is being read.
    current: usize,
    /// Windows that are full and wait, of all archives.
    waiting: usize,
    spare: Vec<Vec<u8>>,
    /// The reader wants no more.
    is_stopped: bool,
}

struct Archive<T, E> {
    head: Option<T>,
    windows: VecDeque<Vec<u8>>,
    end: Option<Result<(), E>>,
}

/// The end of an archive that a thread fills.
pub(crate) struct Filler<'a, T, E> {
    of: &'a Lookahead<T, E>,
    at: usize,
}

/// The end of an archive that is read.
pub(crate) struct Reader<'a, T, E> {
    of: &'a Lookahead<T, E>,
    at: usize,
}

impl<T, E> Lookahead<T, E> {
    /// For this many archives.
    pub(crate) fn new(archives: usize) -> Self {
        let archive = || Archive { head: None, windows: VecDeque::new(), end: None };
        let archives = (0..archives).map(|_| archive()).collect();
        Self(Monitor::new(State { archives, current: 0, waiting: 0, spare: Vec::new(), is_stopped: false }))
    }

    /// The end of the archive `at` for its thread. Threads must begin with archives in their order.
    pub(crate) fn filler(&self, at: usize) -> Filler<'_, T, E> {
        Filler { of: self, at }
    }

    /// The end of the archive `at` for the reader. Archives must be read in their order.
    pub(crate) fn reader(&self, at: usize) -> Reader<'_, T, E> {
        self.0.change(|state| state.current = at);
        Reader { of: self, at }
    }

    /// Whether the reader wants no more.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.lock().is_stopped
    }

    /// Makes all threads end.
    pub(crate) fn stop(&self) {
        self.0.change(|state| state.is_stopped = true);
    }
}

impl<T, E> Filler<'_, T, E> {
    /// Gives the reader the head, once the reader is near.
    pub(crate) fn head(&self, head: T) {
        self.of.0.when(|state| (state.is_stopped || self.at < state.current + BEGUN).then_some(()));
        self.of.0.change(|state| state.archives[self.at].head = Some(head));
    }

    /// Gives the reader what comes out of `archive`, which is plain or compressed by gzip, zstd, xz or bzip2. Ends early if the
    /// reader wants no more.
    ///
    /// # Errors
    /// Those of reading and decompressing; what the limits do not allow.
    pub(crate) fn decompress(&self, archive: impl Read, limits: &Limits) -> Result<(), LayerError> {
        let mut decoder = Decoder::of_archive(archive, limits)?;
        while let Some(mut window) = self.window() {
            decoder.fill(&mut window)?;
            if window.is_empty() {
                break;
            }
            self.of.0.change(|state| {
                state.waiting += 1;
                state.archives[self.at].windows.push_back(window);
            });
        }
        Ok(())
    }

    /// Says how the archive ended.
    pub(crate) fn end(self, end: Result<(), E>) {
        self.of.0.change(|state| state.archives[self.at].end = Some(end));
    }

    /// An empty window; `None` if the reader wants no more.
    fn window(&self) -> Option<Vec<u8>> {
        self.of.0.when(|state| {
            let own = state.archives[self.at].windows.len();
            let is_free = state.waiting < WAITING || (state.current == self.at && own < OWN);
            match (state.is_stopped, is_free) {
                (true, _) => Some(None),
                (false, true) => Some(Some(state.spare.pop().unwrap_or_default())),
                (false, false) => None,
            }
        })
    }
}

impl<T, E> Reader<'_, T, E> {
    /// Waits for the head; `None` if the archive ended without one.
    pub(crate) fn head(&self) -> Option<T> {
        self.of.0.when(|state| {
            let archive = &mut state.archives[self.at];
            match (archive.head.take(), &archive.end) {
                (Some(head), _) => Some(Some(head)),
                (None, Some(_)) => Some(None),
                (None, None) => None,
            }
        })
    }

    /// Passes over what was not read, and waits for the end.
    ///
    /// # Errors
    /// What the thread said.
    pub(crate) fn finish(mut self) -> Result<(), E> {
        let mut window = self.next(Vec::new());
        while !window.is_empty() {
            window = self.next(window);
        }
        self.of.0.lock().archives[self.at].end.take().unwrap_or(Ok(()))
    }

    /// The next window, empty at the end, for one that was read.
    fn next(&mut self, used: Vec<u8>) -> Vec<u8> {
        // One that has grown held a long header.
        let mut used = Some(used).filter(|used| (WINDOW..=2 * WINDOW).contains(&used.capacity()));
        self.of.0.when(|state| {
            if let Some(used) = used.take().filter(|_| state.spare.len() < SPARE) {
                state.spare.push(used);
            }
            let archive = &mut state.archives[self.at];
            if let Some(window) = archive.windows.pop_front() {
                state.waiting -= 1;
                return Some(window);
            }
            archive.end.is_some().then(Vec::new)
        })
    }
}

impl<T, E> Source for &mut Reader<'_, T, E> {
    fn fill(&mut self, buffer: &mut Vec<u8>) -> Result<(), LayerError> {
        *buffer = self.next(std::mem::take(buffer));
        Ok(())
    }

    /// Entries with holes, for which this counts, are refused before.
    fn consumed(&self) -> u64 {
        u64::MAX
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread;

    use super::*;

    /// Reads archives of these sizes, which threads give one after the other.
    fn read(sizes: &[usize], threads: usize) -> Vec<usize> {
        let ahead = Lookahead::<usize, usize>::new(sizes.len());
        let next = Mutex::new(0..sizes.len());
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(at) = { next.lock().unwrap().next() } {
                        let filler = ahead.filler(at);
                        filler.head(at);
                        let ended = filler.decompress(vec![7; sizes[at]].as_slice(), &Limits::default());
                        filler.end(ended.map_err(|_| at));
                    }
                });
            }
            let read = |at: usize| {
                let mut reader = ahead.reader(at);
                assert_eq!(reader.head(), Some(at));
                let (mut window, mut length) = (Vec::new(), 0);
                while {
                    (&mut &mut reader).fill(&mut window).unwrap();
                    !window.is_empty()
                } {
                    length += window.len();
                }
                reader.finish().unwrap();
                length
            };
            (0..sizes.len()).map(read).collect()
        })
    }

    #[test]
    fn archives_larger_than_all_windows_come_in_their_order() {
        let large = (WAITING + 9) * WINDOW;
        for threads in [1, 4] {
            let sizes = [3, 0, large, WINDOW, large + 1, 1, large];
            assert_eq!(read(&sizes, threads), sizes);
        }
    }

    #[test]
    fn what_was_not_read_is_passed_over_and_the_end_is_told() {
        let ahead = Lookahead::<(), &str>::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                for (at, end) in [Ok(()), Err("why")].into_iter().enumerate() {
                    let filler = ahead.filler(at);
                    filler.decompress(vec![0; 10 * WINDOW].as_slice(), &Limits::default()).unwrap();
                    filler.end(end);
                }
            });
            assert_eq!(ahead.reader(0).head(), None);
            assert_eq!(ahead.reader(0).finish(), Ok(()));
            assert_eq!(ahead.reader(1).finish(), Err("why"));
        });
    }

    #[test]
    fn threads_end_when_the_reader_stops() {
        let ahead = Lookahead::<(), ()>::new(2);
        thread::scope(|scope| {
            let filled = scope.spawn(|| {
                let endless = std::io::repeat(1).take(u64::MAX);
                let limits = Limits { bytes: u64::MAX, free: u64::MAX, ..Limits::default() };
                ahead.filler(1).decompress(endless, &limits)
            });
            ahead.stop();
            filled.join().unwrap().unwrap();
        });
        assert!(ahead.is_stopped());
    }
}
