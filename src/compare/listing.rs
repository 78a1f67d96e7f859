//! Listings: a tree as text, whose digest stands for the tree. `docs/records.md` describes the format.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};

use crate::compare::diff::{Comparison, Detail, Difference, Side, Verdict, text};
use crate::compare::tree::{Product, kind_name, open_file, target};
use crate::digest::Digest;
use crate::fs::entries;
use crate::percent;

/// The first line of every listing.
const HEAD: &str = "hermes-tree 1";
/// Most of a tree that its files say they have and that is on no disk, in bytes: what has no end in sight has no digest.
const MAX_HOLES: u64 = 64 << 30;

/// A listing of a tree: each path below its top, which is the empty path, with everything that must be equal for two trees to
/// count as the same. Times and owners are not part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing(BTreeMap<Vec<u8>, Item>);

/// The object at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Directory {
        mode: u32,
    },
    File {
        mode: u32,
        size: u64,
        content: Digest,
    },
    Link {
        target: Vec<u8>,
    },
    /// Another name of the file at a path that comes before.
    Same {
        first: Vec<u8>,
    },
    /// A FIFO, a socket or a device, by the letter of ls(1).
    Special {
        letter: char,
        mode: u32,
    },
}

/// A file or directory cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub struct ListError {
    /// From the top of the tree.
    pub path: PathBuf,
    pub source: io::Error,
}

/// A text is not a valid listing.
#[derive(Debug, thiserror::Error)]
#[error("invalid tree listing at line {0}")]
pub struct ParseListingError(usize);

impl Listing {
    /// Lists the file or tree at `top`, a path in `product`, without the paths below it that `is_left_out` names. `None` where
    /// nothing is there.
    pub fn take(
        product: &Product,
        top: &Path,
        is_left_out: &dyn Fn(&[u8], &Stat) -> bool,
    ) -> Result<Option<Self>, ListError> {
        let top = top.as_os_str().as_bytes();
        let failed = |path: &[u8], source| ListError { path: OsStr::from_bytes(path).into(), source };
        let Some(stat) = product.look(top).map_err(|error| failed(top, error))? else { return Ok(None) };
        let mut listing = BTreeMap::new();
        let mut names: HashMap<(u64, u64), Vec<Vec<u8>>> = HashMap::new();
        let mut waiting = vec![(Vec::new(), stat)];
        let mut holes = 0;
        while let Some((path, stat)) = waiting.pop() {
            let whole = if path.is_empty() { top.to_owned() } else { entries::join(top, &path) };
            holes += holes_of(&stat);
            if holes > MAX_HOLES {
                let text = format!("sparse files with holes of more than {} GiB", MAX_HOLES >> 30);
                return Err(failed(&whole, io::Error::new(io::ErrorKind::FileTooLarge, text)));
            }
            let item = item(product, &whole, &stat).map_err(|error| failed(&whole, error))?;
            if matches!(item, Item::Directory { .. }) {
                let inside = product.directory(&whole).and_then(entries::of).map_err(|error| failed(&whole, error))?;
                for (name, stat) in inside {
                    let child = entries::join(&path, &name);
                    if !is_left_out(&child, &stat) {
                        waiting.push((child, stat));
                    }
                }
            }
            if matches!(item, Item::File { .. }) && stat.st_nlink > 1 {
                names.entry((stat.st_dev, stat.st_ino)).or_default().push(path.clone());
            }
            listing.insert(path, item);
        }
        for mut names in names.into_values() {
            names.sort();
            let mut names = names.into_iter();
            let first = names.next().unwrap_or_default();
            for other in names {
                listing.insert(other, Item::Same { first: first.clone() });
            }
        }
        Ok(Some(Self(listing)))
    }

    /// The text. The same tree has the same, always.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = format!("{HEAD}\n");
        for (path, item) in &self.0 {
            let path = if path.is_empty() { ".".to_owned() } else { escaped(path) };
            // Writing to a string cannot fail.
            let _ = match item {
                Item::Directory { mode } => writeln!(out, "d {mode:04o} {path}"),
                Item::File { mode, size, content } => writeln!(out, "f {mode:04o} {size} {} {path}", content.hex()),
                Item::Link { target } => writeln!(out, "l {} {path}", escaped(target)),
                Item::Same { first } => writeln!(out, "h {} {path}", escaped(first)),
                Item::Special { letter, mode } => writeln!(out, "{letter} {mode:04o} {path}"),
            };
        }
        out
    }

    /// Reads such a text.
    ///
    /// # Errors
    /// The first line that is not valid.
    pub fn parse(text: &str) -> Result<Self, ParseListingError> {
        let mut lines = text.lines().zip(1..);
        if lines.next().is_none_or(|(line, _)| line != HEAD) {
            return Err(ParseListingError(1));
        }
        let entries = lines.map(|(line, number)| entry(line).ok_or(ParseListingError(number)));
        Ok(Self(entries.collect::<Result<_, _>>()?))
    }

    /// The number of files and of bytes in them; a file with several names counts once.
    #[must_use]
    pub fn room(&self) -> (u64, u64) {
        let sizes =
            self.0.values().filter_map(|item| if let Item::File { size, .. } = item { Some(size) } else { None });
        sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size))
    }

    /// Paths that are not the same in `now`.
    #[must_use]
    pub fn changed_in(&self, now: &Self) -> Vec<PathBuf> {
        let changed = self.0.iter().filter(|(path, item)| now.0.get(*path) != Some(item));
        changed.map(|(path, _)| OsString::from_vec(path.clone()).into()).collect()
    }

    /// What this has and `before` had not; of a directory its name alone.
    #[must_use]
    pub fn beyond(&self, before: &Self) -> Vec<PathBuf> {
        let mut beyond: Vec<PathBuf> = Vec::new();
        for path in self.0.keys().filter(|path| !before.0.contains_key(*path)) {
            let path: PathBuf = OsString::from_vec(path.clone()).into();
            if !beyond.last().is_some_and(|last| path.starts_with(last)) {
                beyond.push(path);
            }
        }
        beyond
    }

    /// The files with their digests, by path from the top, each under all of its names.
    pub fn files(&self) -> impl Iterator<Item = (PathBuf, Digest)> {
        self.0.iter().filter_map(|(path, item)| {
            let content = match item {
                Item::File { content, .. } => content,
                Item::Same { first } => match self.0.get(first)? {
                    Item::File { content, .. } => content,
                    _ => return None,
                },
                _ => return None,
            };
            Some((OsString::from_vec(path.clone()).into(), *content))
        })
    }
}

/// Compares two listings of what is at `top`, and adds what is found by path from there.
pub(crate) fn compare_listings(first: &Listing, second: &Listing, top: &Path, found: &mut Comparison) {
    let top = top.as_os_str().as_bytes();
    let mut paths: Vec<&Vec<u8>> = first.0.keys().chain(second.0.keys()).collect();
    paths.sort();
    paths.dedup();
    // The contents of a directory that only one side has are not listed.
    let mut told: Option<Vec<u8>> = None;
    for path in paths {
        if told.as_ref().is_some_and(|told| path.strip_prefix(&told[..]).is_some_and(|rest| rest.starts_with(b"/"))) {
            continue;
        }
        let pair = (first.0.get(path), second.0.get(path));
        let whole = match (top.is_empty(), path.is_empty()) {
            (true, _) => path.clone(),
            (false, true) => top.to_owned(),
            (false, false) => entries::join(top, path),
        };
        match pair {
            (Some(Item::Directory { .. }), Some(second)) if pair.0 == Some(second) => {}
            (Some(one), Some(other)) if one == other => found.add(&whole, Verdict::Same, vec![]),
            (one, other) => {
                if one.is_none() || other.is_none() || is_directory(one) != is_directory(other) {
                    told = Some(path.clone());
                }
                found.add(&whole, Verdict::Differs, differences(one, other));
            }
        }
    }
}

fn is_directory(item: Option<&Item>) -> bool {
    matches!(item, Some(Item::Directory { .. }))
}

fn differences(one: Option<&Item>, other: Option<&Item>) -> Vec<Detail> {
    let mut found: Vec<Detail> = Vec::new();
    let (Some(one), Some(other)) = (one, other) else {
        let side = if one.is_some() { Side::First } else { Side::Second };
        return vec![Difference::OnlyIn { side }.into()];
    };
    if let (Some(first), Some(second)) = (one.mode(), other.mode())
        && first != second
        && one.kind() == other.kind()
    {
        let [first, second] = [first, second].map(|mode| format!("{mode:04o}"));
        found.push(Difference::Mode { first, second }.into());
    }
    match (one, other) {
        (Item::File { content: first, .. }, Item::File { content: second, .. }) if first != second => {
            found.push(Difference::Digest { first: *first, second: *second }.into());
        }
        (Item::Link { target: first }, Item::Link { target: second }) => {
            found.push(Difference::Target { first: text(first), second: text(second) }.into());
        }
        _ if one.kind() != other.kind() => {
            found.push(Difference::Kind { first: one.kind(), second: other.kind() }.into());
        }
        (Item::Same { first }, Item::Same { first: second }) => {
            found.push(Difference::Name { first: text(first), second: text(second) }.into());
        }
        _ => {}
    }
    found
}

impl Item {
    fn mode(&self) -> Option<u32> {
        match self {
            Self::Directory { mode } | Self::File { mode, .. } | Self::Special { mode, .. } => Some(*mode),
            Self::Link { .. } | Self::Same { .. } => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Directory { .. } => "directory",
            Self::File { .. } => "file",
            Self::Link { .. } => "link",
            Self::Same { .. } => "another name of a file",
            Self::Special { letter: 'p', .. } => "FIFO",
            Self::Special { letter: 's', .. } => "socket",
            Self::Special { .. } => "device",
        }
    }
}

fn item(product: &Product, path: &[u8], stat: &Stat) -> io::Result<Item> {
    let mode = stat.st_mode & 0o7777;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Item::Directory { mode },
        FileType::RegularFile => {
            let (content, size) = Digest::of_reader(&mut open_file(product, path)?, &|_| ())?;
            Item::File { mode, size, content }
        }
        FileType::Symlink => Item::Link { target: target(product, path)? },
        FileType::Fifo => Item::Special { letter: 'p', mode },
        FileType::Socket => Item::Special { letter: 's', mode },
        FileType::CharacterDevice => Item::Special { letter: 'c', mode },
        FileType::BlockDevice => Item::Special { letter: 'b', mode },
        FileType::Unknown => return Err(io::Error::other(kind_name(stat))),
    })
}

/// How much of a file is no block of a disk.
fn holes_of(stat: &Stat) -> u64 {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return 0;
    }
    // In units of 512 bytes whatever the file system's own are (stat(2)).
    let there = stat.st_blocks.unsigned_abs().saturating_mul(512);
    stat.st_size.unsigned_abs().saturating_sub(there)
}

/// A name with `%` and two digits for each byte that is no printable ASCII, a space or a `%`.
#[must_use]
pub(crate) fn escaped(name: &[u8]) -> String {
    percent::encode(name, |byte| byte.is_ascii_graphic() && byte != b'%')
}

fn entry(line: &str) -> Option<(Vec<u8>, Item)> {
    let fields: Vec<&str> = line.split(' ').collect();
    let mode = |text: &str| u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    let item = match fields[..] {
        ["d", bits, _] => Item::Directory { mode: mode(bits)? },
        ["f", bits, size, content, _] => {
            Item::File { mode: mode(bits)?, size: size.parse().ok()?, content: Digest::from_hex(content).ok()? }
        }
        ["l", target, _] => Item::Link { target: percent::decode(target)? },
        ["h", first, _] => Item::Same { first: percent::decode(first)? },
        [letter @ ("p" | "s" | "c" | "b"), bits, _] => {
            Item::Special { letter: letter.chars().next()?, mode: mode(bits)? }
        }
        _ => return None,
    };
    let path = fields.last()?;
    let path = if *path == "." { Vec::new() } else { percent::decode(path)? };
    Some((path, item))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn listing(root: &Path) -> Listing {
        Listing::take(&Product::open(root, None).unwrap(), Path::new(""), &|_, _| false).unwrap().unwrap()
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/file"), "1").unwrap();
        fs::write(dir.path().join("a/z"), "2").unwrap();
        fs::hard_link(dir.path().join("a/z"), dir.path().join("a/b/name")).unwrap();
        symlink("a b", dir.path().join(OsStr::from_bytes(b"\xff%\n"))).unwrap();
        dir
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tree();
        let taken = listing(dir.path());
        let text = taken.render();
        assert_eq!(Listing::parse(&text).unwrap(), taken);
        assert!(text.contains("\nh a/b/name a/z\n") && text.contains("\nl a%20b %ff%25%0a\n"), "{text}");
        assert_eq!(taken.room(), (2, 2));
        let files: Vec<_> = taken.files().map(|(path, _)| path).collect();
        assert_eq!(files, ["a/b/file", "a/b/name", "a/z"].map(PathBuf::from));
        for bad in [
            "",
            "hermes-tree 2\n",
            "hermes-tree 1\nf 0644 1 00 a\n",
            "hermes-tree 1\nd 99999 a\n",
            "hermes-tree 1\nx a\n",
        ] {
            assert!(Listing::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_same_tree_has_the_same_text_wherever_it_is() {
        let (one, other) = (tree(), tree());
        fs::File::open(other.path().join("a/z")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(listing(one.path()).render(), listing(other.path()).render());
        // One file with two names differs from two files with the same content.
        fs::remove_file(other.path().join("a/b/name")).unwrap();
        fs::write(other.path().join("a/b/name"), "2").unwrap();
        assert_ne!(listing(one.path()), listing(other.path()));
    }

    #[test]
    fn a_file_of_holes_is_not_read_to_its_end() {
        let dir = tree();
        let sparse = fs::File::create(dir.path().join("sparse")).unwrap();
        sparse.set_len(1 << 20).unwrap();
        assert_eq!(listing(dir.path()).room(), (3, 2 + (1 << 20)));
        sparse.set_len(15 << 40).unwrap();
        let product = Product::open(dir.path(), None).unwrap();
        let error = Listing::take(&product, Path::new(""), &|_, _| false).unwrap_err();
        assert_eq!((error.path, error.source.kind()), ("sparse".into(), io::ErrorKind::FileTooLarge));
    }

    #[test]
    fn differences_are_named() {
        let (one, other) = (tree(), tree());
        fs::remove_dir_all(other.path().join("a/b")).unwrap();
        fs::write(other.path().join("a/z"), "3").unwrap();
        fs::create_dir(other.path().join("new")).unwrap();
        fs::write(other.path().join("new/file"), "").unwrap();
        let (first, second) = (listing(one.path()), listing(other.path()));
        let mut found = Comparison::default();
        compare_listings(&first, &second, Path::new("out"), &mut found);
        let said: Vec<_> = found.files.iter().map(|file| format!("{}: {}", file.path, file.details[0])).collect();
        // The file had its first name in what is gone.
        assert_eq!(
            said,
            ["out/a/b: only in the first", "out/a/z: another name of a file / file", "out/new: only in the second"]
        );
        assert_eq!((found.compared, found.identical), (4, 1));
        assert_eq!(second.beyond(&first), [PathBuf::from("new")]);
        let changed = first.changed_in(&second);
        assert_eq!(changed, ["a/b", "a/b/file", "a/b/name", "a/z"].map(PathBuf::from));
    }
}
