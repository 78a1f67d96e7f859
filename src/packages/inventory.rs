//! The packages in all databases of an image.

use std::io;
use std::path::Path;

use serde::Serialize;

use crate::fs::atomic;
use crate::packages::{Malformed, Package, apk, dpkg, rpm, word};
use crate::rootfs::Rootfs;

/// Longest database read, in bytes: the largest distributions have some 100 MB of them.
const MAX_DATABASE: u64 = 512 << 20;
/// Longest `os-release` read, in bytes.
const MAX_RELEASE: u64 = 64 << 10;
/// Most files of `status.d` that are read.
const MAX_FILES: usize = 10_000;

/// What an image has of packages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inventory {
    /// What the image says it is.
    pub distribution: Option<Distribution>,
    /// The packages, sorted, each once.
    pub packages: Vec<Package>,
    /// Databases that are there and could not be read: their packages are missing above.
    pub unread: Vec<Unread>,
}

/// A distribution and its version (os-release(5)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Distribution {
    /// `ID`: debian, alpine, fedora.
    pub id: String,
    /// `VERSION_ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `VERSION_CODENAME`: bookworm.
    #[serde(skip)]
    pub codename: Option<String>,
}

/// A database that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// Its path in the image.
    pub path: String,
    pub why: String,
}

/// Reads all of a database.
type Parse = fn(&[u8]) -> Result<Vec<Package>, Malformed>;

/// Each with its path in the image. Of rpm's, only the first that is there speaks: what a newer rpm has
/// left of the others is out of date.
const DATABASES: [&[(&str, Parse)]; 5] = [
    &[("var/lib/dpkg/status", dpkg::parse)],
    &[("lib/apk/db/installed", apk::parse)],
    &[("usr/lib/apk/db/installed", apk::parse)],
    &[
        ("usr/lib/sysimage/rpm/rpmdb.sqlite", rpm::sqlite),
        ("usr/lib/sysimage/rpm/Packages.db", rpm::ndb),
        ("usr/lib/sysimage/rpm/Packages", rpm::berkeley),
    ],
    &[
        ("var/lib/rpm/rpmdb.sqlite", rpm::sqlite),
        ("var/lib/rpm/Packages.db", rpm::ndb),
        ("var/lib/rpm/Packages", rpm::berkeley),
    ],
];

impl Inventory {
    /// The packages of the image with this root.
    pub fn of(rootfs: &Rootfs) -> io::Result<Self> {
        let mut inventory = Self { distribution: Distribution::of(rootfs)?, ..Self::default() };
        for alternatives in DATABASES {
            for (path, parse) in alternatives {
                if inventory.read(rootfs, Path::new(path), *parse)? {
                    break;
                }
            }
        }
        inventory.look_for_logs(rootfs)?;
        let directory = Path::new("var/lib/dpkg/status.d");
        for name in rootfs.names_in(directory)?.into_iter().take(MAX_FILES) {
            // Beside each package lie the digests of its files.
            if Path::new(&name).extension().is_none_or(|extension| extension != "md5sums") {
                inventory.read(rootfs, &directory.join(name), dpkg::parse)?;
            }
        }
        // The same database may be there under two names.
        inventory.packages.sort();
        inventory.packages.dedup();
        Ok(inventory)
    }

    /// An `SQLite` database whose writer was killed may lack what its log has.
    fn look_for_logs(&mut self, rootfs: &Rootfs) -> io::Result<()> {
        for path in ["usr/lib/sysimage/rpm/rpmdb.sqlite-wal", "var/lib/rpm/rpmdb.sqlite-wal"] {
            if let Some(found) = rootfs.find(Path::new(path))?
                && found.outside.symlink_metadata()?.len() > 0
            {
                self.unread
                    .push(Unread { path: format!("/{path}"), why: "changes in a write-ahead log are not read".into() });
            }
        }
        Ok(())
    }

    /// Adds what is in one database; whether it is there.
    fn read(&mut self, rootfs: &Rootfs, path: &Path, parse: Parse) -> io::Result<bool> {
        let Some(found) = rootfs.find(path)?.filter(|found| !found.is_directory) else { return Ok(false) };
        let read = atomic::read_limited(&found.outside, MAX_DATABASE);
        let why = match read.as_deref().map(parse) {
            Ok(Ok(packages)) => {
                self.packages.extend(packages);
                return Ok(true);
            }
            Ok(Err(malformed)) => malformed.to_string(),
            Err(error) => error.to_string(),
        };
        self.unread.push(Unread { path: found.inside.display().to_string().escape_default().to_string(), why });
        Ok(true)
    }
}

impl Distribution {
    /// What an image says that it is.
    ///
    /// # Errors
    /// A layer that cannot be read.
    pub(crate) fn of(rootfs: &Rootfs) -> io::Result<Option<Self>> {
        for path in ["etc/os-release", "usr/lib/os-release"] {
            if let Some(found) = rootfs.find(Path::new(path))?.filter(|found| !found.is_directory) {
                return Ok(atomic::read_limited(&found.outside, MAX_RELEASE).ok().and_then(|text| Self::parse(&text)));
            }
        }
        Ok(None)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let value = |name: &str| {
            let of_line = |line: &[u8]| Some(line.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?.to_vec());
            let value = text.split(|byte| *byte == b'\n').find_map(of_line)?;
            let quoted = |quote: &[u8]| value.strip_prefix(quote)?.strip_suffix(quote);
            word(quoted(b"\"").or_else(|| quoted(b"'")).unwrap_or(&value))
        };
        Some(Self { id: value("ID")?, version: value("VERSION_ID"), codename: value("VERSION_CODENAME") })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::digest::Digest;

    #[test]
    fn all_layers_are_looked_into() {
        let dir = tempfile::tempdir().unwrap();
        let ids = [Digest::of(b"low"), Digest::of(b"high")];
        let put = |layer: usize, path: &str, text: &str| {
            let path = dir.path().join(ids[layer].hex()).join("fs").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let stanza = |name: &str| format!("Package: {name}\nVersion: 1\nArchitecture: all\n");
        put(0, "usr/lib/os-release", "NAME=x\nID='debian'\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n");
        put(0, "var/lib/dpkg/status.d/low", &stanza("low"));
        put(0, "var/lib/dpkg/status.d/low.md5sums", "no database");
        put(0, "var/lib/dpkg/status", &stanza("old"));
        put(1, "var/lib/dpkg/status", &stanza("new"));
        put(1, "var/lib/dpkg/status.d/high", &stanza("high"));
        put(1, "lib/apk/db/installed", "P:a\n");
        let rootfs = Rootfs::new(dir.path().to_owned(), &ids);
        let inventory = Inventory::of(&rootfs).unwrap();
        let names: Vec<_> = inventory.packages.iter().map(|package| &*package.name).collect();
        assert_eq!(names, ["high", "low", "new"]);
        assert_eq!(inventory.unread.len(), 1);
        assert_eq!(inventory.unread[0].path, "/lib/apk/db/installed");
        let (version, codename) = (Some("12".into()), Some("bookworm".into()));
        assert_eq!(inventory.distribution, Some(Distribution { id: "debian".into(), version, codename }));
    }
}
