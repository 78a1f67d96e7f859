//! Results of a comparison.

use std::fmt;

use serde::Serialize;

use crate::digest::Digest;

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The first build.
    First,
    Second,
}

impl Side {
    /// Its place in a pair.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self == Self::Second)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first",
            Self::Second => "second",
        })
    }
}

/// The verdict on a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Equal in every byte.
    Same,
    /// In every byte but for what names the package of the compiler: `.comment`, where both name the same version, and
    /// the build-id, a hash of a content that includes it.
    CompilerMarks,
    /// Different.
    Differs,
}

/// A product that is not the same in both trees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// From the top of the tree.
    pub path: String,
    pub verdict: Verdict,
    /// What differs, at most 20.
    pub details: Vec<Detail>,
    /// Whether there are more.
    pub more: bool,
}

/// A difference, and where in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Detail {
    /// In which member of an archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    #[serde(flatten)]
    pub difference: Difference,
}

impl From<Difference> for Detail {
    fn from(difference: Difference) -> Self {
        Self { member: None, difference }
    }
}

/// Most details kept of one file.
pub(super) const MAX_DETAILS: usize = 20;
/// Most findings kept; all are counted.
pub(super) const MAX_FINDINGS: usize = 10_000;

/// What differs. Offsets and sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Difference {
    /// It is there once.
    OnlyIn { side: Side },
    /// A file and a directory, say.
    Kind { first: &'static str, second: &'static str },
    /// Permissions, in octal.
    Mode { first: String, second: String },
    /// Where a symbolic link leads.
    Target { first: String, second: String },
    /// Which device it is.
    Device,
    /// The first line of a text that differs, counted from 1.
    Line { number: u64, first: String, second: String },
    /// The first byte that differs.
    Content {
        /// Where it is.
        offset: u64,
        /// Size of the first.
        first: u64,
        /// Size of the second.
        second: u64,
    },
    /// The content, of which only the digests are known.
    Digest { first: Digest, second: Digest },
    /// Of which file it is another name.
    Name { first: String, second: String },
    /// The header or the program headers of an ELF file.
    Header {
        /// Which of its fields.
        field: &'static str,
    },
    /// A section of an ELF file that is there once.
    SectionOnlyIn { section: String, side: Side },
    /// The content of a section.
    Section {
        section: String,
        /// The first byte of it that differs; none where only its header does.
        offset: Option<u64>,
        /// Size in the first.
        first: u64,
        /// Size in the second.
        second: u64,
    },
    /// `.comment`, where compilers write who they are.
    Comment { first: Vec<String>, second: Vec<String> },
    /// `.note.gnu.build-id`.
    BuildId,
    /// Bytes that are in no section.
    OutsideSections,
    /// What an archive says of a member: its name, times, owner, mode.
    Member {
        /// Which of them.
        field: &'static str,
        first: String,
        second: String,
    },
    /// A member of an archive that is there once, and perhaps all after it.
    MemberOnlyIn { side: Side },
    /// The table of symbols of an archive.
    SymbolTable,
    /// It cannot be compared.
    Unread { reason: String },
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(member) = &self.member {
            write!(f, "{member}: ")?;
        }
        self.difference.fmt(f)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnlyIn { side } | Self::MemberOnlyIn { side } => write!(f, "only in the {side}"),
            Self::Kind { first, second } => write!(f, "{first} / {second}"),
            Self::Mode { first, second } => write!(f, "mode {first} / {second}"),
            Self::Target { first, second } => write!(f, "link to '{first}' / '{second}'"),
            Self::Device => f.write_str("another device"),
            Self::Line { number, first, second } => write!(f, "line {number}: '{first}' / '{second}'"),
            Self::Content { offset, first, second } => {
                write!(f, "byte {offset}")?;
                sizes(f, *first, *second)
            }
            Self::Digest { first, second } => write!(f, "content {} / {}", first.short(), second.short()),
            Self::Name { first, second } => write!(f, "another name of '{first}' / '{second}'"),
            Self::Header { field } => write!(f, "ELF header: {field}"),
            Self::SectionOnlyIn { section, side } => write!(f, "{section} only in the {side}"),
            Self::Section { section, offset, first, second } => {
                match offset {
                    Some(offset) => write!(f, "{section} at byte {offset}")?,
                    None => write!(f, "{section}: its header")?,
                }
                sizes(f, *first, *second)
            }
            Self::Comment { first, second } => {
                write!(f, ".comment '{}' / '{}'", first.join("', '"), second.join("', '"))
            }
            Self::BuildId => f.write_str("build-id"),
            Self::OutsideSections => f.write_str("bytes outside all sections"),
            Self::Member { field, first, second } => write!(f, "{field} {first} / {second}"),
            Self::SymbolTable => f.write_str("table of symbols"),
            Self::Unread { reason } => write!(f, "cannot be compared: {reason}"),
        }
    }
}

fn sizes(f: &mut fmt::Formatter<'_>, first: u64, second: u64) -> fmt::Result {
    if first == second { write!(f, " of {first}") } else { write!(f, ", {first} / {second} bytes") }
}

/// What two trees come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Comparison {
    /// Products that were compared: all but directories that are the same.
    pub compared: u64,
    /// Those that are the same.
    pub identical: u64,
    /// Those that are the same but for what names the compiler's package.
    pub compiler_marks: u64,
    /// Those that differ.
    pub differing: u64,
    /// Those that are not the same, by path; at most 10 000.
    pub files: Vec<Finding>,
}

impl Comparison {
    /// Adds what was found of one product.
    pub(super) fn add(&mut self, path: &[u8], verdict: Verdict, details: Vec<Detail>) {
        self.compared += 1;
        match verdict {
            Verdict::Same => self.identical += 1,
            Verdict::CompilerMarks => self.compiler_marks += 1,
            Verdict::Differs => self.differing += 1,
        }
        if verdict != Verdict::Same && self.files.len() < MAX_FINDINGS {
            let more = details.len() > MAX_DETAILS;
            let details = details.into_iter().take(MAX_DETAILS).collect();
            self.files.push(Finding { path: text(path), verdict, details, more });
        }
    }
}

impl Comparison {
    /// Takes the details of the files that differ here from `other`, which compared their contents.
    pub fn look_into(&mut self, other: &Self) {
        for file in &mut self.files {
            let Ok(at) = other.files.binary_search_by(|found| found.path.cmp(&file.path)) else { continue };
            if other.files[at].verdict == Verdict::CompilerMarks && file.verdict == Verdict::Differs {
                self.differing -= 1;
                self.compiler_marks += 1;
            }
            *file = other.files[at].clone();
        }
    }
}

/// Bytes of a name or a line as text.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
