//! The data of packages, alone and together.

use std::fs;

use crate::debian::deb::control::COMPARED;
use crate::debian::deb::md5::READ;
use crate::debian::deb::testing::{Deb, EPOCH, Failure, compose, compose_bytes, control};
use crate::debian::deb::{DebError, Fault, Root, link_merged_usr};
use crate::hint::{ErrorKind, Hint as _, error_chain};
use crate::layer::testing::Tar;
use crate::layer::{Kind, Limits, assemble};

fn tar() -> Tar {
    Tar::default().dir("./")
}

#[track_caller]
fn refused(data: &Tar, part: &str) {
    let error = compose(&[Deb::new("tool", "", data)]).unwrap_err();
    let text = error_chain(&error);
    assert_eq!(error.kind(), ErrorKind::Integrity, "{text}");
    assert!(text.contains(part), "{text}");
}

#[test]
fn paths_stay_in_the_tree() {
    refused(&tar().file("../outside", "x"), "'..' in its path");
    refused(&tar().file("./usr/../../outside", "x"), "'..' in its path");
    refused(&tar().file("/etc/passwd", "x"), "its path is absolute");
    refused(&tar().dir("/etc"), "its path is absolute");
    refused(
        &tar().dir("./etc/").symlink("./etc/out", "/").file("./etc/out/passwd", "x"),
        "leads through what is no directory",
    );
    refused(&tar().symlink("./out", "..").dir("./out/canary"), "leads through what is no directory");
    refused(&tar().symlink("./out", "..").hardlink("./file", "./out/canary"), "hard link target");
    refused(&tar().hardlink("./file", "../outside"), "'..' in its path");
    refused(&tar().hardlink("./file", "/etc/shadow"), "hard link target");
    refused(&tar().dir("./usr").hardlink("./file", "./usr"), "hard link target");
    refused(&tar().file("./usr/a\nb", "x"), "newline");
}

#[test]
fn links_of_merged_usr_are_made_without_base_files() {
    let data = tar().dir("./usr/").dir("./usr/lib64/").file("./usr/lib64/ld.so", "x").file("./usr/lib32", "a file");
    let deb = Deb::new("tool", "", &data);
    let temp = tempfile::tempdir().unwrap();
    let limits = Limits::default();
    assemble(temp.path(), &limits, EPOCH, |assembly| {
        let mut root = Root::new(assembly, &limits);
        root.unpack(&deb.bytes()[..], &deb.expected())?;
        root.finish(EPOCH)?;
        link_merged_usr(assembly, EPOCH)?;
        // The second time they are there.
        Ok::<_, Failure>(link_merged_usr(assembly, EPOCH)?)
    })
    .unwrap();
    assert_eq!(fs::read_to_string(temp.path().join("lib64/ld.so")).unwrap(), "x");
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 2, "of directories that are there");
}

#[test]
fn only_files_directories_and_links_are_unpacked() {
    for kind in [b'3', b'4', b'6'] {
        refused(&tar().mode("./dev/node", kind, 0o644), "a device or a FIFO");
    }
    refused(&tar().file("./usr/.wh.share", ""), "whiteout");
    refused(&tar().dir("./usr/").file("./usr/.wh..wh..opq", ""), "whiteout");
    refused(&tar().file("./.wh..wh.plnk", ""), "whiteout");
    refused(&tar().pax(&[("SCHILY.xattr.security.capability", b"x")]).file("./ping", "x"), "extended attributes");
    refused(&tar().file("./", "x"), "");
    refused(&tar().file("./a", "1").file("./a", "2"), "twice");
    refused(&tar().file("./a", "1").symlink("a", "b"), "twice");
    refused(&tar().dir("./a").file("./a", "1"), "also in the package tool");
}

#[test]
fn modes_owners_and_times_are_those_of_the_archive() {
    let own = |block: &mut [u8; 512]| {
        block[100..108].copy_from_slice(b"0004755\0");
        block[116..124].copy_from_slice(b"0000052\0");
    };
    let data = tar().dir("./usr/").with("./usr/su", b'0', b"su", own).hardlink("./usr/again", "./usr/su");
    let composed = compose(&[Deb::new("tool", "", &data)]).unwrap();
    let entries = &composed.tree.toc.entries;
    let su = entries.iter().find(|entry| entry.path == b"usr/again").unwrap();
    assert_eq!((su.mode, su.uid, su.gid, su.mtime), (0o4755, 0, 42, (0o1750, 0)));
    // The first of the names has the file.
    let again = entries.iter().find(|entry| entry.path == b"usr/su").unwrap();
    assert_eq!((again.kind, again.link.as_slice()), (Kind::Hardlink, &b"usr/again"[..]));
    assert!(entries.iter().all(|entry| !entry.implied));
}

#[test]
fn what_unpacks_to_too_much_is_refused() {
    let deb = Deb::new("tool", "", &tar().file("./zeros", &"\0".repeat(8 << 20))).compressed(".xz");
    let with = |limits: Limits| -> DebError { compose_bytes(&[(deb.bytes(), deb.expected())], &limits).unwrap_err() };
    let bomb = with(Limits { free: 1 << 20, ..Limits::default() });
    assert_eq!(bomb.kind(), ErrorKind::Failed);
    assert!(bomb.hints()[0].contains("--unpack-limit"), "{bomb:?}");
    let error = with(Limits { bytes: 4 << 20, ..Limits::default() });
    assert!(error_chain(&error).contains("has more than"), "{error:?}");
    // The limit is one of all packages together.
    let two = [
        Deb::new("aa", "", &tar().file("./a", &"a".repeat(3 << 20))),
        Deb::new("bb", "", &tar().file("./b", &"b".repeat(3 << 20))),
    ];
    let archives: Vec<_> = two.iter().map(|deb| (deb.bytes(), deb.expected())).collect();
    let limits = Limits { bytes: 5 << 20, ..Limits::default() };
    compose_bytes(&archives[..1], &limits).unwrap();
    let error = compose_bytes(&archives, &limits).unwrap_err();
    assert_eq!(error.package.as_str(), "bb");
}

#[test]
fn what_stays_in_memory_is_bounded() {
    // One directory again and again makes nothing in the tree, but a line in the list.
    let again = (0..2000).fold(tar(), |tar, _| tar.dir("./usr/"));
    let deb = Deb::new("tool", "", &again);
    let limits = Limits { table: 4096, ..Limits::default() };
    let error = compose_bytes(&[(deb.bytes(), deb.expected())], &limits).unwrap_err();
    assert!(error_chain(&error).contains("bytes of paths"), "{error:?}");
}

#[test]
fn control_files_of_all_packages_are_bounded() {
    let deb = |name: &str| {
        let tar = Tar::default().file("./control", &control(name, "")).file("./templates", &"x".repeat(4000));
        Deb::of(name, &tar, &tar_of(name))
    };
    let debs = ["aa", "bb", "cc"].map(deb);
    let archives: Vec<_> = debs.iter().map(|deb| (deb.bytes(), deb.expected())).collect();
    let limits = Limits { table: 10_000, ..Limits::default() };
    compose_bytes(&archives[..2], &limits).unwrap();
    let error = compose_bytes(&archives, &limits).unwrap_err();
    assert_eq!(error.package.as_str(), "cc");
    assert!(error_chain(&error).contains("10000 bytes of control files"), "{error:?}");
}

/// A file of the package.
fn tar_of(name: &str) -> Tar {
    tar().file(&format!("./{name}"), name)
}

/// dpkg's database has the digest of each name, and a file any number of names.
#[test]
fn a_file_with_many_names_is_read_once() {
    let names = 500;
    let data = (0..names)
        .fold(tar().file("./zeros", &"\0".repeat(1 << 20)), |tar, name| tar.hardlink(&format!("./{name}"), "./zeros"));
    READ.set(0);
    let composed = compose(&[Deb::new("tool", "", &data)]).unwrap();
    let list = crate::debian::deb::testing::text(&composed.database(&[]), "info/tool.md5sums");
    let digests: std::collections::BTreeSet<_> = list.lines().map(|line| &line[..32]).collect();
    assert_eq!((list.lines().count(), digests.len()), (names + 1, 1));
    assert_eq!(READ.get(), 1 << 20, "bytes that were read");
}

/// The relations of two packages are compared once, however many paths and relations they have.
#[test]
fn replacing_many_files_is_no_trouble() {
    let many = |name: &str, fields: &str| {
        let data = (0..2000).fold(tar(), |tar, path| tar.file(&format!("./{path}"), ""));
        Deb::new(name, fields, &data)
    };
    let relations = format!("Replaces: {}aa\n", "xx, ".repeat(2000));
    COMPARED.set(0);
    let composed = compose(&[many("aa", ""), many("bb", &relations)]).unwrap();
    let database = composed.database(&[]);
    let lines = |name: &str| crate::debian::deb::testing::text(&database, &format!("info/{name}.list")).lines().count();
    assert_eq!((lines("aa"), lines("bb")), (1, 2001));
    assert!(COMPARED.get() < 10, "{}", COMPARED.get());
}

fn conflict(debs: &[Deb]) -> (String, String, String) {
    let error = compose(debs).unwrap_err();
    let Fault::Conflict { path, other } = &*error.source else { panic!("{error:?}") };
    (error.package.to_string(), path.clone(), other.to_string())
}

#[test]
fn two_packages_share_directories_and_nothing_else() {
    let mode = |tar: Tar, mode: u16| tar.mode("./usr/share/", b'5', mode);
    let one = Deb::new("one", "", &mode(tar().dir("./usr/"), 0o700).file("./usr/share/one", "1"));
    let two = Deb::new("two", "", &mode(tar().dir("./usr/"), 0o755).file("./usr/share/two", "2"));
    let composed = compose(&[one.clone(), two]).unwrap();
    assert_eq!(composed.paths(), ["d usr", "d usr/share", "f usr/share/one", "f usr/share/two"]);
    // A directory keeps what its first package gave it.
    assert_eq!(composed.tree.toc.entries[2].mode, 0o700);
    let names = |package: &str, path: &str, other: &str| (package.to_owned(), path.to_owned(), other.to_owned());
    for (data, path) in [
        (tar().file("./usr/share/one", "2"), "usr/share/one"),
        (tar().symlink("./usr/share/one", "x"), "usr/share/one"),
        (tar().dir("./usr/share/one"), "usr/share/one"),
        (tar().file("./usr/share/one/below", "2"), "usr/share/one"),
        (tar().file("./usr/share", "2"), "usr/share"),
        (tar().file("./a", "2").hardlink("./usr/share/one", "./a"), "usr/share/one"),
    ] {
        assert_eq!(conflict(&[one.clone(), Deb::new("two", "", &data)]), names("two", path, "one"));
    }
    // A link to a directory of another package is not followed.
    let link = Deb::new("link", "", &tar().dir("./usr/").symlink("./usr/share", "/tmp"));
    assert_eq!(conflict(&[link, one]), names("one", "usr/share", "link"));
    let hint = compose(&[Deb::new("aa", "", &tar().file("./x", "")), Deb::new("bb", "", &tar().file("./x", ""))]);
    assert_eq!(hint.unwrap_err().hints().len(), 1);
}

#[test]
fn a_package_that_replaces_another_has_the_file() {
    let file = |name: &str, fields: &str| Deb::new(name, fields, &tar().dir("./usr/").file("./usr/f", name));
    let list = |composed: &crate::debian::deb::testing::Composed, name: &str| {
        let database = composed.database(&[]);
        crate::debian::deb::testing::text(&database, &format!("info/{name}.list"))
    };
    for (older, newer, has) in [
        ("", "Replaces: aa\n", "bb"),
        ("Replaces: bb (<= 1.0-1)\n", "", "aa"),
        ("", "Replaces: xx, aa (= 1.0-1)\n", "bb"),
    ] {
        let composed = compose(&[file("aa", older), file("bb", newer)]).unwrap();
        assert_eq!(composed.read("usr/f"), has);
        let lists = ["aa", "bb"].map(|name| list(&composed, name));
        let expected = ["aa", "bb"].map(|name| if name == has { "/.\n/usr\n/usr/f\n" } else { "/.\n/usr\n" });
        assert_eq!(lists, expected);
    }
    for fields in ["Replaces: aa (<< 1.0-1)\n", "Replaces: xx\n", "Breaks: aa\n"] {
        conflict(&[file("aa", ""), file("bb", fields)]);
    }
    // It may replace files, and no directories.
    let below = Deb::new("bb", "Replaces: aa\n", &tar().dir("./usr/").file("./usr/f/g", ""));
    conflict(&[file("aa", ""), below]);
}

#[test]
fn what_lies_in_bin_and_lib_goes_below_usr() {
    let base = tar().dir("./bin/").dir("./sbin/").dir("./lib/").dir("./usr/");
    let libc = tar()
        .dir("./lib/")
        .dir("./lib/x/")
        .file("./lib/x/libc.so", "c")
        .dir("./lib64/")
        .symlink("./lib64/ld.so", "/lib/x/ld.so");
    let tool = tar()
        .dir("./bin/")
        .file("./bin/tool", "t")
        .hardlink("./bin/again", "./bin/tool")
        .dir("./usr/bin/")
        .file("./usr/bin/other", "o");
    let composed =
        compose(&[Deb::new("base", "", &base), Deb::new("libc", "", &libc), Deb::new("tool", "", &tool)]).unwrap();
    let expected = [
        "l bin",
        "l lib",
        "l lib64",
        "l sbin",
        "d usr",
        "d usr/bin",
        "f usr/bin/again",
        "f usr/bin/other",
        "h usr/bin/tool",
        "d usr/lib",
        "d usr/lib/x",
        "f usr/lib/x/libc.so",
        "d usr/lib64",
        "l usr/lib64/ld.so",
        "d usr/sbin",
    ];
    assert_eq!(composed.paths(), expected);
    assert_eq!(fs::read_link(composed.root().join("lib64")).unwrap().to_str(), Some("usr/lib64"));
    assert_eq!(composed.read("bin/tool"), "t");
    // Lists have the paths of the archives.
    let list = crate::debian::deb::testing::text(&composed.database(&[]), "info/tool.list");
    assert_eq!(list, "/.\n/bin\n/bin/tool\n/bin/again\n/usr/bin\n/usr/bin/other\n");
    // The same path by two ways.
    assert_eq!(
        conflict(&[Deb::new("aa", "", &tar().file("./bin/x", "")), Deb::new("bb", "", &tar().file("./usr/bin/x", ""))]),
        ("bb".into(), "usr/bin/x".into(), "aa".into())
    );
}

#[test]
fn a_package_may_have_the_links_of_merged_usr() {
    let base = tar()
        .symlink("./bin", "usr/bin")
        .symlink("./lib", "/usr/lib")
        .dir("./usr/")
        .dir("./usr/bin/")
        .dir("./usr/lib/");
    let early = Deb::new("aa", "", &tar().file("./bin/early", "e"));
    let late = Deb::new("zz", "", &tar().file("./bin/late", "l").file("./sbin/late", "l"));
    let composed = compose(&[early, Deb::new("base-files", "", &base), late]).unwrap();
    let expected = [
        "l bin",
        "l lib",
        "l sbin",
        "d usr",
        "d usr/bin",
        "f usr/bin/early",
        "f usr/bin/late",
        "d usr/lib",
        "d usr/sbin",
        "f usr/sbin/late",
    ];
    assert_eq!(composed.paths(), expected);
    assert_eq!(fs::read_link(composed.root().join("lib")).unwrap().to_str(), Some("/usr/lib"));
    for data in [
        tar().symlink("./bin", "usr/lib"),
        tar().symlink("./bin", "/tmp"),
        tar().file("./bin", "x"),
        tar().file("./x", "").hardlink("./bin", "./x"),
    ] {
        refused(&data, "neither a directory nor a link to one in /usr");
    }
    // Nothing is linked that no package uses.
    let composed = compose(&[Deb::new("aa", "", &tar().dir("./usr/").file("./usr/x", ""))]).unwrap();
    assert_eq!(composed.paths(), ["d usr", "f usr/x"]);
}
