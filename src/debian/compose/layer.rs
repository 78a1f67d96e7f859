//! The layers of a root: the entries of its tar with owners and times, and the difference of two states.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Write};

use super::finish::CHANGED;
use super::tree::{FileKey, Found, Tree};
use crate::digest::{Digest, HashingReader};
use crate::fs::entries::parent;
use crate::layer::{Entry, Kind, TarWriter, Written, in_tar_order};

/// An owner that the fake root's table has for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owned {
    /// User and group.
    pub(crate) owner: (u32, u32),
    /// When the file was made: another file with its number was made at another time. `None` if the file system does not know.
    pub(crate) born: Option<(i64, u32)>,
}

/// What is known about the files of a root beside what is on disk.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Latest time in the layer, in seconds since 1970. Everything that was made with the layer has it.
    pub(crate) epoch: i64,
    /// When scripts began to run and when everything was finished, by the clock of the file system: in seconds since 1970, and
    /// nanoseconds after them.
    pub(crate) run: ((i64, u32), (i64, u32)),
    /// Owners other than root.
    pub(crate) owners: HashMap<FileKey, Owned>,
}

/// A file of a root, as it is in a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) entry: Entry,
    /// Whether anything about it, or its content, may have been changed during the run.
    pub(crate) is_touched: bool,
}

impl Facts {
    /// The files of a tree as they are in a layer.
    #[must_use]
    pub(crate) fn describe(&self, found: Vec<Found>) -> Vec<Described> {
        found.into_iter().map(|found| self.described(found)).collect()
    }

    fn described(&self, found: Found) -> Described {
        let Found { mut entry, key, born, changed } = found;
        if let Some(owned) = self.owners.get(&key).filter(|owned| owned.born.is_none() || owned.born == born) {
            (entry.uid, entry.gid) = owned.owner;
        }
        let (start, end) = self.run;
        let is_made = CHANGED.contains(&entry.path.as_slice()) || (start.0..=end.0).contains(&entry.mtime.0);
        let time = if is_made { self.epoch } else { entry.mtime.0.min(self.epoch) };
        entry.mtime = (time, 0);
        Described { entry, is_touched: changed >= start }
    }
}

/// Writes the tar of a layer with these `entries` of `tree`, which get the digests of their files.
///
/// # Errors
///
/// Those of `out`; a file cannot be read.
pub(crate) fn write<W: Write>(tree: &Tree, entries: &mut [Entry], out: W) -> io::Result<(W, Written)> {
    let mut tar = TarWriter::new(out);
    for entry in entries {
        if entry.kind == Kind::File {
            let mut content = HashingReader::new(tree.open_file(&entry.path)?);
            tar.add(entry, &mut content)?;
            entry.digest = Some(content.into_parts().1.finish());
        } else {
            tar.add(entry, io::empty())?;
        }
    }
    tar.finish()
}

/// The entries of a layer that makes `above` of `below`, which has the digests of its files. `digest` finds out that of a file
/// of `above`. A directory with a change in it is an entry too, and of a file with several names all names are, or none.
///
/// # Errors
///
/// Those of `digest`.
pub(crate) fn difference(
    below: &[Entry],
    above: Vec<Described>,
    mut digest: impl FnMut(&Entry) -> io::Result<Digest>,
) -> io::Result<Vec<Entry>> {
    let before: BTreeMap<&[u8], &Entry> = below.iter().map(|entry| (entry.path.as_slice(), entry)).collect();
    let mut is_changed = |Described { entry, is_touched }: &Described| {
        Ok::<_, io::Error>(match before.get(entry.path.as_slice()) {
            None => true,
            Some(old) if (Entry { digest: None, ..(*old).clone() }) != *entry => true,
            Some(old) => *is_touched && entry.kind == Kind::File && Some(digest(entry)?) != old.digest,
        })
    };
    let mut changed = BTreeSet::new();
    for described in &above {
        if is_changed(described)? {
            changed.insert(first_name(&described.entry).to_vec());
            changed.insert(described.entry.path.clone());
        }
    }
    let now: BTreeMap<&[u8], Kind> =
        above.iter().map(|described| (described.entry.path.as_slice(), described.entry.kind)).collect();
    // What was in a removed directory is removed with it.
    let is_removed = |entry: &&Entry| {
        !now.contains_key(entry.path.as_slice()) && now.get(parent(&entry.path)) == Some(&Kind::Directory)
    };
    let removed: Vec<Entry> = below.iter().filter(is_removed).map(whiteout).collect();
    let mut on_the_way = BTreeSet::new();
    for path in changed.iter().chain(removed.iter().map(|entry| &entry.path)) {
        let mut path = path.as_slice();
        while !path.is_empty() {
            path = parent(path);
            on_the_way.insert(path.to_vec());
        }
    }
    let belongs = |entry: &Entry| changed.contains(first_name(entry)) || on_the_way.contains(&entry.path);
    let kept = above.into_iter().map(|described| described.entry).filter(belongs);
    let mut entries: Vec<Entry> = kept.chain(removed).collect();
    entries.sort_by(|one, other| in_tar_order(&one.path, &other.path));
    Ok(entries)
}

/// The first of the names of a file.
fn first_name(entry: &Entry) -> &[u8] {
    if entry.kind == Kind::Hardlink { &entry.link } else { &entry.path }
}

fn whiteout(entry: &Entry) -> Entry {
    Entry { path: entry.path.clone(), kind: Kind::Whiteout, mode: 0, mtime: (0, 0), implied: false, ..Entry::implied() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: i64 = 1_000_000;

    fn entry(path: &str, kind: Kind) -> Entry {
        let digest = (kind == Kind::File).then(|| Digest::of(path.as_bytes()));
        Entry { path: path.into(), kind, mtime: (5, 0), digest, implied: false, ..Entry::implied() }
    }

    fn link(path: &str, to: &str) -> Entry {
        Entry { link: to.into(), ..entry(path, Kind::Hardlink) }
    }

    /// The paths and kinds of a difference; files of `touched` were touched, and those of `rewritten` have another content.
    fn diff(below: &[Entry], above: &[Entry], touched: &[&str], rewritten: &[&str]) -> Vec<(String, Kind)> {
        let describe = |entry: &Entry| Described {
            entry: Entry { digest: None, ..entry.clone() },
            is_touched: touched.iter().any(|path| path.as_bytes() == entry.path),
        };
        let digest = |entry: &Entry| {
            let is_new = rewritten.iter().any(|path| path.as_bytes() == entry.path);
            Ok(if is_new { Digest::of(b"new") } else { Digest::of(&entry.path) })
        };
        let entries = difference(below, above.iter().map(describe).collect(), digest).unwrap();
        entries.into_iter().map(|entry| (String::from_utf8(entry.path).unwrap(), entry.kind)).collect()
    }

    #[test]
    fn a_difference_has_what_changed_and_the_directories_above() {
        let dir = |path| entry(path, Kind::Directory);
        let file = |path| entry(path, Kind::File);
        let below = [dir(""), dir("a"), file("a/same"), file("a/touched"), file("a/written"), dir("b"), file("b/old")];
        let mut above = below.to_vec();
        above.insert(4, file("a/new"));
        let (touched, written) = (["a/touched", "a/written"], ["a/written"]);
        let expected =
            [("", Kind::Directory), ("a", Kind::Directory), ("a/new", Kind::File), ("a/written", Kind::File)];
        let expected = expected.map(|(path, kind)| (path.to_owned(), kind));
        let mut found = diff(&below, &above, &touched, &written);
        assert_eq!(found, expected);
        above[1].mode = 0o700;
        found = diff(&below, &above, &[], &[]);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(diff(&below, &below, &["a/touched"], &[]), []);
    }

    #[test]
    fn what_is_gone_is_hidden_once() {
        let dir = |path| entry(path, Kind::Directory);
        let below = [
            dir(""),
            dir("a"),
            dir("a/b"),
            entry("a/b/c", Kind::File),
            entry("x", Kind::Directory),
            entry("x/y", Kind::File),
        ];
        let above = [dir(""), dir("a"), entry("x", Kind::File)];
        let expected = [("", Kind::Directory), ("a", Kind::Directory), ("a/b", Kind::Whiteout), ("x", Kind::File)];
        assert_eq!(diff(&below, &above, &[], &[]), expected.map(|(path, kind)| (path.to_owned(), kind)));
    }

    #[test]
    fn all_names_of_a_file_are_together() {
        let root = entry("", Kind::Directory);
        let below = [root.clone(), entry("a", Kind::File), link("b", "a")];
        let expected = ["", "a", "b"].map(str::to_owned);
        let paths = |found: Vec<(String, Kind)>| found.into_iter().map(|(path, _)| path).collect::<Vec<_>>();
        assert_eq!(paths(diff(&below, &below, &["a"], &["a"])), expected);
        let above = [root, entry("a", Kind::File), link("b", "a"), link("c", "a")];
        assert_eq!(paths(diff(&below, &above, &[], &[])), ["", "a", "b", "c"].map(str::to_owned));
    }

    #[test]
    fn what_the_run_made_has_the_epoch_and_owners_hold_for_one_file() {
        let key = |inode| FileKey { device: 1, inode };
        let owner = |born| Owned { owner: (7, 8), born };
        let facts = Facts {
            epoch: EPOCH,
            run: ((2_000_000, 5), (2_000_009, 0)),
            owners: [(key(1), owner(None)), (key(2), owner(Some((1, 1)))), (key(3), owner(Some((1, 1))))].into(),
        };
        let found = |path: &str, kind, mtime, inode, born| {
            let entry = Entry { mtime: (mtime, 5), digest: None, ..entry(path, kind) };
            Found { entry, key: key(inode), born, changed: (mtime, 7) }
        };
        let described = facts.describe(vec![
            found("old", Kind::File, 4, 1, None),
            found("made", Kind::File, 2_000_005, 2, Some((1, 1))),
            found("newer", Kind::File, 1_500_000, 3, Some((2, 2))),
            found("dev", Kind::Directory, 4, 4, None),
        ]);
        let seen: Vec<_> = described.iter().map(|one| (one.entry.mtime, one.entry.uid, one.is_touched)).collect();
        assert_eq!(seen, [((4, 0), 7, false), ((EPOCH, 0), 7, true), ((EPOCH, 0), 0, false), ((EPOCH, 0), 0, false)]);
    }
}
