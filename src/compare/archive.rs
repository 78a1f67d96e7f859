//! `ar` archives compared member by member, both read from front to end at once, so that every byte is accounted for and
//! nothing is kept but where members begin.
//!
//! The format is that of GNU ar: a header of 60 bytes before each member, a table of symbols called `/` or `/SYM64/` that
//! says where the member of each symbol begins, and one of long names called `//`.

use std::io;

use crate::compare::content::{Part, first_difference};
use crate::compare::diff::{Detail, Difference, MAX_DETAILS, Side, Verdict, text};
use crate::compare::elf;

pub(super) const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;
/// Most members that are compared; the largest libraries have some ten thousand.
const MAX_MEMBERS: usize = 1_000_000;
/// Longest name shown.
const MAX_NAME: u64 = 256;

/// A member: its header, and what follows.
#[derive(Clone, Copy)]
struct Member<'a> {
    header: [u8; HEADER],
    /// Where the header is.
    offset: u64,
    content: Part<'a>,
}

impl<'a> Member<'a> {
    /// The member whose header is at `offset`; `None` if there is no complete one.
    fn at(archive: Part<'a>, offset: u64) -> io::Result<Option<Self>> {
        let mut header = [0; HEADER];
        if archive.read(offset, &mut header)? < header.len() || &header[58..] != b"`\n" {
            return Ok(None);
        }
        let written = str::from_utf8(&header[48..58]).unwrap_or_default();
        let size = written.trim_end_matches(' ').parse::<u64>().ok();
        // In one way only, since the field itself is not compared.
        let size = size.filter(|size| format!("{size:<10}") == written);
        let content = size.and_then(|size| archive.part(offset + HEADER as u64, size));
        Ok(content.map(|content| Self { header, offset, content }))
    }

    /// Where the next one begins: at an even offset.
    fn next(&self) -> u64 {
        let end = self.offset + HEADER as u64 + self.content.size;
        end + end % 2
    }

    /// The field of the header as it stands there.
    fn field(&self, field: std::ops::Range<usize>) -> &[u8] {
        self.header[field].trim_ascii_end()
    }

    fn is_symbol_table(&self) -> Option<Width> {
        match self.field(0..16) {
            b"/" => Some(Width::Four),
            b"/SYM64/" => Some(Width::Eight),
            _ => None,
        }
    }

    /// Its name, which may be in the table of long ones.
    fn name(&self, names: Option<Part>) -> io::Result<String> {
        let field = self.field(0..16);
        let number = |digits: &[u8]| str::from_utf8(digits).ok()?.parse::<u64>().ok();
        let long = match field {
            [b'/', digits @ ..] => {
                number(digits).and_then(|at| names?.part(at, MAX_NAME.min(names?.size.checked_sub(at)?)))
            }
            [b'#', b'1', b'/', digits @ ..] => number(digits).and_then(|size| self.content.part(0, size.min(MAX_NAME))),
            _ => None,
        };
        let bytes = long.map(|part| part.bytes(MAX_NAME)).transpose()?;
        let name = bytes.as_deref().unwrap_or(field);
        let name = name.split(|byte| matches!(byte, b'\n' | 0)).next().unwrap_or_default();
        Ok(text(name.strip_suffix(b"/").filter(|short| !short.is_empty()).unwrap_or(name)))
    }
}

/// Size of the numbers in a table of symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Four = 4,
    Eight = 8,
}

/// What differs between two archives whose contents do, and how much that is; `None` where one of them is damaged.
pub(super) fn compare(first: Part, second: Part) -> io::Result<Option<(Verdict, Vec<Detail>)>> {
    let archives = [first, second];
    let mut at = [MAGIC.len() as u64; 2];
    let mut names: [Option<Part>; 2] = [None; 2];
    let mut tables = None;
    let mut begin: Vec<(u64, u64)> = Vec::new();
    let mut found = Found { verdict: Verdict::Same, details: Vec::new() };
    loop {
        let ended = [0, 1].map(|side| at[side] >= archives[side].size);
        if ended == [true; 2] {
            break;
        }
        let mut members = [None; 2];
        for side in [0, 1] {
            if !ended[side] {
                members[side] = Member::at(archives[side], at[side])?;
                if members[side].is_none() {
                    return Ok(None);
                }
            }
        }
        let [Some(one), Some(other)] = members else {
            let side = if ended[1] { Side::First } else { Side::Second };
            let member = members.iter().flatten().next().map(|member| member.name(names[side.index()])).transpose()?;
            found.add(&member.unwrap_or_default(), Difference::MemberOnlyIn { side });
            break;
        };
        if begin.len() >= MAX_MEMBERS || pad(archives[0], &one)? != pad(archives[1], &other)? {
            return Ok(None);
        }
        begin.push((one.offset, other.offset));
        at = [one.next(), other.next()];
        let [here, there] = [one.name(names[0])?, other.name(names[1])?];
        if one.field(0..16) == b"//" {
            names = [Some(one.content), Some(other.content)];
        }
        if here != there {
            found.add(&here, Difference::Member { field: "name", first: here.clone(), second: there });
            break;
        }
        for (field, range) in
            [("name", 0..16), ("time", 16..28), ("owner", 28..34), ("group", 34..40), ("mode", 40..48)]
        {
            if one.header[range.clone()] != other.header[range.clone()] {
                let [first, second] = [&one, &other].map(|member| text(member.field(range.clone())));
                found.add(&here, Difference::Member { field, first, second });
            }
        }
        match (one.is_symbol_table(), other.is_symbol_table()) {
            (Some(width), Some(twin)) if width == twin && tables.is_none() => {
                tables = Some((width, one.content, other.content));
            }
            _ => member(&here, one.content, other.content, &mut found)?,
        }
    }
    if let Some((width, one, other)) = tables
        && !same_symbols(width, one, other, &begin)?
    {
        found.add("/", Difference::SymbolTable);
    }
    // Contents differ, so what was found nothing in was not understood.
    Ok((found.verdict != Verdict::Same).then_some((found.verdict, found.details)))
}

struct Found {
    verdict: Verdict,
    details: Vec<Detail>,
}

impl Found {
    fn add(&mut self, member: &str, difference: Difference) {
        self.verdict = Verdict::Differs;
        self.push(member, difference);
    }

    fn push(&mut self, member: &str, difference: Difference) {
        // One more than are shown says that there are more.
        if self.details.len() <= MAX_DETAILS {
            self.details.push(Detail { member: Some(member.to_owned()), difference });
        }
    }
}

/// The byte after a member of odd size.
fn pad(archive: Part, member: &Member) -> io::Result<Option<u8>> {
    let end = member.offset + HEADER as u64 + member.content.size;
    let mut byte = [0];
    Ok((end % 2 == 1 && archive.read(end, &mut byte)? == 1 && byte[0] != b'\n').then_some(byte[0]))
}

fn member(name: &str, one: Part, other: Part, found: &mut Found) -> io::Result<()> {
    let Some(offset) = first_difference(one, other)? else { return Ok(()) };
    match elf::compare(one, other)? {
        Some(differences) if !differences.is_empty() => {
            found.verdict = found.verdict.max(elf::verdict(&differences));
            for difference in differences {
                found.push(name, difference);
            }
        }
        _ => found.add(name, Difference::Content { offset, first: one.size, second: other.size }),
    }
    Ok(())
}

/// Whether two tables name the same symbols of the same members, each given by where it begins: `begin` has the places
/// of both archives, in order.
fn same_symbols(width: Width, one: Part, other: Part, begin: &[(u64, u64)]) -> io::Result<bool> {
    let size = width as u64;
    let number = |part: Part, index: u64| -> io::Result<Option<u64>> {
        let mut bytes = [0; 8];
        let length = width as usize;
        let read = part.read(index * size, &mut bytes[8 - length..])?;
        Ok((read == length).then(|| u64::from_be_bytes(bytes)))
    };
    let (Some(count), Some(others)) = (number(one, 0)?, number(other, 0)?) else { return Ok(false) };
    let end = count.checked_add(1).and_then(|numbers| numbers.checked_mul(size)).filter(|end| *end <= one.size);
    let Some(end) = end.filter(|_| count == others && one.size == other.size) else { return Ok(false) };
    for index in 1..=count {
        let pair = (number(one, index)?.unwrap_or(0), number(other, index)?.unwrap_or(0));
        if begin.binary_search(&pair).is_err() {
            return Ok(false);
        }
    }
    let (Some(one), Some(other)) = (one.part(end, one.size - end), other.part(end, other.size - end)) else {
        return Ok(false);
    };
    Ok(first_difference(one, other)?.is_none())
}
