//! Packages on top of a configured base, put where dpkg would have unpacked them.
//!
//! They were unpacked into a tree of their own. That works if dpkg would have put each file at the same path, and would have found
//! nothing there: no link on the way but those of merged `/usr`, no diversion (dpkg-divert(1)) and no owner that the administrator
//! has chosen (dpkg-statoverride(1)).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::tree::Tree;
use crate::debian::deb::{Additions, DatabaseFile, UnpackedPackage};
use crate::fs::entries::{self, parent};
use crate::layer::{Attributes, Entry, Kind, in_tar_order};

/// dpkg's directory.
const ADMIN: &str = "var/lib/dpkg";

/// Packages in a tree of their own.
pub(crate) struct Above<'a> {
    /// The directory of the tree.
    pub(crate) tree: &'a Path,
    /// What is in the tree.
    pub(crate) entries: Vec<Entry>,
    /// The packages in it.
    pub(crate) packages: &'a [UnpackedPackage],
    /// Names of links of merged `/usr` that the base must have.
    pub(crate) links: &'a [&'static [u8]],
}

impl Above<'_> {
    /// Whether the packages fit on top of `base`, whose tree is `root`.
    ///
    /// # Errors
    ///
    /// A file of dpkg's database cannot be read; it is named.
    pub(crate) fn fits(&self, root: &Tree, base: &[Entry]) -> Result<bool, (String, io::Error)> {
        let base: HashMap<&[u8], &Entry> = base.iter().map(|entry| (entry.path.as_slice(), entry)).collect();
        let is_linked = |name: &[u8]| {
            let target = entries::join(b"usr", name);
            let is_link = |entry: &&Entry| entry.kind == Kind::Symlink;
            let found = base.get(name).copied().filter(is_link);
            found.is_some_and(|link| link.link.strip_prefix(b"/").unwrap_or(&link.link) == target)
        };
        let is_free = |entry: &Entry| match base.get(entry.path.as_slice()) {
            None => true,
            Some(below) => entry.kind == Kind::Directory && below.kind == Kind::Directory,
        };
        if !self.links.iter().all(|name| is_linked(name)) || !self.entries.iter().all(is_free) {
            return Ok(false);
        }
        let special = special(root)?;
        let is_special = |path: &[u8]| special.contains(&[b"/", path].concat());
        Ok(special.is_empty()
            || !self.packages.iter().flat_map(UnpackedPackage::entries).any(|(path, _)| is_special(path)))
    }

    /// Moves the packages into `root`, which has the entries `base`, and adds them to dpkg's database. Returns what is then in the
    /// tree, with the times of directories: as dpkg does, everything that was made has its own, and a directory in which something
    /// was made has `epoch`.
    ///
    /// # Errors
    ///
    /// A file cannot be moved or written; it is named.
    pub(crate) fn put(
        self,
        root: &Tree,
        base: Vec<Entry>,
        additions: Additions,
        epoch: i64,
    ) -> Result<Vec<Entry>, (String, io::Error)> {
        let Self { tree, entries: mut above, packages, .. } = self;
        let mut all: BTreeMap<Vec<u8>, Entry> = base.into_iter().map(|entry| (entry.path.clone(), entry)).collect();
        let mut touched = HashSet::new();
        above.sort_by(|one, other| in_tar_order(&one.path, &other.path));
        // A directory that the base lacks was moved with everything in it.
        let mut moved: Option<Vec<u8>> = None;
        for entry in above {
            if all.contains_key(&entry.path) {
                continue;
            }
            touched.insert(parent(&entry.path).to_vec());
            let is_in = |directory: &Vec<u8>| entry.path.starts_with(&entries::join(directory, b""));
            if !moved.as_ref().is_some_and(is_in) {
                let [from, to] = [tree, root.path()].map(|at| at.join(std::ffi::OsStr::from_bytes(&entry.path)));
                rustix::fs::rename(&from, &to).map_err(|errno| (shown(&entry.path), errno.into()))?;
                moved = (entry.kind == Kind::Directory).then(|| entry.path.clone());
            }
            all.insert(entry.path.clone(), entry);
        }
        for DatabaseFile { path, attributes, content } in database(root, additions, packages, epoch)? {
            let failed = |error| (path.clone(), error);
            root.write(&path, &content, Some(attributes.mode.into())).map_err(failed)?;
            root.set_time(path.as_bytes(), (attributes.mtime, 0)).map_err(failed)?;
            touched.insert(parent(path.as_bytes()).to_vec());
            let written = Entry {
                path: path.into_bytes(),
                kind: Kind::File,
                mode: attributes.mode,
                size: content.len() as u64,
                mtime: (attributes.mtime, 0),
                implied: false,
                ..Entry::implied()
            };
            all.insert(written.path.clone(), written);
        }
        for path in touched {
            if let Some(directory) = all.get_mut(&path) {
                directory.mtime = (epoch, 0);
            }
        }
        Ok(all.into_values().collect())
    }
}

/// Paths with a leading `/` that dpkg would put elsewhere, or give other owners.
fn special(root: &Tree) -> Result<BTreeSet<Vec<u8>>, (String, io::Error)> {
    let mut special = BTreeSet::new();
    for name in ["diversions", "statoverride"] {
        let text = read(root, &format!("{ADMIN}/{name}"))?;
        // Each path of the one is a line, and the last word of each line of the other.
        for line in text.split(|byte| *byte == b'\n') {
            special.extend(line.iter().position(|byte| *byte == b'/').map(|at| line[at..].to_vec()));
        }
    }
    Ok(special)
}

/// The files of dpkg's database that change.
fn database(
    root: &Tree,
    additions: Additions,
    packages: &[UnpackedPackage],
    epoch: i64,
) -> Result<Vec<DatabaseFile>, (String, io::Error)> {
    let Additions { info: mut files, status, by_path, by_name } = additions;
    let interests = read(root, &format!("{ADMIN}/triggers/File"))?;
    let more = by_name.into_iter().map(|(name, lines)| (format!("triggers/{name}"), lines));
    let more = more.chain([("triggers/File".to_owned(), by_path), ("status".to_owned(), status)]);
    let more = more.chain([("triggers/Unincorp".to_owned(), activated(&interests, packages))]);
    let attributes = Attributes { mode: 0o644, uid: 0, gid: 0, mtime: epoch };
    for (name, added) in more.filter(|(_, added)| !added.is_empty()) {
        let path = format!("{ADMIN}/{name}");
        let mut content = read(root, &path)?;
        content.extend_from_slice(added.as_bytes());
        files.push(DatabaseFile { path, attributes, content });
    }
    Ok(files)
}

/// The content of a file; empty if the file does not exist.
fn read(root: &Tree, path: &str) -> Result<Vec<u8>, (String, io::Error)> {
    root.read(path).map(Option::unwrap_or_default).map_err(|error| (path.to_owned(), error))
}

/// The lines of `triggers/Unincorp` by which dpkg learns which paths of the base's `interests` the packages have changed. The
/// packages' own interests do not count, since they are not configured (`trig_record_activation` in lib/dpkg/triglib.c).
fn activated(interests: &[u8], packages: &[UnpackedPackage]) -> String {
    let lines = interests.split(|byte| *byte == b'\n');
    let wanted: HashSet<&[u8]> = lines.filter_map(|line| line.split(|byte| *byte == b' ').next()).collect();
    let mut hit = BTreeSet::new();
    for (path, _) in packages.iter().flat_map(UnpackedPackage::entries) {
        let path = [b"/", path].concat();
        let mut part = path.as_slice();
        while part.len() > 1 {
            hit.extend(wanted.get(part).copied());
            part = parent(part);
        }
    }
    let line = |path: &&[u8]| format!("{} -\n", String::from_utf8_lossy(path));
    hit.iter().map(line).collect()
}

fn shown(path: &[u8]) -> String {
    crate::visible::visible_path(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::debian::deb::{Expected, Root};
    use crate::digest::Digest;
    use crate::layer::{Limits, TarWriter, assemble};

    const EPOCH: i64 = 1_783_900_800;

    fn entry(path: &str, kind: Kind, link: &str) -> Entry {
        Entry { path: path.into(), kind, mtime: (5, 0), link: link.into(), implied: false, ..Entry::implied() }
    }

    /// A package with a preinst script, `triggers` and files at these paths; those that end in a slash are directories.
    fn package(name: &str, paths: &[&str]) -> (Vec<u8>, Expected) {
        let tar = |files: &[(&str, &str)]| {
            let mut tar = TarWriter::new(Vec::new());
            for (path, content) in files {
                let (path, kind) = match path.strip_suffix('/') {
                    Some(path) => (path, Kind::Directory),
                    None => (*path, Kind::File),
                };
                let of = Entry { size: content.len() as u64, mode: 0o755, ..entry(path, kind, "") };
                tar.add(&of, content.as_bytes()).unwrap();
            }
            tar.finish().unwrap().0
        };
        let control = format!(
            "Package: {name}\nVersion: 1\nArchitecture: amd64\nMaintainer: A <a@example.org>\nDescription: d\n"
        );
        let triggers = "interest-noawait /usr/share/of\ninterest named\n";
        let control = tar(&[("control", &control), ("triggers", triggers)]);
        let files: Vec<_> = paths.iter().map(|path| (*path, "content")).collect();
        let data = tar(&files
            .iter()
            .map(|(path, content)| (*path, if path.ends_with('/') { "" } else { *content }))
            .collect::<Vec<_>>());
        let bytes = crate::debian::deb::package(b"2.0\n", &control, &data);
        let expected = Expected {
            name: name.parse().unwrap(),
            version: "1".parse().unwrap(),
            architecture: "amd64".parse().unwrap(),
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
        };
        (bytes, expected)
    }

    /// A base with dpkg's directory, and packages beside it.
    struct World {
        temp: tempfile::TempDir,
        base: Vec<Entry>,
        above: Vec<Entry>,
        packages: Vec<UnpackedPackage>,
        links: Vec<&'static [u8]>,
    }

    impl World {
        fn new(paths: &[&str]) -> Self {
            let temp = tempfile::tempdir().unwrap();
            let base = [
                entry("", Kind::Directory, ""),
                entry("bin", Kind::Symlink, "usr/bin"),
                entry("etc", Kind::Directory, ""),
                entry("etc/file", Kind::File, ""),
                entry("link", Kind::Symlink, "etc"),
                entry("usr", Kind::Directory, ""),
                entry("usr/bin", Kind::Directory, ""),
                entry("usr/share", Kind::Directory, ""),
                entry("var", Kind::Directory, ""),
                entry("var/lib", Kind::Directory, ""),
                entry("var/lib/dpkg", Kind::Directory, ""),
                entry("var/lib/dpkg/info", Kind::Directory, ""),
                entry("var/lib/dpkg/status", Kind::File, ""),
                entry("var/lib/dpkg/triggers", Kind::Directory, ""),
            ];
            let root = temp.path().join("root");
            fs::create_dir_all(root.join("var/lib/dpkg/info")).unwrap();
            fs::create_dir_all(root.join("var/lib/dpkg/triggers")).unwrap();
            fs::create_dir_all(root.join("usr/bin")).unwrap();
            fs::create_dir_all(root.join("usr/share")).unwrap();
            fs::create_dir(root.join("etc")).unwrap();
            fs::write(root.join("var/lib/dpkg/status"), "Package: base\n\n").unwrap();
            fs::write(root.join("var/lib/dpkg/triggers/File"), "/usr/share/watched base/noawait\n/opt base\n").unwrap();
            let into = temp.path().join("above");
            fs::create_dir(&into).unwrap();
            let (bytes, expected) = package("new", paths);
            let limits = Limits::default();
            let (tree, (packages, links)) = assemble(&into, &limits, EPOCH, |assembly| {
                let mut root = Root::new(assembly, &limits);
                root.unpack(bytes.as_slice(), &expected).unwrap();
                Ok::<_, crate::layer::LayerError>(root.finish_above())
            })
            .unwrap();
            Self { temp, base: base.into(), above: tree.toc.entries, packages, links }
        }

        fn root(&self) -> Tree {
            Tree::open(&self.temp.path().join("root")).unwrap()
        }

        fn fits(&self) -> bool {
            let tree = self.temp.path().join("above");
            let above =
                Above { tree: &tree, entries: self.above.clone(), packages: &self.packages, links: &self.links };
            above.fits(&self.root(), &self.base).unwrap()
        }

        fn put(&self) -> Vec<Entry> {
            let tree = self.temp.path().join("above");
            let above =
                Above { tree: &tree, entries: self.above.clone(), packages: &self.packages, links: &self.links };
            let additions = Additions::new(&self.packages, EPOCH).unwrap();
            above.put(&self.root(), self.base.clone(), additions, EPOCH).unwrap()
        }

        fn read(&self, path: &str) -> String {
            fs::read_to_string(self.temp.path().join("root").join(path)).unwrap()
        }
    }

    #[test]
    fn packages_fit_where_dpkg_would_find_nothing() {
        for (paths, fits) in [
            (&["usr/", "usr/share/", "usr/share/new/", "usr/share/new/file"][..], true),
            (&["bin/", "bin/new"], true),
            (&["sbin/", "sbin/new"], false),
            (&["etc/", "etc/file"], false),
            (&["etc/", "etc/file/", "etc/file/x"], false),
            (&["link/", "link/x"], false),
        ] {
            assert_eq!(World::new(paths).fits(), fits, "{paths:?}");
        }
        let world = World::new(&["bin/", "bin/new"]);
        for (name, text, fits) in [
            ("diversions", "/bin/other\n/bin/other.real\nbase\n", true),
            ("diversions", "/bin/other\n/bin/new\nbase\n", false),
            ("statoverride", "root mail 2755 /bin/new\n", false),
        ] {
            let path = world.temp.path().join("root/var/lib/dpkg").join(name);
            fs::write(&path, text).unwrap();
            assert_eq!(world.fits(), fits, "{name}: {text}");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn packages_are_put_where_they_belong_and_known_to_dpkg() {
        let paths = ["usr/", "usr/share/", "usr/share/new/", "usr/share/new/a/", "usr/share/new/a/file"];
        let more = ["bin/", "bin/new", "usr/share/empty/", "usr/share/watched/", "usr/share/watched/x"];
        let world = World::new(&[&paths[..], &more].concat());
        assert!(world.fits());
        let entries = world.put();
        for path in ["usr/share/new/a/file", "usr/bin/new", "usr/share/watched/x"] {
            assert_eq!(world.read(path), "content");
        }
        let time = |path: &str| entries.iter().find(|entry| entry.path == path.as_bytes()).unwrap().mtime.0;
        for (path, expected) in [
            ("", 5),
            ("usr", 5),
            ("usr/share", EPOCH),
            ("usr/bin", EPOCH),
            ("usr/share/new", EPOCH),
            ("usr/share/empty", 5),
            ("usr/share/new/a/file", 5),
            ("etc", 5),
            ("var/lib/dpkg/info", EPOCH),
            ("var/lib/dpkg/info/new.triggers", 5),
        ] {
            assert_eq!(time(path), expected, "{path}");
        }
        assert!(
            world
                .read("var/lib/dpkg/status")
                .starts_with("Package: base\n\nPackage: new\nStatus: install ok unpacked\n")
        );
        let interests = world.read("var/lib/dpkg/triggers/File");
        assert_eq!(interests, "/usr/share/watched base/noawait\n/opt base\n/usr/share/of new/noawait\n");
        assert_eq!(world.read("var/lib/dpkg/triggers/named"), "new\n");
        assert_eq!(world.read("var/lib/dpkg/triggers/Unincorp"), "/usr/share/watched -\n");
        assert!(world.read("var/lib/dpkg/info/new.list").contains("/bin/new\n"));
    }
}
