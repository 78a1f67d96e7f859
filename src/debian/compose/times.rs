//! Times of the directories of a root, as they are in Debian's images.
//!
//! debootstrap 1.0.141 unpacks every package with `tar -k`, one after the other by name. A directory gets the time of its
//! first entry, and the time of making the image if anything is made in it later: by the next package, when `/lib` and the
//! other directories are moved beneath `/usr`, or when dpkg unpacks the package again, which replaces all files but leaves
//! directories alone. The images have one time for everything that was made with them, the epoch.

use std::collections::{BTreeMap, BTreeSet};

use crate::fs::entries::parent;

/// Directories that are links to directories beneath `/usr` (debootstrap's `merge_usr`).
const MERGED: [&[u8]; 7] = [b"bin", b"lib", b"lib32", b"lib64", b"libo32", b"libx32", b"sbin"];

/// Times of directories that packages contain.
#[derive(Debug, Default)]
pub(crate) struct DirectoryTimes {
    /// By the path in the archives of packages.
    directories: BTreeMap<Vec<u8>, Directory>,
    /// Number of packages so far.
    packages: usize,
}

#[derive(Debug, Clone, Copy)]
struct Directory {
    /// Time of the entry that made it, in seconds since 1970; `None` once anything was made in it later.
    time: Option<i64>,
    /// Number of the package that made it.
    package: usize,
    /// Whether anything but directories is in it.
    has_files: bool,
}

impl DirectoryTimes {
    /// Begins the next package. Packages come in the order of their names.
    pub(crate) fn next_package(&mut self) {
        self.packages += 1;
    }

    /// Adds an entry of the package: its path without `/` at either end, empty for the root, and for a directory its time
    /// in seconds since 1970.
    pub(crate) fn add(&mut self, path: &[u8], directory: Option<i64>) {
        if directory.is_some() && self.directories.contains_key(path) {
            return;
        }
        if !path.is_empty() {
            self.touch(path, directory.is_none());
        }
        if directory.is_some() {
            let made = Directory { time: directory, package: self.packages, has_files: false };
            self.directories.insert(path.to_vec(), made);
        }
    }

    /// Notes that something was made at `path`. A `file` will be replaced when dpkg unpacks the package again.
    fn touch(&mut self, path: &[u8], file: bool) {
        let (directory, package) = (parent(path), self.packages);
        if let Some(found) = self.directories.get_mut(directory) {
            found.has_files |= file;
            found.time = found.time.filter(|_| !file && found.package == package);
            return;
        }
        // Not in the archive, and made on the way.
        if !directory.is_empty() {
            self.touch(directory, false);
        }
        self.directories.insert(directory.to_vec(), Directory { time: None, package, has_files: file });
    }

    /// The times by the path in the root, in which `/lib` and the other directories are beneath `/usr`. `None`: the epoch.
    pub(crate) fn merged(self) -> BTreeMap<Vec<u8>, Option<i64>> {
        let is_below = |path: &[u8]| path.split(|byte| *byte == b'/').next().is_some_and(|top| MERGED.contains(&top));
        let (below, plain): (BTreeMap<_, _>, _) = self.directories.into_iter().partition(|(path, _)| is_below(path));
        let mut times: BTreeMap<Vec<u8>, Option<i64>> =
            plain.into_iter().map(|(path, directory)| (path, directory.time)).collect();
        // Directories that were moved with all that is in them.
        let mut moved = BTreeSet::new();
        for (path, directory) in below {
            let place = [b"usr/", path.as_slice()].concat();
            let above = parent(&place).to_vec();
            if let Some(time) = times.get_mut(&place) {
                *time = time.filter(|_| !directory.has_files);
                continue;
            }
            if !moved.contains(&above) {
                times.insert(above, None);
            }
            times.insert(place.clone(), directory.time);
            moved.insert(place);
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The times after packages of these entries; a path with `/` at its end is a directory.
    fn times(packages: &[&[(&str, i64)]]) -> BTreeMap<Vec<u8>, Option<i64>> {
        let mut times = DirectoryTimes::default();
        for package in packages {
            times.next_package();
            for (path, time) in *package {
                match path.strip_suffix('/') {
                    Some(path) => times.add(path.as_bytes(), Some(*time)),
                    None => times.add(path.as_bytes(), None),
                }
            }
        }
        times.merged()
    }

    #[test]
    fn a_directory_has_the_time_of_its_first_entry_until_something_is_made_in_it() {
        let times = times(&[
            &[
                ("/", 1),
                ("usr/", 2),
                ("usr/share/", 3),
                ("usr/share/a/", 4),
                ("usr/share/a/b/", 5),
                ("etc/", 6),
                ("etc/f", 7),
            ],
            &[("usr/", 12), ("usr/share/", 13), ("usr/share/c/", 14), ("usr/share/a/", 15), ("usr/share/a/b/", 16)],
        ]);
        for (path, time) in
            [("", Some(1)), ("usr", Some(2)), ("usr/share", None), ("usr/share/a", Some(4)), ("etc", None)]
        {
            assert_eq!(times[path.as_bytes()], time, "{path}");
        }
        assert_eq!(times[&b"usr/share/c"[..]], Some(14));
    }

    #[test]
    fn a_directory_that_no_archive_contains_has_the_epoch() {
        let times = times(&[&[("opt/x/", 5)]]);
        assert_eq!((times[&b""[..]], times[&b"opt"[..]], times[&b"opt/x"[..]]), (None, None, Some(5)));
    }

    #[test]
    fn merging_moves_whole_directories_and_changes_those_that_exist() {
        let times = times(&[&[
            ("lib/", 1),
            ("lib/new/", 2),
            ("lib/new/sub/", 3),
            ("lib/both/", 4),
            ("lib/both/moved/", 5),
            ("lib/same/", 6),
            ("usr/", 7),
            ("usr/lib/", 8),
            ("usr/lib/both/", 9),
            ("usr/lib/same/", 10),
        ]]);
        for (path, time) in [
            ("usr", Some(7)),
            ("usr/lib", None),
            ("usr/lib/new", Some(2)),
            ("usr/lib/new/sub", Some(3)),
            ("usr/lib/both", None),
            ("usr/lib/both/moved", Some(5)),
            ("usr/lib/same", Some(10)),
        ] {
            assert_eq!(times[path.as_bytes()], time, "{path}");
        }
        assert!(!times.contains_key(&b"lib"[..]));
    }
}
