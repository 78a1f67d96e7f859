//! The outer archive and the control archive.

use crate::debian::deb::testing::{Deb, Members, compose, compose_bytes, compress, control, expected};
use crate::debian::deb::{DebError, Fault, read_control};
use crate::digest::Digest;
use crate::hint::{ErrorKind, Hint as _, error_chain};
use crate::layer::Limits;
use crate::layer::testing::Tar;

fn data() -> Tar {
    Tar::default().dir("./").dir("./usr/").dir("./usr/bin/").file("./usr/bin/tool", "tool")
}

fn deb() -> Deb {
    Deb::new("tool", "", &data())
}

/// The fault of a package with these bytes, whose digest is the expected one.
fn fault(bytes: &[u8]) -> Fault {
    let error = compose_bytes(&[(bytes.to_vec(), expected("tool", bytes))], &Limits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
    assert_eq!(error.to_string(), "cannot unpack the package tool");
    *error.source
}

#[track_caller]
fn refused(deb: &Deb, part: &str) {
    let fault = fault(&deb.bytes());
    let text = error_chain(&fault);
    assert!(text.contains(part), "{text}");
}

#[test]
fn every_compression_gives_the_same_tree() {
    let plain = compose(&[deb()]).unwrap();
    assert_eq!(plain.paths(), ["d usr", "d usr/bin", "f usr/bin/tool"]);
    for suffix in [".gz", ".xz", ".zst"] {
        assert_eq!(compose(&[deb().compressed(suffix)]).unwrap().tree.toc, plain.tree.toc, "{suffix}");
    }
    // Names of members may end in a slash.
    let mut slashed = deb();
    slashed.members.iter_mut().for_each(|(name, _)| name.push('/'));
    assert_eq!(compose(&[slashed]).unwrap().tree.toc, plain.tree.toc);
}

#[test]
fn control_is_read_without_the_data() {
    let deb = deb().compressed(".xz");
    let control = read_control(&deb.bytes()[..], &deb.expected()).unwrap();
    assert_eq!(control.field("maintainer"), Some("A <a@example.org>"));
    // The digest is that of the whole archive all the same.
    let mut bytes = deb.bytes();
    *bytes.last_mut().unwrap() ^= 1;
    let error = read_control(&bytes[..], &deb.expected()).unwrap_err();
    assert!(matches!(*error.source, Fault::Digest { .. }), "{error:?}");
}

#[test]
fn other_bytes_than_the_index_names_are_reported_as_such() {
    let bytes = deb().compressed(".xz").bytes();
    let good = expected("tool", &bytes);
    let with = |bytes: Vec<u8>| *compose_bytes(&[(bytes, good.clone())], &Limits::default()).unwrap_err().source;
    for at in (0..bytes.len()).step_by(19) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        let actual = Digest::of(&bytes);
        let fault = with(bytes);
        assert!(matches!(&fault, Fault::Digest { actual: said, .. } if *said == actual), "{at}: {fault:?}");
    }
    assert!(matches!(with(bytes[..bytes.len() - 2].to_vec()), Fault::Size { .. }));
    assert!(matches!(with([&bytes[..], b"xx"].concat()), Fault::Size { .. }));
    assert!(matches!(with(vec![]), Fault::Size { actual: 0, .. }));
}

#[test]
fn an_archive_that_is_cut_off_is_refused() {
    for suffix in ["", ".gz", ".xz", ".zst"] {
        let bytes = deb().compressed(suffix).bytes();
        for length in (0..bytes.len()).step_by(if suffix.is_empty() { 173 } else { 13 }) {
            fault(&bytes[..length]);
        }
    }
}

#[test]
fn members_are_the_three_in_their_order() {
    let with = |change: &dyn Fn(&mut Members)| {
        let mut deb = deb();
        change(&mut deb.members);
        deb
    };
    let order = "its members are not debian-binary, control.tar and data.tar";
    refused(&with(&|members| members.swap(1, 2)), order);
    refused(&with(&|members| drop(members.remove(1))), order);
    refused(&with(&|members| drop(members.pop())), "ends too early");
    refused(&with(&|members| drop(members.remove(0))), "first member is not debian-binary");
    refused(&with(&|members| members.insert(1, ("_extra".into(), vec![]))), "not plain");
    refused(&with(&|members| members.insert(1, ("extra".into(), vec![]))), order);
    refused(&with(&|members| members.push(members[2].clone())), "something follows data.tar");
    refused(&with(&|members| members.push(("_sign".into(), b"x".to_vec()))), "something follows data.tar");
    refused(&with(&|members| members[2].0 = "data.tar.lzma".into()), order);
    refused(&with(&|members| members[2].0 = "data.tar.gz".into()), "compressed in another way");
    refused(&with(&|members| members[2].1 = compress(".xz", &members[2].1)), "compressed in another way");
    for version in [&b"2.1\n"[..], b"3.0\n", b"2.0\r", b"2.0", b"2.0\nmore\n", b""] {
        refused(&with(&|members| members[0].1 = version.to_vec()), "its format is not 2.0");
    }
    for suffix in [".gz", ".xz", ".zst"] {
        // After the end of the compressed stream, in the member.
        let mut deb = deb().compressed(suffix);
        deb.members[2].1.extend_from_slice(b"garbage!");
        fault(&deb.bytes());
        deb.members[2].1.clear();
        fault(&deb.bytes());
    }
}

#[test]
fn headers_are_read_strictly() {
    let good = deb().bytes();
    // The fields of the first header, which begins at byte 8.
    let with = |at: usize, text: &[u8]| {
        let mut bytes = good.clone();
        bytes[8 + at..8 + at + text.len()].copy_from_slice(text);
        fault(&bytes).to_string()
    };
    assert!(with(48, b"-4        ").contains("size"), "a negative size");
    assert!(with(48, b"0x4       ").contains("size"));
    assert!(with(48, b" 4        ").contains("size"));
    assert!(with(48, b"          ").contains("size"));
    assert!(with(48, b"9999999999").contains("2.0"), "longer than the archive");
    assert!(with(58, b"xx").contains("header"));
    assert!(with(16, b"abc").contains("number"));
    assert!(with(0, b"\x1b[31m").contains("plain"));
    let mut bytes = good.clone();
    bytes[..8].copy_from_slice(b"!<thin>\n");
    assert!(fault(&bytes).to_string().contains("ar archive"));
    // A size far beyond the end, of the data.
    let at = good.windows(8).position(|window| window == b"data.tar").unwrap();
    let mut bytes = good;
    bytes[at + 48..at + 58].copy_from_slice(b"9999999999");
    assert!(fault(&bytes).to_string().contains("follows the tar") || fault(&bytes).to_string().contains("too early"));
}

/// One whose control archive has, beside `./`, these files.
fn controlled(files: &[(&str, &str)]) -> Deb {
    let tar = files.iter().fold(Tar::default().dir("./"), |tar, (name, content)| tar.file(name, content));
    Deb::of("tool", &tar, &data())
}

#[test]
fn the_control_file_is_that_of_the_expected_package() {
    let good = control("tool", "");
    for (from, to, part) in [
        ("Package: tool", "Package: other", "expected package tool, got other"),
        ("Version: 1.0-1", "Version: 1:1.0-1", "expected version 1.0-1, got 1:1.0-1"),
        ("amd64", "all", "expected architecture amd64, got all"),
        ("amd64", "\u{1b}[31m", "expected architecture amd64, got \\u{1b}[31m"),
        ("Package: tool\n", "", "no field Package"),
        ("Package: tool\n", "Package: tool\nPackage: tool\n", "'package' twice"),
        ("Package: tool\n", "Package: tool\nPACKAGE: other\n", "'package' twice"),
        ("Version", "\nVersion", "more than one paragraph"),
        ("Package: tool", " x\nPackage: tool", "in the middle of a field"),
        ("Version: ", "Version ", "neither a field nor its continuation"),
        ("Version", "Ver sion", "invalid name"),
        (" more of it", " ", "only blanks"),
        (" more of it", " more\r", "control character"),
    ] {
        assert!(good.contains(from));
        refused(&controlled(&[("./control", &good.replacen(from, to, 1))]), part);
    }
    let many = control("tool", &(0..2000).map(|n| format!("X-{n}: x\n")).collect::<Vec<_>>().concat());
    refused(&controlled(&[("./control", &many)]), "more than 1000 fields");
    let replaces = control("tool", "Replaces: a (>> )\n");
    refused(&controlled(&[("./control", &replaces)]), "Replaces: invalid package relation");
    let bad = Tar::default().with("./control", b'0', b"Package: \xff\n", |_| {});
    refused(&Deb::of("tool", &bad, &data()), "not UTF-8");
}

#[test]
fn control_files_are_regular_files_with_plain_names() {
    let good = control("tool", "");
    refused(&controlled(&[("./preinst", "")]), "no file control");
    refused(&controlled(&[("./control", &good), ("control", &good)]), "twice");
    refused(&controlled(&[("./control", &good), ("./list", "/etc/shadow\n")]), "a file of dpkg's");
    for name in ["./sub/file", "../preinst", "/preinst", "./pre inst", "./.hidden", "./pre\u{e9}", "./x\n"] {
        refused(&controlled(&[("./control", &good), (name, "")]), "is not plain");
    }
    for tar in [
        Tar::default().symlink("./preinst", "/etc/shadow"),
        Tar::default().hardlink("./preinst", "./control"),
        Tar::default().dir("./preinst"),
        Tar::default().mode("./preinst", b'3', 0o644),
    ] {
        let tar = Tar::default().file("./control", &good).then(&tar);
        refused(&Deb::of("tool", &tar, &data()), "not a regular file");
    }
    // dpkg passes over names with a dot, too.
    let deb = controlled(&[("./control", &good), ("./preinst.old", ""), ("./prerm", "x")]);
    let control = read_control(&deb.bytes()[..], &deb.expected()).unwrap();
    assert!(control.file("prerm").is_some() && control.file("preinst.old").is_none());
}

#[test]
fn lists_of_conffiles_and_triggers_are_read_strictly() {
    let good = control("tool", "");
    for (name, line) in [
        ("conffiles", "etc/x"),
        ("conffiles", "/etc/x y"),
        ("conffiles", "no-flag /usr/bin/tool"),
        ("conffiles", "/usr/bin"),
        ("conffiles", "/usr/bin/none"),
        ("conffiles", "/../../etc/shadow"),
        ("conffiles", "/usr/bin/tool\n/usr/bin/tool"),
        ("conffiles", &"\n".repeat(200_000)),
        ("conffiles", "remove-on-upgrade /usr/bin/tool"),
        ("triggers", &"\n".repeat(200_000)),
        ("triggers", "interest"),
        ("triggers", "interest a b"),
        ("triggers", "watch a"),
        ("triggers", "interest ../../../etc/passwd"),
        ("triggers", "interest-noawait a/b"),
        ("triggers", "interest File"),
        ("triggers", "interest .."),
        ("triggers", "interest \u{1b}[31m"),
    ] {
        let file = format!("./{name}");
        refused(&controlled(&[("./control", &good), (&file, line)]), &format!("invalid control file '{name}'"));
    }
}

#[test]
fn control_archives_that_unpack_to_too_much_are_refused() {
    let big = "0".repeat(16 << 20);
    let tar = Tar::default().file("./control", &control("tool", "")).file("./md5sums", &big);
    for suffix in [".xz", ".zst"] {
        let error: DebError = compose(&[Deb::of("tool", &tar, &data()).compressed(suffix)]).unwrap_err();
        let text = error_chain(&error);
        assert!(text.contains("control.tar"), "{suffix}: {text}");
    }
    let many = (0..200).fold(Tar::default(), |tar, n| tar.file(&format!("./f{n}"), ""));
    refused(&Deb::of("tool", &many, &data()), "more than 100 entries");
}
