//! Zip archives, read strictly (PKWARE's APPNOTE 6.3).
//!
//! Readers differ in which of a zip's two tables of contents they use: the central directory, or the header before each
//! content. Here both must agree, contents must not overlap, and there must be no bytes between directory and end record.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};

use chrono::NaiveDate;
use flate2::Crc;
use flate2::read::DeflateDecoder;

use crate::layer::Limits;
use crate::source::UnpackError;

const END: u32 = 0x0605_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;
const END_LENGTH: usize = 22;
const CENTRAL_LENGTH: usize = 46;
const LOCAL_LENGTH: usize = 30;
/// Largest central directory, in bytes: 65535 entries with names of a kilobyte.
const MAX_DIRECTORY: u64 = 64 << 20;
/// Longest target of a link (Linux `PATH_MAX`).
const MAX_TARGET: u64 = 4096;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// Flags: sizes after the content; options of the compression; names in UTF-8.
const FLAGS: u16 = 1 << 3 | 1 << 1 | 1 << 2 | 1 << 11;
const SIZES_AFTER: u16 = 1 << 3;
/// The host system (Unix) whose modes are in the upper half of the attributes.
const UNIX: u8 = 3;
/// Extra fields: 64-bit sizes, another name in Unicode, times.
const ZIP64: u16 = 0x0001;
const UNICODE_NAME: u16 = 0x7075;
const TIMES: u16 = 0x5455;

/// The type of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Directory,
    File { program: bool },
    Symlink,
}

/// An entry, which both tables agree on.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) what: What,
    pub(super) mtime: i64,
    method: u16,
    flags: u16,
    crc: u32,
    stored: u64,
    size: u64,
    header: u64,
    /// Offset of its content.
    data: u64,
}

/// A zip archive with verified tables.
#[derive(Debug)]
pub(super) struct Zip {
    pub(super) entries: Vec<Entry>,
}

fn invalid<T>(why: impl Into<String>) -> Result<T, UnpackError> {
    Err(UnpackError::Zip(why.into()))
}

fn read_failed(source: io::Error) -> UnpackError {
    if source.kind() == io::ErrorKind::UnexpectedEof {
        return UnpackError::Zip("it ends early".into());
    }
    UnpackError::io("read", b"the archive")(source)
}

/// Reads little-endian numbers in sequence. The caller has checked the length.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], UnpackError> {
        let Some((bytes, rest)) = self.0.split_at_checked(length) else { return invalid("it ends early") };
        self.0 = rest;
        Ok(bytes)
    }

    fn u16(&mut self) -> Result<u16, UnpackError> {
        Ok(self.bytes(2)?.iter().rev().fold(0, |number, byte| number << 8 | u16::from(*byte)))
    }

    fn u32(&mut self) -> Result<u32, UnpackError> {
        Ok(self.bytes(4)?.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }
}

impl Zip {
    /// Reads both tables and compares them.
    pub(super) fn open(file: &mut File, limits: &Limits) -> Result<Self, UnpackError> {
        let length = file.seek(SeekFrom::End(0)).map_err(read_failed)?;
        let tail_at = length.saturating_sub(END_LENGTH as u64 + u64::from(u16::MAX));
        let tail = read(file, tail_at, length - tail_at)?;
        // The comment must end at the end of the file, so an end record inside a comment is not taken.
        let is_end = |at: &usize| {
            let rest = &tail[*at..];
            rest.len() >= END_LENGTH
                && rest[..4] == END.to_le_bytes()
                && usize::from(u16::from_le_bytes([rest[20], rest[21]])) == rest.len() - END_LENGTH
        };
        let ends: Vec<usize> = (0..tail.len()).filter(is_end).collect();
        let [end] = ends[..] else {
            return invalid(if ends.is_empty() { "it has no end" } else { "its end is ambiguous" });
        };
        let mut fields = Fields(&tail[end + 4..]);
        let (disk, first_disk) = (fields.u16()?, fields.u16()?);
        let (here, count) = (fields.u16()?, fields.u16()?);
        let (size, at) = (fields.u32()?, fields.u32()?);
        if count == u16::MAX || size == u32::MAX || at == u32::MAX {
            return invalid("zip64 is not supported");
        }
        if (disk, first_disk) != (0, 0) || here != count {
            return invalid("multi-part archives are not supported");
        }
        let (size, at) = (u64::from(size), u64::from(at));
        if at + size != tail_at + end as u64 {
            return invalid("its central directory is not right before its end record");
        }
        if size > MAX_DIRECTORY {
            return Err(UnpackError::Limit { what: "bytes of names in a zip", limit: MAX_DIRECTORY });
        }
        let directory = read(file, at, size)?;
        let mut fields = Fields(&directory);
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(central(&mut fields)?);
        }
        if !fields.0.is_empty() {
            return invalid("its central directory has more entries than stated");
        }
        for entry in &mut entries {
            local(file, entry, at)?;
        }
        let mut places: Vec<(u64, u64)> =
            entries.iter().map(|entry| (entry.header, entry.data + entry.stored)).collect();
        places.sort_unstable();
        if places.windows(2).any(|pair| pair[0].1 > pair[1].0) {
            return invalid("its contents overlap");
        }
        let (size, stored) = entries.iter().fold((0, 0), |sum, entry| (sum.0 + entry.size, sum.1 + entry.stored));
        limits.check_ratio(stored, size)?;
        Ok(Self { entries })
    }

    /// Writes the content of an entry, and verifies size and checksum.
    #[expect(clippy::unused_self, reason = "only who has read the tables may ask")]
    pub(super) fn content(&self, file: &mut File, entry: &Entry, to: &mut dyn Write) -> Result<(), UnpackError> {
        file.seek(SeekFrom::Start(entry.data)).map_err(read_failed)?;
        let stored = (&mut *file).take(entry.stored);
        let wrong = |why: &str| Err(UnpackError::entry(&entry.path, why));
        let (sum, used) = if entry.method == DEFLATED {
            let mut inflating = DeflateDecoder::new(stored);
            let sum = copy(&mut inflating, entry, to)?;
            (sum, inflating.total_in())
        } else {
            (copy(&mut { stored }, entry, to)?, entry.size)
        };
        if used != entry.stored {
            return wrong("its content ends early");
        }
        if sum.sum() != entry.crc {
            return wrong("its content is damaged");
        }
        Ok(())
    }

    /// The target of a link.
    pub(super) fn target(&self, file: &mut File, entry: &Entry) -> Result<Vec<u8>, UnpackError> {
        if entry.size > MAX_TARGET {
            return Err(UnpackError::entry(&entry.path, "its target is not a path"));
        }
        let mut target = Vec::new();
        self.content(file, entry, &mut target)?;
        Ok(target)
    }
}

/// Copies exactly the stated number of bytes.
fn copy(from: &mut dyn Read, entry: &Entry, to: &mut dyn Write) -> Result<Crc, UnpackError> {
    let mut sum = Crc::new();
    let mut buffer = vec![0; 64 << 10];
    let mut length = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.raw_os_error().is_some() => return Err(read_failed(error)),
            Err(error) => return Err(UnpackError::entry(&entry.path, format!("its content is damaged: {error}"))),
        };
        length += read as u64;
        if length > entry.size {
            break;
        }
        sum.update(&buffer[..read]);
        to.write_all(&buffer[..read]).map_err(UnpackError::io("write", &entry.path))?;
    }
    if length != entry.size {
        return Err(UnpackError::entry(&entry.path, "its content does not have the stated length"));
    }
    Ok(sum)
}

fn read(file: &mut File, at: u64, length: u64) -> Result<Vec<u8>, UnpackError> {
    file.seek(SeekFrom::Start(at)).map_err(read_failed)?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(read_failed)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { invalid("it ends early") }
}

/// Reads an entry of the central directory.
fn central(fields: &mut Fields<'_>) -> Result<Entry, UnpackError> {
    let mut head = Fields(fields.bytes(CENTRAL_LENGTH)?);
    if head.u32()? != CENTRAL {
        return invalid("its central directory has fewer entries than stated");
    }
    let [_, host] = head.u16()?.to_le_bytes();
    let _needed = head.u16()?;
    let (flags, method) = (head.u16()?, head.u16()?);
    let (time, date) = (head.u16()?, head.u16()?);
    let (crc, stored, size) = (head.u32()?, head.u32()?, head.u32()?);
    let (name, extra, comment) = (head.u16()?, head.u16()?, head.u16()?);
    let disk = head.u16()?;
    let _internal = head.u16()?;
    let (attributes, header) = (head.u32()?, head.u32()?);
    let path = fields.bytes(usize::from(name))?.to_vec();
    let extra = fields.bytes(usize::from(extra))?;
    fields.bytes(usize::from(comment))?;
    let refuse = |why: &str| Err(UnpackError::entry(&path, why));
    if flags & !FLAGS != 0 {
        return refuse("it is encrypted, or uses another unsupported feature");
    }
    if method != STORED && method != DEFLATED {
        return refuse("its compression is not deflate");
    }
    if stored == u32::MAX || size == u32::MAX || header == u32::MAX || disk != 0 {
        return refuse("it is part of a zip64 or multi-part archive, which are not supported");
    }
    // Some readers treat it as '/'.
    if path.is_empty() || path.contains(&b'\\') {
        return refuse("its name is empty or contains a backslash");
    }
    let (directory, mode) = (path.ends_with(b"/"), attributes >> 16);
    let what = match if host == UNIX { mode & 0o170_000 } else { 0 } {
        0 | 0o040_000 if directory => What::Directory,
        0 | 0o100_000 if !directory => What::File { program: host == UNIX && mode & 0o111 != 0 },
        0o120_000 if !directory => What::Symlink,
        _ => return refuse("it is not a file, directory or link"),
    };
    if what == What::Directory && size != 0 {
        return refuse("it is a directory with content");
    }
    let mut mtime = dos_time(date, time);
    for (id, field) in extras(extra)? {
        match id {
            ZIP64 => return refuse("it is part of a zip64 archive, which is not supported"),
            UNICODE_NAME if field.get(5..) != Some(path.as_slice()) => return refuse("it has two names"),
            TIMES if field.len() >= 5 && field[0] & 1 != 0 => {
                mtime = i64::from(i32::from_le_bytes([field[1], field[2], field[3], field[4]]));
            }
            _ => {}
        }
    }
    let (stored, size, header) = (u64::from(stored), u64::from(size), u64::from(header));
    Ok(Entry { path, what, mtime, method, flags, crc, stored, size, header, data: 0 })
}

/// Compares an entry with the header before its content, which must end before `end`.
fn local(file: &mut File, entry: &mut Entry, end: u64) -> Result<(), UnpackError> {
    let differs = |why: &str| Err(UnpackError::entry(&entry.path, format!("{why} in the two tables of the zip")));
    if entry.header + LOCAL_LENGTH as u64 > end {
        return differs("it is not at one place");
    }
    let head = read(file, entry.header, LOCAL_LENGTH as u64)?;
    let mut head = Fields(&head);
    if head.u32()? != LOCAL {
        return differs("it is not at one place");
    }
    let _needed = head.u16()?;
    if (head.u16()?, head.u16()?) != (entry.flags, entry.method) {
        return differs("it is not compressed alike");
    }
    let _time = head.u32()?;
    let sums = (head.u32()?, u64::from(head.u32()?), u64::from(head.u32()?));
    let later = entry.flags & SIZES_AFTER != 0 && sums == (0, 0, 0);
    if !later && sums != (entry.crc, entry.stored, entry.size) {
        return differs("it has not one size");
    }
    let (name, extra) = (u64::from(head.u16()?), u64::from(head.u16()?));
    if read(file, entry.header + LOCAL_LENGTH as u64, name)? != entry.path {
        return differs("it has not one name");
    }
    entry.data = entry.header + LOCAL_LENGTH as u64 + name + extra;
    if entry.data + entry.stored > end {
        return differs("its content does not fit");
    }
    Ok(())
}

/// The extra fields, with their ids.
fn extras(area: &[u8]) -> Result<Vec<(u16, &[u8])>, UnpackError> {
    let mut fields = Fields(area);
    let mut all = Vec::new();
    // Some tools pad with a few zeros.
    while fields.0.len() >= 4 {
        let (id, length) = (fields.u16()?, fields.u16()?);
        all.push((id, fields.bytes(usize::from(length))?));
    }
    Ok(all)
}

/// Converts a DOS time, which has no time zone, as UTC.
fn dos_time(date: u16, time: u16) -> i64 {
    let (date, time) = (u32::from(date), u32::from(time));
    let day = NaiveDate::from_ymd_opt(1980 + i32::try_from(date >> 9).unwrap_or(0), date >> 5 & 15, date & 31);
    let moment = day.and_then(|day| day.and_hms_opt(time >> 11, time >> 5 & 63, (time & 31) * 2));
    moment.map_or(0, |moment| moment.and_utc().timestamp())
}
