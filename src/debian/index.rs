//! Indexes of packages (`Packages`): a paragraph for each package of a component and an architecture.

use crate::debian::release::is_path;
use crate::digest::Digest;
use crate::dpkg::{Architecture, PackageName, Paragraph, ParseParagraphError, Version, paragraphs};
use crate::hint::{ErrorKind, Hint};

/// Largest index, in bytes. That of Debian 13's main has 57 MB.
const MAX_INDEX: usize = 512 << 20;
/// Most packages of an index. Debian 13's main has 69,000.
const MAX_PACKAGES: usize = 500_000;

const FIELDS: [&str; 14] = [
    "Package",
    "Version",
    "Architecture",
    "Filename",
    "Size",
    "SHA256",
    "Essential",
    "Priority",
    "Multi-Arch",
    // In the order of `Field`.
    "Pre-Depends",
    "Depends",
    "Conflicts",
    "Breaks",
    "Provides",
];

/// A field with relations to other packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    PreDepends,
    Depends,
    Conflicts,
    Breaks,
    Provides,
}

impl Field {
    /// The name in control files.
    #[must_use]
    pub fn name(self) -> &'static str {
        FIELDS[self.number()]
    }

    fn number(self) -> usize {
        9 + self as usize
    }
}

/// How important a package is (Debian policy, §2.5), the most important first. `extra` is an old name for less than optional.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    Required,
    Important,
    Standard,
    /// Also of packages with another priority, or none.
    Optional,
    Extra,
}

/// Bytes of an index's text.
type Span = std::ops::Range<u32>;

/// The packages of an index. It keeps the index's text, and of each package some 200 bytes besides.
#[derive(Debug)]
pub struct Index {
    text: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: PackageName,
    version: Version,
    is_all: bool,
    is_essential: bool,
    is_allowed: bool,
    priority: Priority,
    size: u64,
    digest: Digest,
    filename: Span,
    relations: [Span; 5],
    paragraph: Span,
}

/// A package of an index.
#[derive(Debug, Clone, Copy)]
pub struct IndexPackage<'a> {
    text: &'a [u8],
    entry: &'a Entry,
}

/// A text that is not an index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid index of packages")]
pub struct ParseIndexError(#[from] ParseParagraphError);

impl Hint for ParseIndexError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Integrity
    }
}

impl Index {
    /// Parses a decompressed index of packages for `architecture` or all architectures. Relations are parsed later, when they
    /// are needed.
    ///
    /// # Errors
    /// More than 512 MiB or 500,000 packages; a package of another architecture, or one that lacks a field or has a malformed
    /// one.
    pub fn parse(text: Vec<u8>, architecture: &Architecture) -> Result<Self, ParseIndexError> {
        if text.len() > MAX_INDEX {
            return Err(ParseParagraphError { line: 1, why: "it is larger than 512 MiB" }.into());
        }
        let mut entries = Vec::new();
        for paragraph in paragraphs(&text, FIELDS) {
            entries.push(Entry::parse(&text, &paragraph?, architecture)?);
            if entries.len() > MAX_PACKAGES {
                return Err(ParseParagraphError { line: 1, why: "it has more than 500,000 packages" }.into());
            }
        }
        Ok(Self { text, entries })
    }

    /// The packages, in the order of the index.
    pub fn packages(&self) -> impl Iterator<Item = IndexPackage<'_>> {
        self.entries.iter().map(|entry| IndexPackage { text: &self.text, entry })
    }
}

/// Where `part` lies in `text`, of which it is a part.
fn span(text: &[u8], part: &[u8]) -> Span {
    let position = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    position(start)..position(start + part.len())
}

impl Entry {
    fn parse(
        text: &[u8],
        paragraph: &Paragraph<'_, { FIELDS.len() }>,
        architecture: &Architecture,
    ) -> Result<Self, ParseParagraphError> {
        let field = |number: usize| paragraph.get(number).and_then(|value| str::from_utf8(value).ok()).unwrap_or("");
        let own = field(2);
        let filename = Some(field(3)).filter(|path| is_path(path));
        let filename = filename.ok_or_else(|| paragraph.malformed("a package has no valid file name"))?;
        let is_all = own == "all";
        if !is_all && own != architecture.as_str() {
            return Err(paragraph.malformed("a package is of another architecture"));
        }
        let part = |number: usize| paragraph.get(number).map_or(0..0, |value| span(text, value));
        Ok(Self {
            name: field(0).parse().map_err(|_| paragraph.malformed("a package has no valid name"))?,
            version: field(1).parse().map_err(|_| paragraph.malformed("a package has no valid version"))?,
            is_all,
            is_essential: field(6) == "yes",
            is_allowed: field(8) == "allowed",
            priority: match field(7) {
                "required" => Priority::Required,
                "important" => Priority::Important,
                "standard" => Priority::Standard,
                "extra" => Priority::Extra,
                _ => Priority::Optional,
            },
            size: field(4).parse().map_err(|_| paragraph.malformed("a package has no valid size"))?,
            digest: Digest::from_hex(field(5)).map_err(|_| paragraph.malformed("a package has no valid SHA-256"))?,
            filename: span(text, filename.as_bytes()),
            relations: std::array::from_fn(|at| part(Field::PreDepends.number() + at)),
            paragraph: span(text, paragraph.text),
        })
    }
}

impl<'a> IndexPackage<'a> {
    fn part(self, span: &Span) -> &'a [u8] {
        &self.text[span.start as usize..span.end as usize]
    }

    #[must_use]
    pub fn name(self) -> &'a PackageName {
        &self.entry.name
    }

    #[must_use]
    pub fn version(self) -> &'a Version {
        &self.entry.version
    }

    /// Whether it is of architecture `all`, and not of that of the index.
    #[must_use]
    pub fn is_all(self) -> bool {
        self.entry.is_all
    }

    /// Whether every system has it (`Essential: yes`).
    #[must_use]
    pub fn is_essential(self) -> bool {
        self.entry.is_essential
    }

    /// Whether it meets dependencies on `:any` architecture (`Multi-Arch: allowed`).
    #[must_use]
    pub fn is_allowed(self) -> bool {
        self.entry.is_allowed
    }

    #[must_use]
    pub fn priority(self) -> Priority {
        self.entry.priority
    }

    /// The size of the package, in bytes.
    #[must_use]
    pub fn size(self) -> u64 {
        self.entry.size
    }

    /// The SHA-256 of the package.
    #[must_use]
    pub fn digest(self) -> Digest {
        self.entry.digest
    }

    /// Its path, relative to the archive.
    #[must_use]
    pub fn path(self) -> &'a str {
        str::from_utf8(self.part(&self.entry.filename)).unwrap_or_default()
    }

    /// A field with relations, as it is written; empty if there is none. What is not UTF-8 is not a relation.
    #[must_use]
    pub fn relations(self, field: Field) -> &'a str {
        str::from_utf8(self.part(&self.entry.relations[field as usize])).unwrap_or("\u{fffd}")
    }

    /// The lines of the index about it.
    #[must_use]
    pub fn paragraph(self) -> &'a [u8] {
        self.part(&self.entry.paragraph)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn text() -> String {
        format!(
            "Package: gcc\nVersion: 4:12.2.0-3\nArchitecture: amd64\nEssential: no\nMulti-Arch: allowed\n\
             Provides: c-compiler,\n cc\nDepends: cpp (= 4:12.2.0-3)\nPriority: important\n\
             Filename: pool/main/g/gcc/gcc_12.2.0-3_amd64.deb\nSize: 5\nSHA256: {DIGEST}\nDescription: ä\n\n\
             Package: dpkg\nEssential: yes\nVersion: 1\nArchitecture: all\nPriority: required\nFilename: a/b.deb\n\
             Size: 6\nSHA256: {DIGEST}\n"
        )
    }

    fn parse(text: &str) -> Result<Index, ParseIndexError> {
        Index::parse(text.as_bytes().to_vec(), &"amd64".parse().unwrap())
    }

    #[test]
    fn packages_with_their_fields() {
        let index = parse(&text()).unwrap();
        let [gcc, dpkg] = index.packages().collect::<Vec<_>>()[..] else { panic!() };
        assert_eq!(
            (gcc.name().as_str(), gcc.version().as_str(), gcc.priority()),
            ("gcc", "4:12.2.0-3", Priority::Important)
        );
        assert_eq!((gcc.is_all(), gcc.is_essential(), gcc.is_allowed()), (false, false, true));
        assert_eq!((gcc.path(), gcc.size()), ("pool/main/g/gcc/gcc_12.2.0-3_amd64.deb", 5));
        assert_eq!(gcc.digest(), Digest::of(b""));
        assert_eq!(gcc.relations(Field::Provides), "c-compiler,\n cc");
        assert_eq!(gcc.relations(Field::Depends), "cpp (= 4:12.2.0-3)");
        assert_eq!(gcc.relations(Field::PreDepends), "");
        assert!(
            gcc.paragraph().starts_with(b"Package: gcc\n") && gcc.paragraph().ends_with("Description: ä".as_bytes())
        );
        assert_eq!((dpkg.is_all(), dpkg.is_essential(), dpkg.is_allowed()), (true, true, false));
        assert_eq!(dpkg.priority(), Priority::Required);
        assert_eq!(Field::Breaks.name(), "Breaks");
    }

    #[test]
    fn malformed_indexes_are_refused() {
        let good = text();
        for (from, to) in [
            ("Package: gcc", "Package: GCC"),
            ("Version: 4:", "Version: x:"),
            ("Architecture: amd64", "Architecture: arm64"),
            ("Filename: pool", "Filename: ../pool"),
            ("Filename: pool", "Filename: /pool"),
            ("Filename", "File"),
            ("Size: 5", "Size: -5"),
            ("SHA256: e3", "SHA256: E3"),
            ("Package: dpkg", "Package: dpkg\nPackage: dpkg"),
            ("Multi-Arch: allowed", "Multi-Arch"),
        ] {
            assert!(good.contains(from));
            assert!(parse(&good.replacen(from, to, 1)).is_err(), "accepted {to}");
        }
        assert_eq!(parse("").unwrap().packages().count(), 0);
    }
}
