//! Interposed calls that read a directory, for another order of its entries.
//!
//! The kernel keeps one state for a reader of a directory, the position of the open file, and returns with each entry the
//! position after it, to which programs can return (telldir(3)). Here the position is the number of entries that were
//! read. Init shares the descriptor with the process (`pidfd_getfd(2)`, Linux 5.6), reads the whole directory when the
//! process begins to, and keeps that listing for as long as the process reads.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{FileType, RawDir, SeekFrom};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::sys::SysError;
use crate::sys::process::shared_descriptor;
use crate::sys::ptrace::{self, Call};

/// Result of an interposed call.
#[derive(Debug)]
pub(super) enum Read {
    /// A result for the process: a number of bytes, or a negative errno.
    Given(i64),
    /// The kernel executes the call.
    Kernel,
    /// This kernel does not let init answer it.
    Failed(SysError),
}

/// Entry of a directory.
struct Entry {
    inode: u64,
    kind: u8,
    name: Vec<u8>,
}

/// Listing of a directory from when a process began to read it, last entry first.
struct Listing {
    /// Device and inode.
    identity: (u64, u64),
    entries: Vec<Entry>,
}

/// Maximum number of listings. A dropped one is read again, and is the same if the directory is.
const MAX_READ: usize = 1024;

/// Listings by process and descriptor.
#[derive(Default)]
pub(super) struct Directories {
    read: HashMap<(Pid, i32), Listing>,
}

impl Directories {
    /// Drops the listings of a process that ended.
    pub(super) fn forget(&mut self, pid: Pid) {
        self.read.retain(|(owner, _), _| *owner != pid);
    }

    /// Answers getdents(2) or getdents64(2).
    pub(super) fn entries(&mut self, pid: Pid, call: &Call, form: Form) -> Read {
        let Ok(number) = i32::try_from(call.arguments[0] & 0xffff_ffff) else { return Read::Kernel };
        let (process, descriptor) = match shared_descriptor(pid, number) {
            Ok(found) => found,
            Err(error) if error.is(Errno::BADF) || error.is(Errno::SRCH) => return Read::Kernel,
            Err(error) => return Read::Failed(error),
        };
        let place = (process, number);
        match self.serve(place, descriptor.as_fd(), pid, call, form) {
            Ok(length) => Read::Given(length),
            // For instance not a directory: the kernel reports it.
            Err(_) => Read::Kernel,
        }
    }

    fn serve(
        &mut self,
        place: (Pid, i32),
        directory: BorrowedFd<'_>,
        pid: Pid,
        call: &Call,
        form: Form,
    ) -> rustix::io::Result<i64> {
        let stat = rustix::fs::fstat(directory)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        let identity = (stat.st_dev, stat.st_ino);
        let position = rustix::fs::tell(directory)?;
        let is_known = self.read.get(&place).is_some_and(|listing| listing.identity == identity);
        if position == 0 || !is_known {
            let entries = whole(directory, position)?;
            if self.read.len() >= MAX_READ {
                self.read.clear();
            }
            self.read.insert(place, Listing { identity, entries });
        }
        let listing = &self.read[&place];
        let done = usize::try_from(position).unwrap_or(usize::MAX).min(listing.entries.len());
        let room = usize::try_from(call.arguments[2] & 0xffff_ffff).unwrap_or(0);
        let mut bytes = Vec::new();
        let mut served = done;
        for entry in &listing.entries[done..] {
            let Ok(record) = form.record(entry, served + 1) else { return Ok(-i64::from(libc::EOVERFLOW)) };
            if bytes.len() + record.len() > room {
                if served == done {
                    return Ok(-i64::from(libc::EINVAL));
                }
                break;
            }
            bytes.extend(record);
            served += 1;
        }
        if !bytes.is_empty() && !ptrace::write_memory(pid, call.arguments[1], &bytes) {
            return Ok(-i64::from(libc::EFAULT));
        }
        rustix::fs::seek(directory, SeekFrom::Start(u64::try_from(served).unwrap_or(0)))?;
        Ok(i64::try_from(bytes.len()).unwrap_or(0))
    }
}

/// Reads all entries, last one first, and restores the position.
fn whole(directory: BorrowedFd<'_>, position: u64) -> rustix::io::Result<Vec<Entry>> {
    rustix::fs::seek(directory, SeekFrom::Start(0))?;
    let mut buffer = vec![MaybeUninit::uninit(); 32 << 10];
    let mut reader = RawDir::new(directory, &mut buffer);
    let mut entries = Vec::new();
    let read = loop {
        match reader.next() {
            Some(Ok(entry)) => entries.push(Entry {
                inode: entry.ino(),
                kind: kind(entry.file_type()),
                name: entry.file_name().to_bytes().to_vec(),
            }),
            Some(Err(error)) => break Err(error),
            None => break Ok(()),
        }
    };
    rustix::fs::seek(directory, SeekFrom::Start(position))?;
    entries.reverse();
    read.map(|()| entries)
}

/// `DT_*`
fn kind(kind: FileType) -> u8 {
    match kind {
        FileType::RegularFile => libc::DT_REG,
        FileType::Directory => libc::DT_DIR,
        FileType::Symlink => libc::DT_LNK,
        FileType::Fifo => libc::DT_FIFO,
        FileType::Socket => libc::DT_SOCK,
        FileType::CharacterDevice => libc::DT_CHR,
        FileType::BlockDevice => libc::DT_BLK,
        FileType::Unknown => libc::DT_UNKNOWN,
    }
}

/// Layout of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `struct linux_dirent64`
    Wide,
    /// `struct linux_dirent` with words of this size.
    Old(usize),
}

impl Form {
    /// Encodes an entry after which the position is `next`.
    ///
    /// # Errors
    ///
    /// The inode does not fit into the old layout.
    fn record(self, entry: &Entry, next: usize) -> Result<Vec<u8>, Errno> {
        let next = u64::try_from(next).map_err(|_| Errno::OVERFLOW)?;
        let (word, before_name, after_name) = match self {
            Self::Wide => (8, 19, 1),
            // The type is the last byte.
            Self::Old(word) => (word, 2 * word + 2, 2),
        };
        let length = (before_name + entry.name.len() + after_name).next_multiple_of(word);
        if entry.inode.to_le_bytes()[word..].iter().any(|byte| *byte != 0) {
            return Err(Errno::OVERFLOW);
        }
        let mut record = Vec::with_capacity(length);
        record.extend_from_slice(&entry.inode.to_le_bytes()[..word]);
        record.extend_from_slice(&next.to_le_bytes()[..word]);
        record.extend_from_slice(&u16::try_from(length).map_err(|_| Errno::OVERFLOW)?.to_le_bytes());
        if self == Self::Wide {
            record.push(entry.kind);
        }
        record.extend_from_slice(&entry.name);
        record.resize(length, 0);
        if self != Self::Wide {
            record[length - 1] = entry.kind;
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_as_the_kernel_lays_them_out() {
        let entry = Entry { inode: 0x0102, kind: libc::DT_REG, name: b"name".to_vec() };
        let wide = Form::Wide.record(&entry, 7).unwrap();
        assert_eq!(wide, [&[2, 1, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 24, 0, 8][..], b"name\0"].concat());
        let old = Form::Old(8).record(&entry, 7).unwrap();
        assert_eq!(old, [&[2, 1, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 24, 0][..], b"name\0\x08"].concat());
        let narrow = Form::Old(4).record(&entry, 7).unwrap();
        assert_eq!(narrow, [&[2, 1, 0, 0, 7, 0, 0, 0, 16, 0][..], b"name\0\x08"].concat());
        let far = Entry { inode: 1 << 40, ..entry };
        assert_eq!(Form::Old(4).record(&far, 1), Err(Errno::OVERFLOW));
        assert!(Form::Old(8).record(&far, 1).is_ok());
    }

    #[test]
    fn a_directory_from_its_end() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..2000 {
            std::fs::write(dir.path().join(format!("a-name-of-some-length-{number}")), "").unwrap();
        }
        let file = std::fs::File::open(dir.path()).unwrap();
        let names = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>();
        let reversed = names(whole(file.as_fd(), 0).unwrap());
        let mut plain: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_encoded_bytes())
            .collect();
        plain.reverse();
        let shown: Vec<_> = reversed.iter().filter(|name| !name.starts_with(b".")).cloned().collect();
        assert_eq!((reversed.len(), shown), (2002, plain));
        // Not a directory: the position stays.
        let mut file = std::fs::File::open("/proc/self/stat").unwrap();
        std::io::Read::read_exact(&mut file, &mut [0; 3]).unwrap();
        assert_eq!(whole(file.as_fd(), 3).err(), Some(Errno::NOTDIR));
        assert_eq!(rustix::fs::tell(&file), Ok(3));
    }
}
