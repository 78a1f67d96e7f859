//! ELF files compared section by section. Every byte is accounted for: header, program headers, what each section header
//! says but where in the file a section lies, contents, and what is in no section.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::ops::Range;

use object::Endianness;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, SectionHeader as _};
use object::read::{ReadCache, ReadCacheRange, ReadRef};

use crate::compare::content::{Part, first_difference};
use crate::compare::diff::{Difference, Side, Verdict, text};

/// Most that is read of headers and names, in bytes. Objects with a section for each of 100 000 functions stay below it.
const BUDGET: u64 = 32 << 20;
/// Longest `.comment` that is looked into, in bytes.
const MAX_COMMENT: u64 = 64 << 10;
/// Longest name of a section, in bytes.
const MAX_NAME: usize = 4096;

const COMMENT: &[u8] = b".comment";
const BUILD_ID: &[u8] = b".note.gnu.build-id";

/// What differs between two files whose contents do; `None` where one of them is not ELF, or damaged, or made to be
/// expensive.
pub(super) fn compare(first: Part, second: Part) -> io::Result<Option<Vec<Difference>>> {
    let (Some(one), Some(other)) = (Layout::of(first), Layout::of(second)) else { return Ok(None) };
    let mut found = Vec::new();
    for (field, [here, there]) in
        [("file header", [&one.header, &other.header]), ("program headers", [&one.segments, &other.segments])]
    {
        if here != there {
            found.push(Difference::Header { field });
        }
    }
    sections([&one, &other], [first, second], &mut found)?;
    if outside(&one, first)? != outside(&other, second)? {
        found.push(Difference::OutsideSections);
    }
    Ok(Some(found))
}

/// The verdict on the differences within one file. A build-id differs because the bytes that it hashes do, so it does not
/// count beside a `.comment` that may differ; alone it counts as a difference.
pub(super) fn verdict<'a>(differences: impl IntoIterator<Item = &'a Difference>) -> Verdict {
    let mut comments = false;
    for difference in differences {
        match difference {
            Difference::Comment { first, second } if versions(first) == versions(second) => comments = true,
            Difference::BuildId => {}
            _ => return Verdict::Differs,
        }
    }
    if comments { Verdict::CompilerMarks } else { Verdict::Differs }
}

/// Compilers and their versions, without the package in parentheses: `GCC: (Debian 12.2.0-14) 12.2.0` is GCC 12.2.0.
/// Duplicates do not count, because the linker merges equal strings.
fn versions(comments: &[String]) -> Vec<String> {
    let mut versions: Vec<String> = comments
        .iter()
        .map(|comment| match (comment.find('('), comment.rfind(')')) {
            (Some(open), Some(close)) if open < close => format!("{}{}", &comment[..open], &comment[close + 1..]),
            _ => comment.clone(),
        })
        .collect();
    versions.sort();
    versions.dedup();
    versions
}

/// A file's headers, read within a budget.
#[derive(Clone, Copy)]
struct Frugal<'a> {
    range: ReadCacheRange<'a, &'a File>,
    left: &'a Cell<u64>,
}

impl Frugal<'_> {
    fn spend(self, bytes: u64) -> Result<(), ()> {
        self.left.set(self.left.get().checked_sub(bytes).ok_or(())?);
        Ok(())
    }
}

impl<'a> ReadRef<'a> for Frugal<'a> {
    fn len(self) -> Result<u64, ()> {
        self.range.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        self.spend(size)?;
        self.range.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        self.spend(range.end.saturating_sub(range.start).min(4096))?;
        self.range.read_bytes_at_until(range, delimiter)
    }
}

/// Where everything is in a file.
struct Layout {
    /// Without the place of the section headers, which moves with the size of what is before them.
    header: Vec<u8>,
    segments: Vec<u8>,
    names: Vec<u8>,
    sections: Vec<Section>,
    /// What headers and contents take: offset and end.
    taken: Vec<(u64, u64)>,
}

struct Section {
    name: Range<usize>,
    /// What its header says, but for name, place and size.
    fields: [u64; 7],
    /// Where it is, if that is where a program is loaded from.
    place: Option<u64>,
    size: u64,
    /// Offset and size of what it has in the file.
    content: (u64, u64),
}

impl Layout {
    fn of(part: Part) -> Option<Self> {
        let cache = ReadCache::new(part.file);
        let left = Cell::new(BUDGET);
        let data = Frugal { range: cache.range(part.start, part.size), left: &left };
        match data.read_bytes_at(0, 5).ok()? {
            [0x7f, b'E', b'L', b'F', 1] => Self::parse::<FileHeader32<Endianness>>(data, 0x20..0x24),
            [0x7f, b'E', b'L', b'F', 2] => Self::parse::<FileHeader64<Endianness>>(data, 0x28..0x30),
            _ => None,
        }
    }

    fn parse<E: FileHeader<Endian = Endianness>>(data: Frugal<'_>, e_shoff: Range<usize>) -> Option<Self> {
        let file = E::parse(data).ok()?;
        let endian = file.endian().ok()?;
        let size = u64::from(file.e_ehsize(endian));
        let mut header = data.read_bytes_at(0, size).ok()?.to_vec();
        header.get_mut(e_shoff)?.fill(0);
        let mut taken = vec![(0, size)];
        let count = |slice: usize, entry: u16| Some(u64::try_from(slice).ok()? * u64::from(entry));
        let phoff: u64 = file.e_phoff(endian).into();
        let segments = file.program_headers(endian, data).ok()?;
        let size = count(segments.len(), file.e_phentsize(endian))?;
        let segments = data.read_bytes_at(phoff, size).ok()?.to_vec();
        taken.push((phoff, phoff + size));
        let headers = file.section_headers(endian, data).ok()?;
        let shoff: u64 = file.e_shoff(endian).into();
        taken.push((shoff, shoff + count(headers.len(), file.e_shentsize(endian))?));
        let mut names = Vec::new();
        if !headers.is_empty() {
            let table = headers.get(file.section_strings_index(endian, data).ok()?.0)?;
            let (offset, size) = table.file_range(endian)?;
            names = data.read_bytes_at(offset, size).ok()?.to_vec();
        }
        let loaded_from = file.e_type(endian) != elf::ET_REL;
        let mut sections = Vec::with_capacity(headers.len());
        let (mut total, length) = (0_u64, data.len().ok()?);
        for header in headers {
            // The first one, of no type, has other things in its fields.
            let has_content = header.sh_type(endian) != elf::SHT_NULL;
            let content = header.file_range(endian).filter(|_| has_content).unwrap_or((0, 0));
            let end = content.0.checked_add(content.1).filter(|end| *end <= length)?;
            // Sections over each other would make the work as large as their number times the file.
            total = total.checked_add(content.1).filter(|total| *total <= 4 * length)?;
            taken.push((content.0, end));
            let start = usize::try_from(header.sh_name(endian)).ok()?;
            let long = names.get(start..)?.iter().take(MAX_NAME).position(|byte| *byte == 0)?;
            data.spend(long as u64).ok()?;
            let allocated = header.sh_flags(endian).0 & elf::SHF_ALLOC.0 != 0;
            sections.push(Section {
                name: start..start + long,
                fields: [
                    header.sh_type(endian).0.into(),
                    header.sh_flags(endian).0,
                    header.sh_addr(endian).into(),
                    header.sh_link(endian).into(),
                    header.sh_info(endian).into(),
                    header.sh_addralign(endian).into(),
                    header.sh_entsize(endian).into(),
                ],
                place: (loaded_from && allocated).then(|| header.sh_offset(endian).into()),
                size: header.sh_size(endian).into(),
                content,
            });
        }
        // Tables of nothing may be anywhere.
        taken.retain(|(start, end)| start < end);
        Some(Self { header, segments, names, sections, taken })
    }

    fn name(&self, section: &Section) -> &[u8] {
        &self.names[section.name.clone()]
    }

    /// The sections by name; of those with the same one, by their order too.
    fn by_name(&self) -> BTreeMap<(&[u8], usize), (usize, &Section)> {
        let mut seen: HashMap<&[u8], usize> = HashMap::new();
        let sections = self.sections.iter().enumerate().map(|(at, section)| {
            let name = self.name(section);
            let count = seen.entry(name).or_default();
            *count += 1;
            ((name, *count), (at, section))
        });
        sections.collect()
    }
}

fn sections(layouts: [&Layout; 2], parts: [Part; 2], found: &mut Vec<Difference>) -> io::Result<()> {
    let [one, other] = layouts.map(Layout::by_name);
    let mut moved = false;
    for (key, (at, section)) in &one {
        match other.get(key) {
            None => found.push(Difference::SectionOnlyIn { section: text(key.0), side: Side::First }),
            Some((there, twin)) => {
                moved |= at != there;
                found.extend(pair(key.0, [section, twin], parts)?);
            }
        }
    }
    let only = other.keys().filter(|key| !one.contains_key(*key)).collect::<Vec<_>>();
    if moved && only.is_empty() && one.len() == other.len() {
        found.push(Difference::Header { field: "order of sections" });
    }
    found.extend(only.into_iter().map(|key| Difference::SectionOnlyIn { section: text(key.0), side: Side::Second }));
    Ok(())
}

/// What differs between the section `name` of the one and the other.
fn pair(name: &[u8], sections: [&Section; 2], parts: [Part; 2]) -> io::Result<Option<Difference>> {
    let [one, other] = sections;
    let content = |at: usize| parts[at].part(sections[at].content.0, sections[at].content.1);
    let (Some(here), Some(there)) = (content(0), content(1)) else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let offset = first_difference(here, there)?;
    let alike = one.fields == other.fields && one.place == other.place;
    if alike && one.size == other.size && offset.is_none() {
        return Ok(None);
    }
    if alike && name == COMMENT && here.size.max(there.size) <= MAX_COMMENT {
        return Ok(Some(Difference::Comment { first: strings(here)?, second: strings(there)? }));
    }
    if alike && name == BUILD_ID && one.size == other.size {
        return Ok(Some(Difference::BuildId));
    }
    Ok(Some(Difference::Section { section: text(name), offset, first: one.size, second: other.size }))
}

fn strings(part: Part) -> io::Result<Vec<String>> {
    let bytes = part.bytes(MAX_COMMENT)?;
    Ok(bytes.split(|byte| *byte == 0).filter(|string| !string.is_empty()).map(text).collect())
}

/// Bytes outside all sections that are not blank. Linkers and assemblers leave blanks between sections.
fn outside(layout: &Layout, part: Part) -> io::Result<Vec<Vec<u8>>> {
    let mut taken = layout.taken.clone();
    taken.sort_unstable();
    let mut gaps = Vec::new();
    let (mut at, mut budget) = (0, BUDGET);
    for (start, end) in taken.into_iter().chain([(part.size, part.size)]) {
        if let Some(gap) = start.checked_sub(at).and_then(|size| part.part(at, size))
            && !gap.is_blank()?
        {
            gaps.push(gap.bytes(budget)?);
            budget -= gap.size;
        }
        at = at.max(end);
    }
    Ok(gaps)
}
