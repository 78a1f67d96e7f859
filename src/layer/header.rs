//! One entry of the tar, read strictly.
//!
//! `tar-core` parses; what is checked here is what it lets pass although other readers understand it
//! in another way (or refuse it), since such a tar shows one content to a scanner and another to us
//! (as in CVE-2025-62518): numbers with signs, leading NULs or more than 64 bits, PAX records
//! that do not parse, names given twice by different means, records of a size on entries that have no content.

use tar_core::parse::{Limits as TarLimits, ParseError, ParseEvent, ParsedEntry, Parser};
use tar_core::{EntryType, HEADER_SIZE, SparseEntry};

use crate::layer::Limits;
use crate::layer::pax;

/// An entry as the tar has it; its path is not checked yet.
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
    let extensions = Extensions::scan(window)?;
    if !extensions.repeated {
        return read(parser, window);
    }
    // The last of a kind counts, to GNU tar and to Go; tar-core would refuse the second.
    if let Some(length) = extensions.need {
        return Ok(Next::Need(length));
    }
    let mut kept = extensions.last_of_each_kind(window)?;
    let dropped = extensions.length - kept.len();
    let rest = &window[extensions.length..];
    let chain = kept.len();
    // Nearly always the header is all that is needed; the rest of the window may be long.
    for length in [HEADER_SIZE.min(rest.len()), rest.len()] {
        kept.truncate(chain);
        kept.extend_from_slice(&rest[..length]);
        match read(parser, &kept)? {
            Next::Need(_) if length < rest.len() => {}
            Next::Need(length) => return Ok(Next::Need(length + dropped)),
            Next::Entry(length, header) => return Ok(Next::Entry(length + dropped, header)),
            Next::Skip(length) => return Ok(Next::Skip(length + dropped)),
            Next::End(length) => return Ok(Next::End(length + dropped)),
        }
    }
    Err("its headers do not add up".into())
}

fn read(parser: &mut Parser, window: &[u8]) -> Result<Next, String> {
    match parser.parse(window) {
        Ok(event) => understand(event, window),
        // libarchive says in the header how long the content of a sparse file is, and how long map and content are in a
        // record, which counts to everybody; tar-core looks at the header.
        Err(error @ ParseError::InvalidPaxSparseMap(_)) => match with_size_of_record(window)? {
            Some(window) => understand(parser.parse(&window).map_err(|error| error.to_string())?, &window),
            None => Err(error.to_string()),
        },
        Err(error) => Err(error.to_string()),
    }
}

/// The same, where the header has the size that a record says; `None` where there is none.
fn with_size_of_record(window: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let extensions = Extensions::scan(window)?;
    let mut size = None;
    for (header, data) in extensions.each(window) {
        if header[156] == b'x' {
            let records = pax::records(data)?;
            size =
                records.iter().rfind(|(key, _)| *key == b"size").and_then(|(_, value)| pax::unsigned(value)).or(size);
        }
    }
    let (Some(size), None) = (size.and_then(|size| i64::try_from(size).ok()), extensions.need) else { return Ok(None) };
    let mut window = window.to_vec();
    let header = window.get_mut(extensions.length..).and_then(|rest| rest.first_chunk_mut::<HEADER_SIZE>());
    let Some(header) = header else { return Ok(None) };
    header[124..136].copy_from_slice(&[&[0x80, 0, 0, 0], &size.to_be_bytes()[..]].concat());
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(Some(window))
}

fn understand(event: ParseEvent<'_>, window: &[u8]) -> Result<Next, String> {
    match event {
        ParseEvent::NeedData { min_bytes } => Ok(Next::Need(min_bytes)),
        ParseEvent::End { consumed } => Ok(Next::End(consumed)),
        ParseEvent::GlobalExtensions { consumed, pax_data } => {
            let chain = Chain::read(&window[..consumed])?;
            if chain.extensions() {
                return Err("an extended header precedes a global one".into());
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
            let header = header(&Chain::read(&window[..consumed])?, &entry, None, 0)?;
            Ok(Next::Entry(consumed, Box::new(header)))
        }
        ParseEvent::SparseEntry { consumed, entry, sparse_map, real_size } => {
            let chain = Chain::read(&window[..consumed])?;
            // In version 1.0 the map stands before the content; here the parser has read it.
            let map = (consumed - chain.length) as u64;
            Ok(Next::Entry(consumed, Box::new(header(&chain, &entry, Some((real_size, sparse_map)), map)?)))
        }
    }
}

/// The map of a `sparse` file takes `map` bytes of what the tar has of it.
fn header(
    chain: &Chain,
    entry: &ParsedEntry<'_>,
    sparse: Option<(u64, Vec<SparseEntry>)>,
    map: u64,
) -> Result<Header, String> {
    let kind = match entry.entry_type {
        EntryType::Regular | EntryType::Continuous | EntryType::GnuSparse => Type::File,
        EntryType::Directory => Type::Directory,
        EntryType::Symlink => Type::Symlink,
        EntryType::Link => Type::Hardlink,
        EntryType::Char => Type::CharDevice,
        EntryType::Block => Type::BlockDevice,
        EntryType::Fifo => Type::Fifo,
        other => return Err(format!("unsupported entry type '{}'", [other.to_byte()].escape_ascii())),
    };
    // Before ustar a directory was a file whose name ends in '/', and GNU tar still reads that so.
    let kind = if kind == Type::File && entry.path.ends_with(b"/") { Type::Directory } else { kind };
    if i64::try_from(entry.size).is_err() {
        return Err("the size of a file is too large".into());
    }
    let records = pax::Records::read(entry.pax.unwrap_or_default())?;
    let mut stored = entry.size;
    if kind != Type::File && (entry.size != 0 || sparse.is_some()) {
        // Some writers give a hard link the size of its file. To Go's reader and libarchive's nothing that is not a file
        // has content, whatever its header says: the next header follows, or what is there is none. Readers differ where
        // a record says so, and where only a slash says that it is no file, but in tars of the 1970s.
        let by_type = !matches!(entry.entry_type, EntryType::Regular | EntryType::Continuous) || chain.kind == 0;
        if !by_type || records.size || sparse.is_some() {
            return Err("an entry that is not a file has a size".into());
        }
        stored = 0;
    }
    if (chain.long_name && records.path) || (chain.long_link && records.link) {
        return Err("a name is given both by GNU's and by POSIX's extension".into());
    }
    match &sparse {
        None if records.sparse => return Err("unsupported format of a sparse file".into()),
        Some(_) if records.size && entry.entry_type == EntryType::GnuSparse => {
            return Err("a sparse file of GNU's format has a POSIX size".into());
        }
        Some((length, pieces)) => {
            if records.size {
                // It includes the map, and tar-core gives it as it is.
                stored = stored.checked_sub(map).ok_or("the map of a sparse file is longer than the file")?;
            }
            check_map(*length, pieces, stored)?;
        }
        None => {}
    }
    let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or("an owner is out of range");
    // All readers take GNU's long names to end at a NUL.
    let name = |name: &[u8], long: bool| {
        let end = name.iter().position(|byte| long && *byte == 0);
        name[..end.unwrap_or(name.len())].to_vec()
    };
    Ok(Header {
        kind,
        path: name(&entry.path, chain.long_name),
        link: name(entry.link_target.as_deref().unwrap_or_default(), chain.long_link),
        mode: u16::try_from(entry.mode & 0o7777).unwrap_or(0),
        uid: id(entry.uid)?,
        gid: id(entry.gid)?,
        // tar-core keeps the low 64 bits of a base-256 number: two's complement.
        mtime: records.mtime.unwrap_or((chain.mtime, 0)),
        device: (entry.dev_major.unwrap_or(0), entry.dev_minor.unwrap_or(0)),
        xattrs: entry.xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
        stored,
        sparse,
    })
}

/// The extended headers at the start of a window.
struct Extensions {
    /// Their bytes; what follows is another header.
    length: usize,
    /// Whether there are two of a kind.
    repeated: bool,
    /// Bytes that must be there to tell.
    need: Option<usize>,
}

impl Extensions {
    /// Looks at the sizes of the headers before tar-core does, which adds them up and would overflow. A size is below
    /// 2^63 afterwards.
    fn scan(window: &[u8]) -> Result<Self, String> {
        let mut found = Self { length: 0, repeated: false, need: None };
        let mut seen = [false; 3];
        while let Some((header, after)) = window[found.length..].split_first_chunk::<HEADER_SIZE>() {
            let size = number(&header[124..136]).ok().and_then(|size| usize::try_from(size).ok());
            let size = size.ok_or("a size is not a number")?;
            let Some(kind) = Self::kind(header) else { return Ok(found) };
            found.repeated |= std::mem::replace(&mut seen[kind], true);
            let padded = size.next_multiple_of(HEADER_SIZE);
            if after.len() < padded {
                found.need = Some(found.length.saturating_add(padded).saturating_add(HEADER_SIZE));
                return Ok(found);
            }
            found.length += HEADER_SIZE + padded;
        }
        found.need = Some(found.length + HEADER_SIZE);
        Ok(found)
    }

    /// A number for each kind.
    fn kind(header: &[u8; HEADER_SIZE]) -> Option<usize> {
        b"LKx".iter().position(|kind| header[156] == *kind && header[257..].starts_with(b"ustar"))
    }

    /// Each that is whole, with its data.
    fn each<'a>(&self, window: &'a [u8]) -> impl Iterator<Item = (&'a [u8; HEADER_SIZE], &'a [u8])> {
        let mut rest = &window[..self.length];
        std::iter::from_fn(move || {
            let (header, after) = rest.split_first_chunk::<HEADER_SIZE>()?;
            let size = number(&header[124..136]).ok().and_then(|size| usize::try_from(size).ok())?;
            rest = after.get(size.next_multiple_of(HEADER_SIZE)..)?;
            Some((header, &after[..size]))
        })
    }

    /// Those that count. All of them are in the window, and valid, those too that do not count.
    fn last_of_each_kind(&self, window: &[u8]) -> Result<Vec<u8>, String> {
        let mut last: [Option<(&[u8; HEADER_SIZE], &[u8])>; 3] = [None; 3];
        for (header, data) in self.each(window) {
            tar_core::Header::from_bytes(header).verify_checksum().map_err(|error| error.to_string())?;
            if header[156] == b'x' {
                pax::Records::read(data)?;
            }
            if let Some(kind) = Self::kind(header) {
                last[kind] = Some((header, data));
            }
        }
        let mut kept = Vec::new();
        for (header, data) in last.into_iter().flatten() {
            kept.extend_from_slice(header);
            kept.extend_from_slice(data);
            kept.resize(kept.len().next_multiple_of(HEADER_SIZE), 0);
        }
        Ok(kept)
    }
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
    /// The type of the header proper, as it is there.
    kind: u8,
    mtime: i64,
    /// Bytes of all of them.
    length: usize,
}

impl Chain {
    fn extensions(&self) -> bool {
        self.long_name || self.long_link || self.pax
    }

    fn read(blocks: &[u8]) -> Result<Self, String> {
        let mut chain = Self { long_name: false, long_link: false, pax: false, kind: 0, mtime: 0, length: 0 };
        let mut rest = blocks;
        loop {
            let (header, after) = rest.split_first_chunk::<HEADER_SIZE>().ok_or("its headers do not add up")?;
            if header.iter().all(|byte| *byte == 0) {
                // GNU tar stops there, Go refuses.
                return Err("a single block of zeros precedes an entry".into());
            }
            let size = number(&header[124..136]).ok().and_then(|size| usize::try_from(size).ok());
            match (header[156], header[257..].starts_with(b"ustar")) {
                (b'L', true) => chain.long_name = true,
                (b'K', true) => chain.long_link = true,
                (b'x', true) => chain.pax = true,
                (b'g', _) => {
                    size.ok_or("a header's size is not a number")?;
                    chain.length = blocks.len() - after.len();
                    return Ok(chain);
                }
                _ => {
                    size.ok_or("the size is not a number")?;
                    for (field, name) in [(100..108, "mode"), (108..116, "owner"), (116..124, "group")] {
                        number(&header[field]).map_err(|()| format!("the {name} is not a number"))?;
                    }
                    // GNU's format has times where ustar has the start of a long path. Old writers in Go mixed the two,
                    // and Go alone takes that for a path.
                    if header[257..].starts_with(b"ustar ")
                        && [345..357, 357..369].map(|at| number(&header[at])).iter().any(Result::is_err)
                    {
                        return Err("a header of GNU's format has the prefix of another".into());
                    }
                    chain.kind = header[156];
                    chain.mtime = number(&header[136..148]).map_err(|()| "the time is not a number")?;
                    chain.length = blocks.len() - after.len();
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
