//! One entry of the tar, read strictly.
//!
//! `tar-core` parses; what is checked here is what it lets pass although other readers understand it
//! in another way (or refuse it), since such a tar shows one content to a scanner and another to us
//! (CVE-2025-62518 and its kin): numbers with signs, leading NULs or more than 64 bits, PAX records
//! that do not parse, names given twice by different means, sizes on entries that have no content.

use tar_core::parse::{Limits as TarLimits, ParseEvent, ParsedEntry, Parser};
use tar_core::{EntryType, HEADER_SIZE, SparseEntry};

use crate::layer::Limits;
use crate::layer::pax;

/// An entry as the tar tells it; the path is not yet looked at.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) kind: Type,
    pub(crate) path: Vec<u8>,
    /// Target of a hard link or symlink.
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: (i64, u32),
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of content in the tar, without padding.
    pub(crate) stored: u64,
    /// Length of the file, and where in it the content goes. `None`: from the start to the end.
    pub(crate) sparse: Option<(u64, Vec<SparseEntry>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    File,
    Directory,
    Symlink,
    Hardlink,
    CharDevice,
    BlockDevice,
    Fifo,
}

/// What stands next in the tar.
pub(super) enum Next {
    /// This many bytes must be there to tell.
    Need(usize),
    /// An entry, whose header is this long.
    Entry(usize, Box<Header>),
    /// Something of this length that is no entry.
    Skip(usize),
    /// The end, of this length.
    End(usize),
}

pub(super) fn parser(limits: &Limits) -> Parser {
    let mut parser = Parser::new(TarLimits {
        max_metadata_size: limits.metadata,
        max_path_len: Some(limits.path),
        ..TarLimits::default()
    });
    // Or a time before 1970 is an error. Everything else this lets pass, `pax` refuses.
    parser.set_ignore_pax_errors(true);
    parser
}

/// Reads what stands at the start of `window`.
pub(super) fn next(parser: &mut Parser, window: &[u8]) -> Result<Next, String> {
    check_sizes(window)?;
    let event = parser.parse(window).map_err(|error| error.to_string())?;
    match event {
        ParseEvent::NeedData { min_bytes } => Ok(Next::Need(min_bytes)),
        ParseEvent::End { consumed } => Ok(Next::End(consumed)),
        ParseEvent::GlobalExtensions { consumed, pax_data } => {
            let chain = Chain::read(&window[..consumed])?;
            if chain.extensions() {
                return Err("an extended header stands before a global one".into());
            }
            // Docker and containerd ignore global records; these would change what the entries are.
            for (key, _) in pax::records(pax_data)? {
                if matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse.") {
                    return Err(format!("a global header sets '{}'", key.escape_ascii()));
                }
            }
            Ok(Next::Skip(consumed))
        }
        ParseEvent::Entry { consumed, entry } => {
            let header = header(&Chain::read(&window[..consumed])?, &entry, None)?;
            Ok(Next::Entry(consumed, Box::new(header)))
        }
        ParseEvent::SparseEntry { consumed, entry, sparse_map, real_size } => {
            let chain = Chain::read(&window[..consumed])?;
            Ok(Next::Entry(consumed, Box::new(header(&chain, &entry, Some((real_size, sparse_map)))?)))
        }
    }
}

fn header(chain: &Chain, entry: &ParsedEntry<'_>, sparse: Option<(u64, Vec<SparseEntry>)>) -> Result<Header, String> {
    let kind = match entry.entry_type {
        EntryType::Regular | EntryType::Continuous | EntryType::GnuSparse => Type::File,
        EntryType::Directory => Type::Directory,
        EntryType::Symlink => Type::Symlink,
        EntryType::Link => Type::Hardlink,
        EntryType::Char => Type::CharDevice,
        EntryType::Block => Type::BlockDevice,
        EntryType::Fifo => Type::Fifo,
        other => return Err(format!("entries of type '{}' are not understood", [other.to_byte()].escape_ascii())),
    };
    // Before ustar a directory was a file whose name ends in '/', and GNU tar still reads that so.
    let kind = if kind == Type::File && entry.path.ends_with(b"/") { Type::Directory } else { kind };
    if i64::try_from(entry.size).is_err() {
        return Err("a file is larger than any file".into());
    }
    if kind != Type::File && (entry.size != 0 || sparse.is_some()) {
        return Err("something that is not a file has a size".into());
    }
    let records = pax::Records::read(entry.pax.unwrap_or_default())?;
    if (chain.long_name && records.path) || (chain.long_link && records.link) {
        return Err("a name is given both by GNU's and by POSIX's extension".into());
    }
    match &sparse {
        None if records.sparse => return Err("the sparse file's format is not understood".into()),
        // tar-core would take it for the length after the map in version 1.0.
        Some(_) if records.size => return Err("a sparse file has a POSIX size".into()),
        Some((length, map)) => check_map(*length, map, entry.size)?,
        None => {}
    }
    let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or("an owner is out of range");
    Ok(Header {
        kind,
        path: entry.path.to_vec(),
        link: entry.link_target.as_deref().unwrap_or_default().to_vec(),
        mode: u16::try_from(entry.mode & 0o7777).unwrap_or(0),
        uid: id(entry.uid)?,
        gid: id(entry.gid)?,
        // tar-core keeps the low 64 bits of a base-256 number: two's complement.
        mtime: records.mtime.unwrap_or((chain.mtime, 0)),
        device: (entry.dev_major.unwrap_or(0), entry.dev_minor.unwrap_or(0)),
        xattrs: entry.xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
        stored: entry.size,
        sparse,
    })
}

/// Looks at the sizes of the headers in `window` before tar-core does, which adds them up and would
/// overflow. A size is below 2^63 afterwards.
fn check_sizes(window: &[u8]) -> Result<(), String> {
    let mut rest = window;
    while let Some((header, after)) = rest.split_first_chunk::<HEADER_SIZE>() {
        let size = number(&header[124..136]).ok().and_then(|size| usize::try_from(size).ok());
        let size = size.ok_or("a size is not a number")?;
        match after.get(size.next_multiple_of(HEADER_SIZE)..) {
            Some(next) if matches!(header[156], b'L' | b'K' | b'x') => rest = next,
            _ => break,
        }
    }
    Ok(())
}

fn check_map(length: u64, map: &[SparseEntry], stored: u64) -> Result<(), String> {
    let (mut end, mut sum) = (0_u64, 0_u64);
    for piece in map {
        let next = piece.offset.checked_add(piece.length).filter(|next| *next <= length && piece.offset >= end);
        end = next.ok_or("the map of a sparse file is out of order")?;
        sum += piece.length;
    }
    if sum == stored { Ok(()) } else { Err("the map of a sparse file does not fit its content".into()) }
}

/// The raw blocks of one entry: extended headers, then the header proper.
struct Chain {
    long_name: bool,
    long_link: bool,
    pax: bool,
    mtime: i64,
}

impl Chain {
    fn extensions(&self) -> bool {
        self.long_name || self.long_link || self.pax
    }

    fn read(blocks: &[u8]) -> Result<Self, String> {
        let mut chain = Self { long_name: false, long_link: false, pax: false, mtime: 0 };
        let mut rest = blocks;
        loop {
            let (header, after) = rest.split_first_chunk::<HEADER_SIZE>().ok_or("its headers do not add up")?;
            if header.iter().all(|byte| *byte == 0) {
                // GNU tar stops there, Go refuses.
                return Err("a lone block of zeros stands before an entry".into());
            }
            let size = number(&header[124..136]).ok().and_then(|size| usize::try_from(size).ok());
            match (header[156], header[257..].starts_with(b"ustar")) {
                (b'L', true) => chain.long_name = true,
                (b'K', true) => chain.long_link = true,
                (b'x', true) => chain.pax = true,
                (b'g', _) => {
                    size.ok_or("a header's size is not a number")?;
                    return Ok(chain);
                }
                _ => {
                    size.ok_or("the size is not a number")?;
                    for (field, name) in [(100..108, "mode"), (108..116, "owner"), (116..124, "group")] {
                        number(&header[field]).map_err(|()| format!("the {name} is not a number"))?;
                    }
                    chain.mtime = number(&header[136..148]).map_err(|()| "the time is not a number")?;
                    return Ok(chain);
                }
            }
            let padded = size.ok_or("a header's size is not a number")?.next_multiple_of(HEADER_SIZE);
            rest = after.get(padded..).ok_or("its headers do not add up")?;
        }
    }
}

/// A number as every reader reads it: blanks, octal digits, then blanks or NULs to the end; or GNU's
/// base 256, if it fits 64 bits. tar-core shifts greater ones out on the left.
fn number(field: &[u8]) -> Result<i64, ()> {
    if field[0] & 0x80 != 0 {
        let negative = match field[0] {
            0x80 => false,
            0xff => true,
            _ => return Err(()),
        };
        let (high, low) = field[1..].split_at(field.len().saturating_sub(9));
        if high.iter().any(|byte| *byte != if negative { 0xff } else { 0 }) {
            return Err(());
        }
        let value = low.iter().fold(if negative { -1_i64 } else { 0 }, |value, byte| value << 8 | i64::from(*byte));
        return if (value < 0) == negative { Ok(value) } else { Err(()) };
    }
    let start = field.iter().position(|byte| *byte != b' ').unwrap_or(field.len());
    let digits = field[start..].iter().take_while(|byte| (b'0'..=b'7').contains(*byte)).count();
    if field[start + digits..].iter().any(|byte| !matches!(byte, b' ' | 0)) {
        return Err(());
    }
    field[start..start + digits].iter().try_fold(0_i64, |value, byte| {
        value.checked_mul(8).and_then(|value| value.checked_add(i64::from(byte - b'0'))).ok_or(())
    })
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers() {
        for (field, value) in [
            (&b"0000644\0"[..], Ok(0o644)),
            (b"   644 \0", Ok(0o644)),
            (b"\0\0\0\0\0\0\0\0", Ok(0)),
            (b"        ", Ok(0)),
            (b"77777777", Ok(0o77_777_777)),
            (b"\x80\0\0\0\0\0\x01\x02", Ok(0x102)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Ok(-1)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\x02", Ok(0x102)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Ok(-2)),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\x05", Err(())),
            (b"\x80\0\0\0\xff\0\0\0\0\0\0\x05", Err(())),
            (b"\xff\0\0\0\0\0\0\0\0\0\0\x05", Err(())),
            (b"\x81\0\0\0\0\0\x01\x02", Err(())),
            (b"+0000644", Err(())),
            (b"-0000644", Err(())),
            (b"\x000000644", Err(())),
            (b"00 00644", Err(())),
            (b"0000\x00644", Err(())),
            (b"0000689\0", Err(())),
        ] {
            assert_eq!(number(field), value, "{}", field.escape_ascii());
        }
    }
}
