//! Comparison with dpkg itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use crate::debian::deb::testing::{Deb, compose, control};
use crate::layer::testing::Tar;
use crate::layer::{Entry, Kind};
use crate::skip::require;

/// Paths of dpkg's own, and those that this test makes before dpkg runs.
const PREPARED: [&str; 5] = ["bin", "usr", "usr/bin", "usr/lib", "lib"];

fn packages() -> [Deb; 3] {
    let owned = |block: &mut [u8; 512]| {
        block[100..108].copy_from_slice(b"0002755\0");
        block[116..124].copy_from_slice(b"0000052\0");
    };
    // dpkg gives a file what the header of its last name says.
    let linked = |block: &mut [u8; 512]| {
        owned(block);
        block[157..166].copy_from_slice(b"./bin/one");
    };
    let one = Tar::default().dir("./").dir("./bin/").with("./bin/one", b'0', b"one", owned).with(
        "./bin/two",
        b'1',
        b"",
        linked,
    );
    let one = one.dir("./etc/").file("./etc/one.conf", "abc").file("./bin/three", "three").mode("./srv/", b'5', 0o1777);
    let fields =
        "Homepage: https://example.org\nDepends: libone (>=1)|x-two,\n libtwo\nMulti-Arch: foreign\nX-Odd: a  b \n";
    let control_of_one = Tar::default()
        .dir("./")
        .file("./control", &control("one", fields))
        .file("./conffiles", "/etc/one.conf\n")
        .file("./triggers", "interest-noawait /usr/share/one\ninterest named\n");
    let lib =
        Tar::default().dir("./").dir("./lib/").file("./lib/libone.so.1", "").symlink("./lib/libone.so", "libone.so.1");
    let control_of_lib = Tar::default()
        .dir("./")
        .file("./control", &control("libone", "Multi-Arch: same\nSource: one\n"))
        .file("./triggers", "activate-noawait ldconfig\ninterest /usr/lib/libone\n")
        .mode("./postinst", b'0', 0o755);
    let replacing = Tar::default().dir("./").dir("./bin/").file("./bin/three", "replaced");
    [
        Deb::of("libone", &control_of_lib, &lib).compressed(".gz"),
        Deb::of("one", &control_of_one, &one).compressed(".xz"),
        Deb::new("two", "Replaces: one (<< 2)\n", &replacing),
    ]
}

/// A line for each path, with what dpkg and the unpacker must agree on.
fn line(kind: char, mode: u32, uid: u32, gid: u32, mtime: i64, path: &str, link: &str) -> String {
    // dpkg gives a directory the time of what it put there last, and a link no mode.
    let (mode, mtime) = match kind {
        'd' => (mode, 0),
        'l' => (0, mtime),
        _ => (mode, mtime),
    };
    format!("{kind} {mode:o} {uid} {gid} {mtime} {path} {link}")
}

#[test]
fn the_tree_and_the_database_are_those_of_dpkg() {
    let works =
        |program: &str| Command::new(program).arg("--version").output().map(drop).map_err(|error| error.to_string());
    if !require("dpkg", works("dpkg")) || !require("fakeroot", works("fakeroot")) {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("root");
    for directory in ["usr/bin", "usr/lib", "var/lib/dpkg/info", "var/lib/dpkg/updates"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for name in ["bin", "lib"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    let debs = packages();
    let mut script =
        String::from("set -e; cd \"$0\"; dpkg --root=root --log=/dev/null --force-all --no-triggers --unpack");
    for deb in &debs {
        fs::write(temp.path().join(&deb.name), deb.bytes()).unwrap();
        let _ = write!(script, " {}", deb.name);
    }
    script.push_str(" >&2; cd root; find . -mindepth 1 -printf '%y %m %U %G %T@ %P %l\\n'");
    let output =
        Command::new("fakeroot").args(["sh", "-c", &script]).arg(temp.path()).env("LC_ALL", "C").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = String::from_utf8(output.stdout).unwrap();
    let mut theirs: BTreeMap<String, String> = BTreeMap::new();
    for found in found.lines() {
        let fields: Vec<_> = found.splitn(7, ' ').collect();
        let [kind, mode, user, group, mtime, path, link] = fields[..] else { panic!("{found}") };
        // dpkg keeps the user's file until the package is configured.
        let path = path.trim_end_matches(".dpkg-new");
        if path.starts_with("var") || PREPARED.contains(&path) {
            continue;
        }
        let mode = u32::from_str_radix(mode, 8).unwrap();
        let mtime = mtime.split('.').next().unwrap().parse().unwrap();
        let kind = kind.chars().next().unwrap();
        let shown = line(kind, mode, user.parse().unwrap(), group.parse().unwrap(), mtime, path, link);
        theirs.insert(path.to_owned(), shown);
    }
    let composed = compose(&debs).unwrap();
    let entries: BTreeMap<_, _> =
        composed.tree.toc.entries.iter().map(|entry| (entry.path.as_slice(), entry)).collect();
    let mut ours = BTreeMap::new();
    for entry in entries.values() {
        let file: &Entry = if entry.kind == Kind::Hardlink { entries[entry.link.as_slice()] } else { entry };
        let path = String::from_utf8(entry.path.clone()).unwrap();
        let kind = match file.kind {
            Kind::Directory => 'd',
            Kind::Symlink => 'l',
            _ => 'f',
        };
        let link = if kind == 'l' { String::from_utf8(file.link.clone()).unwrap() } else { String::new() };
        if !path.is_empty() && !PREPARED.contains(&path.as_str()) {
            ours.insert(path.clone(), line(kind, file.mode.into(), file.uid, file.gid, file.mtime.0, &path, &link));
        }
        if kind == 'f' {
            let theirs = fs::read(root.join(&path)).or_else(|_| fs::read(root.join(format!("{path}.dpkg-new"))));
            assert_eq!(fs::read(composed.root().join(&path)).unwrap(), theirs.unwrap(), "{path}");
        }
    }
    assert_eq!(ours, theirs);
    for file in composed.database(&[]) {
        if file.path.ends_with("/available") || file.path.ends_with("/cmethopt") {
            continue;
        }
        let (ours, theirs) =
            (String::from_utf8(file.content).unwrap(), fs::read_to_string(root.join(&file.path)).unwrap());
        // The digest of the file that is unpacked in place of the user's.
        let is_status = file.path.ends_with("/status");
        let ours = if is_status { ours.replace("900150983cd24fb0d6963f7d28e17f72", "newconffile") } else { ours };
        assert_eq!(ours, theirs, "{}", file.path);
    }
    let names = fs::read_dir(root.join("var/lib/dpkg/info")).unwrap().count();
    assert_eq!(names, composed.database(&[]).iter().filter(|file| file.path.contains("/info/")).count());
}
