//! The content of `InRelease`: what an archive has, with the digest of each index (Debian's repository format, "Release
//! files"). The fields of other files of the archive are ignored.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;

use crate::debian::clearsign::day;
use crate::digest::Digest;
use crate::dpkg::{Architecture, paragraphs};
use crate::hint::{ErrorKind, Hint};
use crate::visible::shortened;

/// Most files in the table. Debian's have some 3000.
const MAX_FILES: usize = 100_000;
/// Longest path or word, in bytes.
const MAX_LENGTH: usize = 300;
/// Compressions of indexes that hermes reads, by the ends of their names, the preferred first.
const COMPRESSIONS: [&str; 3] = [".xz", ".gz", ""];

const FIELDS: [&str; 9] = [
    "Suite",
    "Codename",
    "Date",
    "Valid-Until",
    "Architectures",
    "Components",
    "SHA256",
    "Acquire-By-Hash",
    "No-Support-for-Architecture-all",
];

/// What an archive says about one of its suites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Such as `oldstable`, which names another release over time.
    pub suite: Option<String>,
    /// Such as `bookworm`.
    pub codename: Option<String>,
    /// When it was made, in seconds since 1970.
    pub date: u64,
    /// Its end, in seconds since 1970.
    pub valid_until: Option<u64>,
    pub architectures: Vec<Architecture>,
    pub components: Vec<String>,
    /// Whether files can be fetched by their digest ([`IndexFile::by_hash`]).
    pub by_hash: bool,
    /// Whether packages for `all` architectures are in an index of their own.
    has_index_of_all: bool,
    files: BTreeMap<Box<str>, ReleaseFile>,
}

/// A file of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseFile {
    /// In bytes.
    pub size: u64,
    pub digest: Digest,
}

/// An index of packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    /// Relative to the directory of the release; ends with `.xz`, `.gz` or neither, as it is compressed.
    pub path: String,
    pub file: ReleaseFile,
    /// The file without compression, if the archive states its digest.
    pub decompressed: Option<ReleaseFile>,
}

impl IndexFile {
    /// The path that has these bytes even when the archive has changed since.
    #[must_use]
    pub fn by_hash(&self) -> String {
        let directory = self.path.rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{directory}/by-hash/SHA256/{}", self.file.digest.hex())
    }
}

/// A text that is not the content of `InRelease`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid release file: {0}")]
pub struct ParseReleaseError(String);

impl Hint for ParseReleaseError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Integrity
    }
}

/// Why a release, although signed, is not the one that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// Another release was served, as an attacker could.
    #[error("expected suite {wanted}, got {}", .got.join(" or "))]
    OtherSuite { wanted: String, got: Vec<String> },
    /// It is past its end, as in an archive that is not updated any more, or that is held back.
    #[error("the release expired on {}", day(*.valid_until))]
    Expired { valid_until: u64 },
    /// It is older than a release that is known.
    #[error("the release of {} is older than the known one of {}", day(*.date), day(*.known))]
    Older { date: u64, known: u64 },
    /// It has no packages of this kind.
    #[error("the release has no packages of component {component} for {architecture}")]
    NoIndex { component: String, architecture: Architecture, components: Vec<String>, architectures: Vec<Architecture> },
}

impl Hint for ReleaseError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoIndex { .. } => ErrorKind::Usage,
            Self::OtherSuite { .. } | Self::Expired { .. } | Self::Older { .. } => ErrorKind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoIndex { components, architectures, .. } => {
                let architectures: Vec<_> = architectures.iter().map(Architecture::as_str).collect();
                let [components, architectures] = [components.join(" "), architectures.join(" ")];
                vec![format!(
                    "it has components {} for {}",
                    shortened(&components, 300),
                    shortened(&architectures, 300)
                )]
            }
            _ => Vec::new(),
        }
    }
}

/// Whether `text` is a relative path that stays beneath its directory, and needs no escapes in a URL.
pub(super) fn is_path(text: &str) -> bool {
    let known = |c: u8| c.is_ascii_alphanumeric() || b"+-._~@:=,".contains(&c);
    text.len() <= MAX_LENGTH
        && text.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && part.bytes().all(known))
}

/// `Sat, 11 Jul 2026 10:16:37 UTC`, in seconds since 1970.
fn time(text: &str) -> Option<u64> {
    let text = [" UTC", " GMT", " +0000", " Z"].iter().find_map(|zone| text.strip_suffix(zone))?;
    let time = NaiveDateTime::parse_from_str(text, "%a, %d %b %Y %H:%M:%S").ok()?;
    time.and_utc().timestamp().try_into().ok()
}

impl Release {
    /// Parses the signed text.
    ///
    /// # Errors
    /// Other than one paragraph; malformed or missing fields; a path outside the archive; two digests of one path.
    pub fn parse(text: &str) -> Result<Self, ParseReleaseError> {
        let fail = |why: String| ParseReleaseError(why);
        let mut all = paragraphs(text.as_bytes(), FIELDS);
        let first = all.next().ok_or_else(|| fail("it is empty".into()))?.map_err(|error| fail(error.to_string()))?;
        if all.next().is_some() {
            return Err(fail("it has more than one paragraph".into()));
        }
        let field = |number: usize| first.get(number).and_then(|value| str::from_utf8(value).ok());
        let malformed = |number: usize| fail(format!("field {} is missing or malformed", FIELDS[number]));
        let word = |number: usize| match field(number) {
            None => Ok(None),
            Some(text) if is_path(text) => Ok(Some(text.to_owned())),
            Some(_) => Err(malformed(number)),
        };
        let components: Vec<_> =
            field(5).ok_or_else(|| malformed(5))?.split_ascii_whitespace().map(str::to_owned).collect();
        if !components.iter().all(|component| is_path(component)) {
            return Err(malformed(5));
        }
        let architectures = field(4).ok_or_else(|| malformed(4))?.split_ascii_whitespace().map(str::parse);
        let architectures = architectures.collect::<Result<Vec<Architecture>, _>>().map_err(|_| malformed(4))?;
        let is_without_all =
            field(8).is_some_and(|kinds| kinds.split_ascii_whitespace().any(|kind| kind == "Packages"));
        Ok(Self {
            suite: word(0)?,
            codename: word(1)?,
            date: field(2).and_then(time).ok_or_else(|| malformed(2))?,
            valid_until: field(3).map(|text| time(text).ok_or_else(|| malformed(3))).transpose()?,
            has_index_of_all: architectures.iter().any(Architecture::is_all) && !is_without_all,
            architectures,
            components,
            by_hash: field(7) == Some("yes"),
            files: files(field(6).ok_or_else(|| malformed(6))?)?,
        })
    }

    /// The file at `path`, relative to the directory of the release.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<ReleaseFile> {
        self.files.get(path).copied()
    }

    /// The indexes of the packages of a component for an architecture: one, or a second one for `all` architectures.
    ///
    /// # Errors
    /// [`ReleaseError::NoIndex`]
    pub fn indexes(&self, component: &str, architecture: &Architecture) -> Result<Vec<IndexFile>, ReleaseError> {
        let missing = || ReleaseError::NoIndex {
            component: component.to_owned(),
            architecture: architecture.clone(),
            components: self.components.clone(),
            architectures: self.architectures.clone(),
        };
        let of = |architecture: &str| {
            let plain = format!("{component}/binary-{architecture}/Packages");
            let decompressed = self.file(&plain);
            COMPRESSIONS.iter().find_map(|end| {
                let path = format!("{plain}{end}");
                self.file(&path).map(|file| IndexFile { path, file, decompressed })
            })
        };
        let mut indexes = vec![of(architecture.as_str()).ok_or_else(missing)?];
        if self.has_index_of_all {
            indexes.extend(of("all"));
        }
        Ok(indexes)
    }

    /// Whether this is the release that `suite` names, by its suite or codename. Signatures do not protect against a mirror
    /// that serves another release of the same archive.
    ///
    /// # Errors
    /// [`ReleaseError::OtherSuite`]
    pub fn check_suite(&self, suite: &str) -> Result<(), ReleaseError> {
        let got: Vec<_> = [&self.suite, &self.codename].into_iter().flatten().cloned().collect();
        let is_named = got.iter().any(|name| name == suite);
        if is_named { Ok(()) } else { Err(ReleaseError::OtherSuite { wanted: shortened(suite, 100), got }) }
    }

    /// Whether it is valid at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// [`ReleaseError::Expired`]
    pub fn check_validity(&self, now: u64) -> Result<(), ReleaseError> {
        match self.valid_until {
            Some(valid_until) if valid_until < now => Err(ReleaseError::Expired { valid_until }),
            _ => Ok(()),
        }
    }

    /// Whether it is as new as a release that is known, by the date of that, in seconds since 1970.
    ///
    /// # Errors
    /// [`ReleaseError::Older`]
    pub fn check_not_older(&self, known: u64) -> Result<(), ReleaseError> {
        if self.date < known { Err(ReleaseError::Older { date: self.date, known }) } else { Ok(()) }
    }
}

/// Lines `DIGEST SIZE PATH`.
fn files(table: &str) -> Result<BTreeMap<Box<str>, ReleaseFile>, ParseReleaseError> {
    let mut files = BTreeMap::new();
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let fail = |why: &str| ParseReleaseError(format!("{why} in '{}'", shortened(line, 200)));
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let [digest, size, path] = words[..] else { return Err(fail("expected digest, size and path")) };
        let digest = Digest::from_hex(digest).map_err(|_| fail("invalid digest"))?;
        let size = size.parse().map_err(|_| fail("invalid size"))?;
        if !is_path(path) {
            return Err(fail("invalid path"));
        }
        let file = ReleaseFile { size, digest };
        if files.insert(path.into(), file).is_some_and(|other| other != file) {
            return Err(fail("two digests for one path"));
        }
        if files.len() > MAX_FILES {
            return Err(fail("more than 100000 files"));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn text() -> String {
        format!(
            "Origin: Test\nSuite: oldstable\nCodename: bookworm\nDate: Sat, 11 Jul 2026 10:16:37 UTC\n\
             Valid-Until: Sat, 18 Jul 2026 10:16:37 UTC\nAcquire-By-Hash: yes\nArchitectures: all amd64 arm64\n\
             Components: main updates/contrib\nMD5Sum:\n nonsense\nSHA256:\n {EMPTY}        1 main/binary-amd64/Packages\n \
             {EMPTY} 2 main/binary-amd64/Packages.gz\n {EMPTY} 3 main/binary-amd64/Packages.xz\n {EMPTY} 4 \
             main/binary-all/Packages.gz\n"
        )
    }

    #[test]
    fn a_release_with_everything() {
        let release = Release::parse(&text()).unwrap();
        assert_eq!((release.suite.as_deref(), release.codename.as_deref()), (Some("oldstable"), Some("bookworm")));
        assert_eq!((release.date, release.valid_until), (1_783_764_997, Some(1_784_369_797)));
        assert_eq!(release.architectures.len(), 3);
        assert_eq!(release.components, ["main", "updates/contrib"]);
        assert!(release.by_hash);
        let amd64 = "amd64".parse().unwrap();
        let indexes = release.indexes("main", &amd64).unwrap();
        let found: Vec<_> = indexes
            .iter()
            .map(|index| (&*index.path, index.file.size, index.decompressed.map(|file| file.size)))
            .collect();
        assert_eq!(found, [("main/binary-amd64/Packages.xz", 3, Some(1)), ("main/binary-all/Packages.gz", 4, None)]);
        assert_eq!(indexes[0].by_hash(), format!("main/binary-amd64/by-hash/SHA256/{EMPTY}"));
        let one = text().replace("Components", "No-Support-for-Architecture-all: Packages\nComponents");
        assert_eq!(Release::parse(&one).unwrap().indexes("main", &amd64).unwrap(), indexes[..1]);
        let error = release.indexes("main", &"armel".parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "the release has no packages of component main for armel");
        assert_eq!(error.hints(), ["it has components main updates/contrib for all amd64 arm64"]);
    }

    #[test]
    fn another_suite_an_expired_and_an_older_release_are_refused() {
        let release = Release::parse(&text()).unwrap();
        for suite in ["bookworm", "oldstable"] {
            release.check_suite(suite).unwrap();
        }
        let error = release.check_suite("trixie").unwrap_err();
        assert_eq!(error.to_string(), "expected suite trixie, got oldstable or bookworm");
        release.check_validity(1_784_369_797).unwrap();
        assert_eq!(release.check_validity(1_784_369_798).unwrap_err().to_string(), "the release expired on 2026-07-18");
        release.check_not_older(release.date).unwrap();
        let older = release.check_not_older(release.date + 86400).unwrap_err();
        assert_eq!(older.to_string(), "the release of 2026-07-11 is older than the known one of 2026-07-12");
        assert!([error, older].iter().all(|error| error.kind() == ErrorKind::Integrity));
        let forever = text().replace("Valid-Until", "X");
        Release::parse(&forever).unwrap().check_validity(u64::MAX).unwrap();
    }

    #[test]
    fn malformed_releases_are_refused() {
        let good = text();
        for (from, to) in [
            ("Date", "Other"),
            ("Sat, 11", "Sun, 11"),
            ("10:16:37 UTC\nValid", "10:16:37 CET\nValid"),
            ("11 Jul 2026", "11 Jul 1926"),
            ("18 Jul", "38 Jul"),
            ("Suite: oldstable", "Suite: ../oldstable"),
            ("Suite: oldstable", "Suite: a\nSuite: b"),
            ("all amd64", "all any"),
            ("Components", "X"),
            ("updates/contrib", "/contrib"),
            ("SHA256", "SHA512"),
            (" 3 main/", " 3 ../"),
            (" 3 main/", " 3 /"),
            (" 3 main/", " 3 main//"),
            (" 3 main/", " 3 main/%2e%2e/"),
            (" 3 main/", " 3 "),
            (" 3 main/", " -3 main/"),
            (" 3 main/", " main/"),
            (" 3 main/binary-amd64/Packages.xz", " 3 main/binary-amd64/Packages.gz"),
            ("SHA256:\n e3", "SHA256:\n E3"),
            ("MD5Sum:\n", "MD5Sum:\n\n"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert!(bad != good, "{from}");
            // A path at the top of the archive is a path.
            let is_fine = to == " 3 ";
            assert_eq!(Release::parse(&bad).is_ok(), is_fine, "{from} -> {to}");
        }
        assert!(Release::parse("").is_err());
    }
}
