//! Positions in directories for 32-bit programs that a 64-bit emulator runs.
//!
//! With each entry of a directory the kernel returns the position after it (`d_off`), a number of 64 bits for a 64-bit
//! process; those of ext4 are hashes of names. A 32-bit program without large file support has 32 bits for it, and its C
//! library fails with EOVERFLOW if it does not fit. The kernel returns short positions to a 32-bit process, but not to
//! the emulator, which is a 64-bit process (<https://bugs.launchpad.net/qemu/+bug/1805913>). So init reads the directory
//! for it, and replaces positions that do not fit by *marks*:
//! - Init shares the open directory with the process (`pidfd_getfd(2)`, Linux 5.6), and with it the kernel's own
//!   position. A program that reads from the beginning to the end needs no marks, and init keeps no state for it.
//! - A mark is a number of 31 bits made of the position. A program that returns to one (telldir(3), seekdir(3)) sets the
//!   position of the directory to it. At the next read init finds the position again: among the last ones that it
//!   returned, or by reading the directory from its beginning. Memory is bounded, whatever the command reads.
//!
//! Init does this as a tracer: a call that the filter passes to a listener (`SECCOMP_RET_USER_NOTIF`) can be interrupted
//! by a signal before init receives it. readdir(3) would then fail with EINTR, which no kernel returns and no program
//! expects.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use rustix::process::Pid;

use super::directory::Read;
use crate::sys::file::read_directory;
use crate::sys::process::shared_descriptor;
use crate::sys::ptrace::{Call, write_memory};

/// First mark. The last one is the greatest position of 32-bit programs (`0x7fff_ffff`).
const MARKS: u64 = 0x4000_0000;
/// Bits in which marks differ.
const BITS: u64 = MARKS - 1;
/// Size of a read in bytes: as C libraries have it.
const ROOM: usize = 32 << 10;
/// Number of positions that are kept: 192 KiB in all.
const REMEMBERED: usize = 8192;
/// Offsets in `struct linux_dirent64`: the position, the length of the record, the name.
const POSITION: usize = 8;
const LENGTH: usize = 16;
const NAME: usize = 19;

/// A position that was replaced by a mark.
#[derive(Debug, Clone, Copy)]
struct Given {
    /// Device and inode of the directory.
    directory: (u64, u64),
    position: u64,
}

/// Reads directories for the command.
pub(super) struct Positions {
    buffer: Vec<u8>,
    /// The last [`REMEMBERED`] positions, the newest at the end.
    given: VecDeque<Given>,
}

impl Positions {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; ROOM], given: VecDeque::new() }
    }

    /// Answers getdents64(2).
    pub(super) fn entries(&mut self, pid: Pid, call: &Call) -> Read {
        let Ok(number) = i32::try_from(call.arguments[0] & 0xffff_ffff) else { return Read::Kernel };
        let Ok((_, directory)) = shared_descriptor(pid, number) else { return Read::Kernel };
        // A file without a position is not a directory, which the kernel reports.
        let Ok(before) = rustix::fs::tell(&directory) else { return Read::Kernel };
        let room = usize::try_from(call.arguments[2] & 0xffff_ffff).unwrap_or(0).min(ROOM);
        let read = match self.next(directory.as_fd(), before, room) {
            Ok(length) if length == 0 || write_memory(pid, call.arguments[1], &self.buffer[..length]) => {
                return Read::Given(i64::try_from(length).unwrap_or(0));
            }
            Ok(_) => Read::Given(-i64::from(libc::EFAULT)),
            Err(Errno::NOTDIR | Errno::BADF) => Read::Kernel,
            Err(errno) => Read::Given(-i64::from(errno.raw_os_error())),
        };
        // Nothing was read.
        let _ = rustix::fs::seek(&directory, SeekFrom::Start(before));
        read
    }

    /// Reads the next entries of a directory at the position `before` into the buffer, and returns their size.
    fn next(&mut self, directory: BorrowedFd<'_>, before: u64, room: usize) -> Result<usize, Errno> {
        if is_mark(before) {
            let position = self.find(directory, before)?;
            rustix::fs::seek(directory, SeekFrom::Start(position))?;
        }
        let length = read(directory, &mut self.buffer[..room])?;
        self.shorten(directory, length)?;
        // A position that looks like a mark must be one, for instance that of the end, which belongs to no entry.
        let after = rustix::fs::tell(directory)?;
        if is_mark(after) {
            let mark = self.give(identity(directory)?, after);
            rustix::fs::seek(directory, SeekFrom::Start(mark))?;
        }
        Ok(length)
    }

    /// Replaces long positions by marks in the first `length` bytes of the buffer.
    fn shorten(&mut self, directory: BorrowedFd<'_>, length: usize) -> Result<(), Errno> {
        let (mut identity, mut at) = (None, 0);
        while let Some((position, next)) = record(&self.buffer[..length], at) {
            if position >= MARKS {
                let directory = match identity {
                    Some(identity) => identity,
                    None => *identity.insert(self::identity(directory)?),
                };
                let mark = self.give(directory, position);
                self.buffer[at + POSITION..at + LENGTH].copy_from_slice(&mark.to_le_bytes());
            }
            at = next;
        }
        Ok(())
    }

    /// Keeps a position and returns its mark.
    fn give(&mut self, directory: (u64, u64), position: u64) -> u64 {
        if self.given.len() >= REMEMBERED {
            self.given.pop_front();
        }
        self.given.push_back(Given { directory, position });
        mark(position)
    }

    /// Finds the position of a mark.
    ///
    /// # Errors
    ///
    /// ESTALE if there is none: the entry after it was removed, and the position is not kept. Not ENOENT, which C
    /// libraries take for the end.
    fn find(&mut self, directory: BorrowedFd<'_>, wanted: u64) -> Result<u64, Errno> {
        let identity = identity(directory)?;
        let is_wanted = |given: &&Given| given.directory == identity && mark(given.position) == wanted;
        if let Some(given) = self.given.iter().rev().find(is_wanted) {
            return Ok(given.position);
        }
        rustix::fs::seek(directory, SeekFrom::Start(0))?;
        loop {
            let length = read(directory, &mut self.buffer)?;
            if length == 0 {
                // Some file systems have a position for the end.
                let end = rustix::fs::tell(directory)?;
                return if mark(end) == wanted { Ok(end) } else { Err(Errno::STALE) };
            }
            let mut at = 0;
            while let Some((position, next)) = record(&self.buffer[..length], at) {
                if position >= MARKS && mark(position) == wanted {
                    return Ok(position);
                }
                at = next;
            }
        }
    }
}

fn is_mark(position: u64) -> bool {
    (MARKS..=MARKS | BITS).contains(&position)
}

/// Mark of a position: its bits are mixed, as file systems use them in different ways (the finalizer of `MurmurHash3`).
fn mark(position: u64) -> u64 {
    let mut bits = position;
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53_u64] {
        bits = (bits ^ (bits >> 33)).wrapping_mul(factor);
    }
    MARKS | ((bits ^ (bits >> 33)) & BITS)
}

fn identity(directory: BorrowedFd<'_>) -> Result<(u64, u64), Errno> {
    let stat = rustix::fs::fstat(directory)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Position in the record at `at`, and the offset of the next record; nothing at the end.
fn record(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let record = bytes.get(at..).filter(|rest| rest.len() > NAME)?;
    let position = u64::from_le_bytes(record[POSITION..LENGTH].try_into().ok()?);
    let length = usize::from(u16::from_le_bytes([record[LENGTH], record[LENGTH + 1]]));
    (length > NAME && length <= record.len()).then_some((position, at + length))
}

fn read(directory: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    read_directory(directory, buffer).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs::File;

    use super::*;

    /// Records as the kernel writes them, of files with these positions.
    fn records(positions: &[u64]) -> Vec<u8> {
        let record = |position: &u64| {
            let mut record = vec![0; 24];
            record[POSITION..LENGTH].copy_from_slice(&position.to_le_bytes());
            record[LENGTH] = 24;
            record[NAME] = b'x';
            record
        };
        positions.iter().flat_map(record).collect()
    }

    fn positions_in(bytes: &[u8]) -> Vec<u64> {
        let mut at = 0;
        std::iter::from_fn(|| {
            let (position, next) = record(bytes, at)?;
            at = next;
            Some(position)
        })
        .collect()
    }

    fn shortened(positions: &mut Positions, directory: &File, long: &[u64]) -> Vec<u64> {
        let bytes = records(long);
        positions.buffer[..bytes.len()].copy_from_slice(&bytes);
        positions.shorten(directory.as_fd(), bytes.len()).unwrap();
        positions_in(&positions.buffer[..bytes.len()])
    }

    #[test]
    fn long_positions_become_marks() {
        let (dir, mut positions) = (tempfile::tempdir().unwrap(), Positions::new());
        let directory = File::open(dir.path()).unwrap();
        // A short position stays, and is not kept.
        assert_eq!(shortened(&mut positions, &directory, &[1, 2, MARKS - 1]), [1, 2, MARKS - 1]);
        assert!(positions.given.is_empty());
        // Those of ext4, the last ones of btrfs and ext4, and one that looks like a mark.
        let long = [0x1efc_e248_700a_9a17, 0x7fff_ffff_ffff_ffff, MARKS, 1 << 32];
        let marks = shortened(&mut positions, &directory, &long);
        assert!(marks.iter().all(|mark| is_mark(*mark)), "{marks:x?}");
        assert_eq!(marks.iter().collect::<BTreeSet<_>>().len(), 4);
        for (mark, long) in marks.iter().zip(long) {
            assert_eq!(positions.find(directory.as_fd(), *mark), Ok(long));
        }
        // Another directory has its own.
        let other = tempfile::tempdir().unwrap();
        let other = File::open(other.path()).unwrap();
        assert_eq!(positions.find(other.as_fd(), marks[0]), Err(Errno::STALE));
    }

    #[test]
    fn memory_is_bounded() {
        let (dir, mut positions) = (tempfile::tempdir().unwrap(), Positions::new());
        let directory = File::open(dir.path()).unwrap();
        for batch in 1..200 {
            let long: Vec<u64> = (0..1000).map(|number| (batch << 40) + number).collect();
            shortened(&mut positions, &directory, &long);
        }
        assert_eq!((positions.given.len(), positions.buffer.len()), (REMEMBERED, ROOM));
        // The first ones were dropped, and this directory has no such entry.
        assert_eq!(positions.find(directory.as_fd(), mark(1 << 40)), Err(Errno::STALE));
    }

    #[test]
    fn records_that_are_none_end_the_reading() {
        let whole = records(&[7]);
        assert_eq!(record(&whole, 0), Some((7, 24)));
        for length in 0..whole.len() {
            assert_eq!(record(&whole[..length], 0), None, "{length}");
        }
        assert_eq!((record(&whole, 24), record(&whole, usize::MAX)), (None, None));
        for length in [0, 19, 25, 255] {
            let mut odd = whole.clone();
            odd[LENGTH] = length;
            assert_eq!(record(&odd, 0), None, "{length}");
        }
    }

    /// On a file system with long positions this uses marks.
    #[test]
    fn a_directory_is_read_once_and_from_any_position() {
        let (dir, mut positions) = (tempfile::tempdir().unwrap(), Positions::new());
        for number in 0..3000 {
            std::fs::write(dir.path().join(number.to_string()), "").unwrap();
        }
        let directory = File::open(dir.path()).unwrap();
        let names = |bytes: &[u8]| {
            let mut at = 0;
            let next = || {
                let (_, next) = record(bytes, at)?;
                let name = bytes[at + NAME..next].split(|byte| *byte == 0).next().map(<[u8]>::to_vec);
                at = next;
                name
            };
            std::iter::from_fn(next).collect::<Vec<_>>()
        };
        let read = |positions: &mut Positions| {
            let before = rustix::fs::tell(&directory).unwrap();
            let length = positions.next(directory.as_fd(), before, 1000).unwrap();
            positions.buffer[..length].to_vec()
        };
        let mut batches = Vec::new();
        loop {
            match read(&mut positions) {
                batch if batch.is_empty() => break,
                batch => batches.push(batch),
            }
        }
        // At the end the position stays, whatever the file system has for that.
        assert!((0..3).all(|_| read(&mut positions).is_empty()));
        let all: Vec<_> = batches.iter().flat_map(|batch| names(batch)).collect();
        assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (3002, 3002));
        for forgotten in [false, true] {
            if forgotten {
                positions.given.clear();
            }
            for at in [0, batches.len() / 2, batches.len() - 2] {
                let position = *positions_in(&batches[at]).last().unwrap();
                assert!(i32::try_from(position).is_ok(), "{position:x}");
                rustix::fs::seek(&directory, SeekFrom::Start(position)).unwrap();
                assert_eq!(names(&read(&mut positions)), names(&batches[at + 1]), "{at}");
            }
        }
    }
}
