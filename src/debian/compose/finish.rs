//! What makes a configured root an image: the files that debootstrap and debuerreotype 0.17 add, and those that they remove.

use std::io;

use super::tree::Tree;

/// Seconds of a day.
const DAY: i64 = 86_400;
/// Directory of the files of the composition itself.
pub(crate) const PLACE: &str = ".hermes-compose";

/// The files of debuerreotype (`debuerreotype-minimizing-config`), by path, with their modes. See `files/NOTICE`.
const FILES: [(&str, u32, &str); 6] = [
    ("usr/sbin/policy-rc.d", 0o755, include_str!("files/policy-rc.d")),
    ("etc/dpkg/dpkg.cfg.d/docker-apt-speedup", 0o644, include_str!("files/docker-apt-speedup")),
    ("etc/apt/apt.conf.d/docker-autoremove-suggests", 0o644, include_str!("files/docker-autoremove-suggests")),
    ("etc/apt/apt.conf.d/docker-clean", 0o644, include_str!("files/docker-clean")),
    ("etc/apt/apt.conf.d/docker-gzip-indexes", 0o644, include_str!("files/docker-gzip-indexes")),
    ("etc/apt/apt.conf.d/docker-no-languages", 0o644, include_str!("files/docker-no-languages")),
];

/// Files of an image that has not been on a machine yet (`debuerreotype-init`).
const MACHINE: [(&str, &str); 2] = [
    ("etc/hostname", "debuerreotype\n"),
    (
        "etc/resolv.conf",
        "# https://1.1.1.1 (privacy-focused, highly-available DNS service)\nnameserver 1.1.1.1\nnameserver 1.0.0.1\n",
    ),
];

/// The table of file systems, if no package has one (debootstrap, `first_stage_install`).
const FSTAB: (&str, &str) = ("etc/fstab", "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n");
/// File of the archives that apt uses.
const SOURCES: &str = "etc/apt/sources.list.d/debian.sources";

/// Files that differ from run to run, or describe the machine (debuerreotype-fixup, `.tar-exclude`).
const REMOVED: [&str; 12] = [
    PLACE,
    ".hermes",
    "etc/apt/apt.conf.d/01autoremove-kernels",
    "etc/machine-id",
    "run/mount/utab",
    "var/cache/ldconfig/aux-cache",
    "var/lib/systemd/catalog/database",
    "var/log/alternatives.log",
    "var/log/apt/history.log",
    "var/log/apt/term.log",
    "var/log/bootstrap.log",
    "var/log/dpkg.log",
];

/// Directories whose content is removed.
const EMPTIED: [&str; 5] = ["dev", "proc", "sys", "var/cache/apt", "var/lib/apt/lists"];

/// Directories that debootstrap changes, although nothing is left in them: it makes devices, `/proc` again, and
/// `/etc/apt/sources.list`, which debuerreotype removes.
pub(crate) const CHANGED: [&[u8]; 3] = [b"dev", b"proc", b"etc/apt"];

/// Which part of a root was configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The base.
    Base,
    /// Packages on top of a base.
    Packages,
}

/// Finishes a part of the root in `tree`. `epoch` is in seconds since 1970; `sources` is the text for apt, if it gets one.
///
/// # Errors
///
/// A path cannot be changed; it is named.
pub(crate) fn finish(tree: &Tree, part: Part, epoch: i64, sources: Option<&str>) -> Result<(), (String, io::Error)> {
    let at = |path: &str| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    for path in REMOVED {
        tree.remove(path).map_err(at(path))?;
    }
    for path in EMPTIED {
        tree.empty(path).map_err(at(path))?;
    }
    for path in ["etc/shadow", "etc/shadow-"] {
        let Some(text) = tree.read(path).map_err(at(path))? else { continue };
        let limited = limit_dates(&text, epoch / DAY);
        if limited != text {
            tree.write(path, &limited, None).map_err(at(path))?;
        }
    }
    if part == Part::Packages {
        return Ok(());
    }
    if !tree.has(FSTAB.0).map_err(at(FSTAB.0))? {
        tree.write(FSTAB.0, FSTAB.1.as_bytes(), Some(0o644)).map_err(at(FSTAB.0))?;
    }
    for (path, text) in MACHINE {
        tree.write(path, text.as_bytes(), Some(0o644)).map_err(at(path))?;
    }
    for (path, mode, text) in FILES {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        if tree.has(directory).map_err(at(directory))? {
            tree.write(path, text.as_bytes(), Some(mode)).map_err(at(path))?;
        }
    }
    if let Some(text) = sources {
        tree.write(SOURCES, text.as_bytes(), Some(0o644)).map_err(at(SOURCES))?;
    }
    Ok(())
}

/// `/etc/shadow` in which no password was changed after `day` (shadow(5), third field).
fn limit_dates(text: &[u8], day: i64) -> Vec<u8> {
    let line = |line: &[u8]| {
        let mut fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let limit = day.to_string();
        let is_later =
            |field: &&[u8]| str::from_utf8(field).is_ok_and(|text| text.parse().is_ok_and(|at: i64| at > day));
        if let Some(field) = fields.get_mut(2).filter(|field| is_later(field)) {
            *field = limit.as_bytes();
        }
        fields.join(&b':')
    };
    text.split(|byte| *byte == b'\n').map(line).collect::<Vec<_>>().join(&b'\n')
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A tree with the usual directories.
    fn tree() -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        for path in
            ["etc/apt/apt.conf.d", "etc/apt/sources.list.d", "usr/sbin", "dev", "proc", "var/log", "var/cache/apt"]
        {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        let tree = Tree::open(dir.path()).unwrap();
        (dir, tree)
    }

    #[test]
    fn a_base_gets_its_files_and_loses_those_of_the_run() {
        let (dir, tree) = tree();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir(at(PLACE)).unwrap();
        for path in ["var/log/dpkg.log", "var/cache/apt/pkgcache.bin", "dev/null", "etc/machine-id"] {
            fs::write(at(path), "x").unwrap();
        }
        fs::write(at("etc/shadow"), "root:*:20700:0:\nold:*:5:0:\nnone:*::0:\n").unwrap();
        fs::set_permissions(at("etc/shadow"), fs::Permissions::from_mode(0o640)).unwrap();
        finish(&tree, Part::Base, 1_783_900_800, Some("Types: deb\n")).unwrap();
        for path in [PLACE, "var/log/dpkg.log", "var/cache/apt/pkgcache.bin", "dev/null", "etc/machine-id"] {
            assert!(!at(path).exists(), "{path}");
        }
        let read = |path: &str| fs::read_to_string(at(path)).unwrap();
        assert_eq!(read("etc/shadow"), "root:*:20647:0:\nold:*:5:0:\nnone:*::0:\n");
        assert_eq!(fs::metadata(at("etc/shadow")).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(fs::metadata(at("usr/sbin/policy-rc.d")).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!((read("etc/hostname").as_str(), read(SOURCES).as_str()), ("debuerreotype\n", "Types: deb\n"));
        assert!(read("etc/fstab").starts_with("# UNCONFIGURED"));
        assert!(!at("etc/dpkg").exists(), "a directory that no package has was made");
        // What packages add does not bring it back.
        fs::write(at("etc/hostname"), "other\n").unwrap();
        finish(&tree, Part::Packages, 1_783_900_800, None).unwrap();
        assert_eq!(read("etc/hostname"), "other\n");
    }

    #[test]
    fn links_lead_nowhere() {
        let (dir, tree) = tree();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("hostname"), "mine").unwrap();
        fs::remove_dir_all(dir.path().join("etc")).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("etc")).unwrap();
        assert!(finish(&tree, Part::Base, 0, None).is_err());
        fs::remove_file(dir.path().join("etc")).unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("hostname"), dir.path().join("etc/hostname")).unwrap();
        assert!(finish(&tree, Part::Base, 0, None).is_err());
        assert_eq!(fs::read_to_string(outside.path().join("hostname")).unwrap(), "mine");
    }
}
