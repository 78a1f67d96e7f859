//! Hostile layers, by the numbers of the catalogue in `docs/store.md`, and what good ones look like.

mod check;
mod lower;
mod real;
mod tar;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::layer::decode::Decoder;
use crate::layer::testing::{Canary, GZIP, TAR, Tar};
use crate::layer::*;
use crate::skip::require;

/// A directory to unpack layers into.
struct Place(Canary);

impl Place {
    fn new() -> Self {
        Self(Canary::new())
    }

    fn canary(&self) -> String {
        self.0.path().to_str().unwrap().to_owned()
    }

    fn fs(&self) -> PathBuf {
        self.0.fs()
    }

    fn unpack_with(&self, tar: &[u8], limits: &Limits) -> Result<Unpacked, LayerError> {
        let result = unpack(tar, TAR, &self.fs(), limits);
        self.0.assert_alive();
        result
    }

    fn unpack(&self, tar: &Tar) -> Result<Unpacked, LayerError> {
        self.unpack_with(&tar.end(), &Limits::default())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.fs().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| format!("{name}: {error}"))
    }
}

fn good(tar: &Tar) -> (Place, Unpacked) {
    let place = Place::new();
    let unpacked = place.unpack(tar).unwrap_or_else(|error| panic!("{error:?}"));
    real::merges_alike(&place, &unpacked);
    (place, unpacked)
}

fn bad(what: &str, tar: &Tar) -> LayerError {
    match Place::new().unpack(tar) {
        Ok(_) => panic!("accepted {what}"),
        Err(error) => error,
    }
}

fn find<'a>(unpacked: &'a Unpacked, path: &str) -> &'a Entry {
    unpacked.toc.entries.iter().find(|entry| entry.path == path.as_bytes()).unwrap_or_else(|| panic!("no {path}"))
}

fn kinds(unpacked: &Unpacked) -> BTreeMap<String, Kind> {
    unpacked.toc.entries.iter().map(|e| (String::from_utf8_lossy(&e.path).into_owned(), e.kind)).collect()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn opaque(path: &Path) -> bool {
    let mut value = [0; 8];
    matches!(rustix::fs::lgetxattr(path, "user.overlay.opaque", &mut value), Ok(1)) && value[0] == b'y'
}

fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_char_device() && meta.rdev() == 0)
}

#[test]
fn a_plain_layer() {
    let tar = Tar::default()
        .dir("./")
        .mode("bin/", b'5', 0o555)
        .file("./bin/sh", "#!")
        .file("/etc/x", "y")
        .symlink("s", "/bin/sh");
    let (place, unpacked) = good(&tar);
    assert_eq!((place.read("bin/sh"), place.read("etc/x")), ("#!".into(), "y".into()));
    assert_eq!(fs::read_link(place.path("s")).unwrap(), Path::new("/bin/sh"));
    assert_eq!(fs::symlink_metadata(place.path("s")).unwrap().mtime(), 1000);
    assert_eq!((mode(&place.path("bin")), mode(&place.path("bin/sh"))), (0o755, 0o644));
    assert_eq!(fs::metadata(place.path("bin")).unwrap().mtime(), 1000);
    let paths: Vec<_> = unpacked.toc.entries.iter().map(|entry| String::from_utf8_lossy(&entry.path)).collect();
    assert_eq!(paths, ["", "bin", "bin/sh", "etc", "etc/x", "s"]);
    assert_eq!((find(&unpacked, "bin").mode, find(&unpacked, "bin/sh").digest), (0o555, Some(Digest::of(b"#!"))));
    assert_eq!((unpacked.entries, unpacked.bytes), (5, 3));
    assert_eq!(unpacked.diff_id, Digest::of(&tar.end()));
    assert!(find(&unpacked, "etc").implied && !find(&unpacked, "bin").implied && !find(&unpacked, "").implied);
}

#[test]
fn the_diff_id_covers_all_up_to_the_end() {
    let tar = Tar::default().file("a", "b");
    for length in [0, 512, 1024, 10240 - 1024] {
        let bytes = [tar.cut(), &vec![0; length]].concat();
        let unpacked = Place::new().unpack_with(&bytes, &Limits::default()).unwrap();
        assert_eq!(unpacked.diff_id, Digest::of(&bytes), "{length}");
    }
    // What stands after the end is hashed, and is no part of the layer, as to GNU tar and Go.
    let text = b"x".repeat(300_000);
    for after in [b"x".to_vec(), text, Tar::default().file("c", "d").end(), vec![0; 700]] {
        let bytes = [tar.end(), after].concat();
        let unpacked = Place::new().unpack_with(&bytes, &Limits::default()).unwrap();
        assert_eq!((unpacked.diff_id, kinds(&unpacked).len()), (Digest::of(&bytes), 2));
    }
    let place = Place::new();
    assert_eq!(
        unpack(tar.gzip().as_slice(), GZIP, &place.fs(), &Limits::default()).unwrap().diff_id,
        Digest::of(&tar.end())
    );
    let (_, empty) = good(&Tar::default());
    assert_eq!((empty.entries, empty.toc.entries.len()), (0, 1));
    for (what, bytes) in [
        ("a cut header", [tar.cut(), &[b'x'; 100]].concat()),
        ("a cut file", tar.cut()[..513].to_vec()),
        ("cut padding", tar.cut()[..514].to_vec()),
        ("text", b"<html>not found</html>".repeat(60)),
    ] {
        assert!(matches!(Place::new().unpack_with(&bytes, &Limits::default()), Err(LayerError::Tar { .. })), "{what}");
    }
}

#[test]
fn t01_paths_stay_inside() {
    for name in ["../x", "a/../../x", "a/..", "..", "../canary/file"] {
        bad(name, &Tar::default().file(name, "evil"));
    }
    bad("an empty name", &Tar::default().file("", "evil"));
    for path in [&b"a\0b"[..], &b"x".repeat(256), &b"x/".repeat(2100), b""] {
        bad("a bad PAX path", &Tar::default().pax(&[("path", path)]).file("x", "evil"));
    }
    let canary = Place::new().canary();
    let (place, _) = good(&Tar::default().pax(&[("path", format!("{canary}/file").as_bytes())]).file("x", "harmless"));
    assert_eq!(place.read(&format!("{}/file", &canary[1..])), "harmless");
    let long = vec!["d".repeat(200); 20].join("/");
    let (place, _) = good(&Tar::default().pax(&[("path", long.as_bytes())]).file("x", "deep"));
    assert!(place.path("d".repeat(200).as_str()).is_dir());
    let deep = |depth: usize| {
        let path = "d/".repeat(depth - 1) + "f";
        Tar::default().pax(&[("path", path.as_bytes())]).file("x", "deep")
    };
    good(&deep(256).pax(&[("path", ("d/".repeat(255) + "f").as_bytes())]).file("x", ""));
    assert!(matches!(bad("257 names", &deep(257)), LayerError::Deep { limit: 256, .. }));
}

#[test]
fn t02_nothing_is_written_through_a_symlink() {
    let canary = Place::new().canary();
    for target in [canary.as_str(), "../canary", "/", ".", "e"] {
        let tar = Tar::default().dir("e").symlink("d", target);
        for tar in [
            tar.clone().file("d/file", "evil"),
            tar.clone().dir("d/x"),
            tar.clone().file("d/.wh.file", ""),
            tar.hardlink("d/l", "d"),
        ] {
            assert!(matches!(bad(target, &tar), LayerError::Parent { .. }));
        }
    }
    let loops = Tar::default().symlink("a", "b").symlink("b", "a").file("a/x", "evil");
    assert!(matches!(bad("a loop", &loops), LayerError::Parent { .. }));
    assert!(matches!(
        bad("a file as a directory", &Tar::default().file("f", "").file("f/x", "")),
        LayerError::Parent { .. }
    ));
}

#[test]
fn t02_a_racing_swapper_gains_nothing() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let place = Place::new();
    let mut tar = Tar::default();
    for n in 0..300 {
        tar = tar.dir(&format!("d/{n}")).file(&format!("d/{n}/file"), "evil").file(&format!("e/{n}"), "x");
    }
    let (stop, fs_, canary) = (AtomicBool::new(false), place.fs(), place.canary());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = fs::rename(fs_.join("d"), fs_.join("was"));
                let _ = symlink(&canary, fs_.join("d"));
                let _ = fs::remove_file(fs_.join("d"));
                let _ = fs::rename(fs_.join("was"), fs_.join("d"));
            }
        });
        for _ in 0..20 {
            let _ = place.unpack(&tar);
            let _ = fs::remove_dir_all(fs_.join("e"));
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn t03_the_root_is_a_directory() {
    for name in [".", "/", "./", "/."] {
        bad(name, &Tar::default().symlink(name, "/"));
        bad(name, &Tar::default().hardlink(name, "x"));
        bad(name, &Tar::default().with(name, b'3', b"", |_| {}));
    }
    bad("a file", &Tar::default().file(".", "evil"));
    let (place, unpacked) = good(&Tar::default().mode("./", b'5', 0o1710));
    assert_eq!((mode(&place.fs()), find(&unpacked, "").mode), (0o1710, 0o1710));
}

#[test]
fn t04_hard_links_stay_inside() {
    let canary = Place::new().canary();
    for target in ["../canary/file", "d", "s/file", "", "w", "l", "l/x"] {
        let tar =
            Tar::default().dir("d").symlink("s", &canary).file(".wh.w", "").hardlink("l", target).file("later", "");
        bad(target, &tar);
    }
    // What a layer does not have itself, a layer below must.
    for target in ["/etc/passwd", &format!("{canary}/file"), "later"] {
        let place = Place::new();
        let unpacked = place.unpack(&Tar::default().hardlink("l", target).file("later", "")).unwrap();
        assert_eq!(find(&unpacked, "l").kind, Kind::LowerLink);
        let alone = Merge::default().add(unpacked.toc, place.fs());
        assert!(matches!(alone, Err(LayerError::HardLink { .. })), "{alone:?}");
    }
    let tar = Tar::default()
        .file("a/f", "x")
        .symlink("a/s", "../../canary")
        .hardlink("l", "./a/f")
        .hardlink("m", "a/s")
        .hardlink("l2", "/l");
    let (place, unpacked) = good(&tar);
    let inode = |name| fs::symlink_metadata(place.path(name)).unwrap().ino();
    assert!(inode("a/f") == inode("l") && inode("l") == inode("l2") && inode("m") == inode("a/s"));
    assert_eq!((find(&unpacked, "l").kind, find(&unpacked, "l").link.as_slice()), (Kind::Hardlink, &b"a/f"[..]));
    assert_eq!((find(&unpacked, "m").kind, find(&unpacked, "m").link.as_slice()), (Kind::Hardlink, &b"a/s"[..]));
    good(&Tar::default().file("a", "x").hardlink("a", "a"));
    let (place, unpacked) =
        good(&Tar::default().file("b", "old").hardlink("c", "b").hardlink("a", "b").file("b", "new"));
    assert_eq!((place.read("a"), place.read("b"), place.read("c")), ("old".into(), "new".into(), "old".into()));
    assert_eq!(
        (find(&unpacked, "a").kind, find(&unpacked, "b").kind, find(&unpacked, "c").kind),
        (Kind::File, Kind::File, Kind::Hardlink)
    );
    assert_eq!(
        (find(&unpacked, "c").link.as_slice(), find(&unpacked, "c").digest),
        (&b"a"[..], Some(Digest::of(b"old")))
    );
    bad("a link into what it replaces", &Tar::default().file("d/f", "").hardlink("d", "d/f"));
}

#[test]
fn t05_modes_and_times_never_go_through_links() {
    let canary = Place::new().canary();
    let (place, _) = good(&Tar::default().symlink("d", &canary).mode("d", b'5', 0o777));
    assert!(fs::symlink_metadata(place.path("d")).unwrap().is_dir());
    let (place, _) = good(&Tar::default().symlink("f", &format!("{canary}/file")).file("f", "new"));
    assert_eq!(place.read("f"), "new");
    let (_, unpacked) = good(&Tar::default().symlink("d", &canary).mode("d/", b'0', 0o777));
    assert_eq!(find(&unpacked, "d").kind, Kind::Directory);
}

#[test]
fn t06_whiteouts() {
    for name in [".wh...", ".wh..", ".wh.", ".wh.a/b", "x/.wh.a/b", ".wh..wh.x"] {
        bad(name, &Tar::default().file(name, ""));
    }
    bad("a whiteout that is a directory", &Tar::default().dir(".wh.a"));
    bad("a whiteout that is a symlink", &Tar::default().symlink(".wh..wh..opq", "x"));
    let tar = Tar::default()
        .file("d/.wh.gone", "")
        .file("d/kept", "")
        .file("o/.wh..wh..opq", "")
        .file("o/new", "")
        .file(".wh..wh.plnk/1", "junk");
    let (place, unpacked) = good(&tar);
    assert!(unpacked.overlay_ready, "this kernel cannot make whiteouts");
    assert!(is_whiteout(&place.path("d/gone")) && opaque(&place.path("o")) && !opaque(&place.path("d")));
    assert_eq!(find(&unpacked, "d/gone").kind, Kind::Whiteout);
    assert!(find(&unpacked, "o").opaque && find(&unpacked, "d").implied);
    assert_eq!(kinds(&unpacked).len(), 6, "AUFS's own files are no part of the layer");
}

#[test]
fn t07_a_whiteout_and_its_name_in_one_layer() {
    // In either order the new thing stands, and nothing of the old shows through.
    for (what, tar) in [
        ("whiteout, file", Tar::default().file(".wh.n", "").file("n", "new")),
        ("file, whiteout", Tar::default().file("n", "new").file(".wh.n", "")),
    ] {
        let (place, unpacked) = good(&tar);
        assert_eq!((place.read("n"), find(&unpacked, "n").kind), ("new".into(), Kind::File), "{what}");
    }
    for (what, tar) in [
        ("whiteout, directory", Tar::default().file(".wh.n", "").dir("n").file("n/f", "new")),
        ("directory, whiteout", Tar::default().dir("n").file("n/f", "new").file(".wh.n", "")),
        ("whiteout, implied directory", Tar::default().file(".wh.n", "").file("n/f", "new")),
        ("opaque, directory", Tar::default().file("n/.wh..wh..opq", "").dir("n").file("n/f", "new")),
        ("file, directory", Tar::default().file("n", "").dir("n").file("n/f", "new")),
    ] {
        let (place, unpacked) = good(&tar);
        assert_eq!(place.read("n/f"), "new", "{what}");
        assert!(find(&unpacked, "n").opaque && opaque(&place.path("n")), "{what}");
    }
}

/// What the kernel makes of two unpacked layers, `unshare` permitting.
#[test]
fn t06_the_kernel_agrees() {
    let below = ["gone", "d/gone", "d/kept", "o/old", "r/old", "t/old"];
    let (lower, _) = good(&below.iter().fold(Tar::default(), |tar, name| tar.file(name, "old")));
    let above = [".wh.gone", "d/.wh.gone", "o/.wh..wh..opq", "o/new", ".wh.r", "r/new", "t"];
    let (upper, _) = good(&above.iter().fold(Tar::default(), |tar, name| tar.file(name, "")).dir("t"));
    let script = r#"mkdir "$3/m" && mount -t overlay -o "userxattr,lowerdir=$1:$2" none "$3/m" || exit 77
        cd "$3/m" && find . | LC_ALL=C sort | tr '\n' ' '"#;
    let place = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new("unshare");
    command.args(["-Urm", "sh", "-c", script, "sh"]).args([upper.fs().as_path(), &lower.fs(), place.path()]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let mounted =
        if output.status.code() == Some(77) || said.starts_with("unshare:") { Err(said.into_owned()) } else { Ok(()) };
    if require("overlay", mounted) {
        assert_eq!(String::from_utf8_lossy(&output.stdout), ". ./d ./d/kept ./o ./o/new ./r ./r/new ./t ");
    }
}

#[test]
fn t08_implied_directories_are_told() {
    let (place, unpacked) = good(&Tar::default().file("a/b/c", "").mode("a/", b'5', 0o700));
    assert!(!find(&unpacked, "a").implied && find(&unpacked, "a/b").implied);
    assert_eq!((mode(&place.path("a")), mode(&place.path("a/b"))), (0o700, 0o755));
    assert!(find(&unpacked, "").implied);
}

#[test]
fn t10_the_last_entry_wins() {
    let content = |tar: Tar| good(&tar).0.read("x");
    assert_eq!(content(Tar::default().file("x", "old and long").file("x", "new")), "new");
    assert_eq!(content(Tar::default().symlink("x", "y").file("x", "new")), "new");
    assert_eq!(content(Tar::default().dir("x").file("x/a/b", "").file("x", "new")), "new");
    assert_eq!(content(Tar::default().mode("x", b'6', 0o644).file("./x", "new")), "new");
    let (place, unpacked) =
        good(&Tar::default().file("x/a/b", "").file("x-y", "").file("x", "").dir("x").symlink("x", "/"));
    assert_eq!(fs::read_link(place.path("x")).unwrap(), Path::new("/"));
    assert_eq!(kinds(&unpacked).into_keys().collect::<Vec<_>>(), ["", "x", "x-y"]);
    let (place, unpacked) = good(&Tar::default().dir("x").file("x/f", "kept").mode("x", b'5', 0o711));
    assert_eq!((place.read("x/f"), find(&unpacked, "x").mode, mode(&place.path("x"))), ("kept".into(), 0o711, 0o711));
    let (place, _) =
        good(&Tar::default().file("Name", "1").file("name", "2").file("n\u{e4}", "3").file("na\u{308}", "4"));
    assert_eq!(place.read("Name") + &place.read("name") + &place.read("n\u{e4}") + &place.read("na\u{308}"), "1234");
}

#[test]
fn t11_no_devices() {
    let device = |block: &mut [u8; 512]| block[329..345].copy_from_slice(b"0000010\x000000001\0");
    let tar = Tar::default()
        .with("dev/sda", b'4', b"", device)
        .with("dev/tty", b'3', b"", device)
        .mode("dev/p", b'6', 0o600)
        .hardlink("dev/q", "dev/p");
    let (place, unpacked) = good(&tar);
    assert_eq!(fs::read_dir(place.path("dev")).unwrap().count(), 0);
    assert_eq!((find(&unpacked, "dev/sda").kind, find(&unpacked, "dev/sda").device), (Kind::BlockDevice, (8, 1)));
    assert_eq!((find(&unpacked, "dev/tty").kind, find(&unpacked, "dev/q").kind), (Kind::CharDevice, Kind::Hardlink));
    bad("a file in a device", &tar.file("dev/sda/x", ""));
}

#[test]
fn t12_no_setuid_and_always_ours() {
    let tar = Tar::default()
        .mode("su", b'0', 0o6755)
        .mode("none", b'0', 0o1000)
        .mode("d", b'5', 0o7000)
        .file("d/f", "x")
        .mode("tmp", b'5', 0o1777);
    let (place, unpacked) = good(&tar);
    assert_eq!((mode(&place.path("su")), find(&unpacked, "su").mode), (0o755, 0o6755));
    assert_eq!((mode(&place.path("none")), mode(&place.path("d"))), (0o600, 0o1700));
    assert_eq!((mode(&place.path("tmp")), place.read("d/f")), (0o1777, "x".into()));
    bad("an owner of 64 bits", &Tar::default().pax(&[("uid", b"4294967296")]).file("f", ""));
    bad("the owner -1", &Tar::default().pax(&[("gid", b"4294967295")]).file("f", ""));
}

#[test]
fn t13_privileged_xattrs_are_only_recorded() {
    let all: [(&str, &[u8]); 6] = [
        ("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0"),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.overlay.redirect", b"/etc"),
        ("SCHILY.xattr.user.overlay.metacopy", b""),
        ("SCHILY.xattr.system.posix_acl_access", b"\x02"),
        ("SCHILY.xattr.user.mine", b"a=b\n"),
    ];
    let (place, unpacked) = good(&Tar::default().pax(&all).file("f", "").pax(&all).dir("d"));
    for name in ["f", "d"] {
        let mut list = [0_u8; 1024];
        let length = rustix::fs::llistxattr(place.path(name), &mut list).unwrap();
        let list = String::from_utf8_lossy(&list[..length]).into_owned();
        let set: Vec<_> = list.split('\0').filter(|name| !name.is_empty() && *name != "security.selinux").collect();
        assert_eq!(set, ["user.mine"], "{name}");
        let xattrs = &find(&unpacked, name).xattrs;
        assert_eq!((xattrs.len(), xattrs[&b"user.mine"[..]].as_slice()), (6, &b"a=b\n"[..]));
    }
}

#[test]
fn t14_limits() {
    let limit = |tar: &Tar, limits| Place::new().unpack_with(&tar.end(), &limits).unwrap_err();
    let default = Limits::default();
    let many = (0..11).fold(Tar::default(), |tar, n| tar.file(&format!("{n}"), "0123456789"));
    assert!(matches!(limit(&many, Limits { entries: 10, ..default }), LayerError::Limit { what: "entries", .. }));
    assert!(matches!(limit(&many, Limits { bytes: 2000, ..default }), LayerError::Limit { what: "bytes", .. }));
    limit(&many, Limits { path: 1, ..default });
    limit(&Tar::default().pax(&[("comment", &[b'x'; 5000])]).file("x", ""), Limits { metadata: 4096, ..default });
    let sparse =
        Tar::default().pax(&[("GNU.sparse.map", b"0,1"), ("GNU.sparse.size", b"9000000000000")]).file("f", "x");
    assert!(matches!(limit(&sparse, default), LayerError::Limit { what: "bytes in files", .. }));
    let huge = Tar::default()
        .with("f", b'0', b"", |block| block[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"));
    assert!(matches!(limit(&huge, default), LayerError::Limit { what: "bytes in files", .. }));
    // zstd wants a window of 2 GiB for this frame.
    let place = Place::new();
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, (31 - 10) << 3, 0x01, 0, 0];
    assert!(matches!(unpack(&frame[..], TAR, &place.fs(), &default), Err(LayerError::Read(_))));
}

#[test]
fn t14_implied_directories_count() {
    let limits = Limits { entries: 300, ..Limits::default() };
    let deep = |tar: Tar, top: usize| {
        let path = format!("{top}/{}f", "x/".repeat(200));
        tar.pax(&[("path", path.as_bytes())]).file("x", "")
    };
    let one = deep(Tar::default(), 0);
    let unpacked = Place::new().unpack_with(&one.end(), &limits).unwrap();
    assert_eq!((unpacked.entries, unpacked.toc.entries.len()), (1, 203));
    let error = Place::new().unpack_with(&deep(one, 1).end(), &limits).unwrap_err();
    assert!(matches!(error, LayerError::Limit { limit: 300, .. }), "{error}");
    // And those that are replaced again, which the table does not have in the end.
    let again = (0..3).fold(Tar::default(), |tar, _| deep(tar, 0).file("0", "").dir("0"));
    let error = Place::new().unpack_with(&again.end(), &limits).unwrap_err();
    assert!(matches!(error, LayerError::Limit { limit: 300, .. }), "{error}");
}

#[test]
fn t14_what_stays_in_memory_is_bounded() {
    let limits = Limits { table: 10_000, ..Limits::default() };
    let error = |tar: &Tar| match Place::new().unpack_with(&tar.end(), &limits) {
        Err(error @ LayerError::Limit { limit: 10_000, .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let long = "n".repeat(250);
    let paths =
        (0..50).fold(Tar::default(), |tar, at| tar.pax(&[("path", format!("{at}{long}").as_bytes())]).file("x", ""));
    let links =
        (0..50).fold(Tar::default(), |tar, at| tar.pax(&[("linkpath", long.as_bytes())]).symlink(&format!("{at}"), ""));
    let value = vec![b'v'; 3000];
    let with_xattr = |tar: Tar| tar.pax(&[("SCHILY.xattr.user.x", &value)]);
    let xattrs = (0..4).fold(Tar::default(), |tar, at| with_xattr(tar).file(&format!("{at}"), ""));
    // The same directory again and again, and hard links of one file, each of which has its xattrs in the table.
    let directory = (0..4).fold(Tar::default(), |tar, _| with_xattr(tar).dir("d"));
    let names = (0..4).fold(with_xattr(Tar::default()).file("f", ""), |tar, at| tar.hardlink(&format!("{at}"), "f"));
    // Small ones are not as small in memory.
    let many: Vec<_> = (0..100).map(|at| format!("SCHILY.xattr.user.{at}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let small = Tar::default().pax(&many).file("f", "");
    // Each further name of a file gets a copy of the first one.
    let first = format!("!{long}");
    let copies = (0..50).fold(Tar::default().file("x", ""), |tar, at| tar.hardlink(&format!("{at}"), "x"));
    let copies = copies.pax(&[("path", first.as_bytes())]).hardlink("", "x");
    let cases = [
        ("paths", paths),
        ("links", links),
        ("xattrs", xattrs),
        ("one directory", directory),
        ("hard links", names),
        ("small xattrs", small),
        ("copies of a name", copies),
    ];
    for (what, tar) in cases {
        assert!(error(&tar).contains("paths, link targets and extended attributes"), "{what}");
        Place::new().unpack(&tar).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

#[test]
fn depth_costs_no_walk_for_each_directory() {
    let temp = tempfile::tempdir().unwrap();
    let mut tree = tree::Tree::open(temp.path()).unwrap();
    let path = |depth: usize| vec!["x"; depth].join("/").into_bytes();
    for depth in 1..=256 {
        tree.make_directory(&path(depth)).unwrap();
    }
    assert_eq!(tree.opened, 255, "each directory is opened once on the way down");
    let mut beside = path(256);
    beside.push(b'-');
    for _ in 0..100 {
        tree.directory(&path(255)).unwrap();
        let file = tree.make_file(&beside).unwrap();
        tree.finish_directory(&path(256), 0o755, (0, 0), &BTreeMap::new(), false).unwrap();
        drop(file);
        tree.remove(&beside).unwrap();
    }
    assert_eq!(tree.opened, 255 + 100, "neighbours at the bottom cost no walk from the top");
    // What was closed on the way is opened again, and is what it was.
    tree.make_directory(&[&path(100)[..], b"/y"].concat()).unwrap();
    tree.make_directory(&[&path(3)[..], b"/y"].concat()).unwrap();
    assert!(temp.path().join("x/".repeat(100) + "y").is_dir() && temp.path().join("x/x/x/y").is_dir());
}

#[test]
fn t14_holes_cost_time_too() {
    let hole = |length: u64| {
        let length = length.to_string();
        Tar::default().pax(&[("GNU.sparse.map", b"0,1"), ("GNU.sparse.size", length.as_bytes())]).file("f", "x")
    };
    assert_eq!(Place::new().unpack(&hole(1 << 20)).unwrap().bytes, 1 << 20);
    let error = Place::new().unpack(&hole(1 << 39)).unwrap_err();
    assert!(matches!(error, LayerError::Bomb { ratio: 200, .. }), "{error}");
    assert_eq!(error.to_string(), "it unpacks to more than 4G, and to more than 200 times its size");
    // And the user may allow it.
    let larger = Limits::unpacking_to(1 << 31);
    let error = |length| Place::new().unpack_with(&hole(length).end(), &larger).unwrap_err();
    assert!(matches!(error(1 << 39), LayerError::Bomb { free: 0x8000_0000, .. }));
    assert_eq!(Limits::unpacking_to(2 << 40).bytes, 2 << 40);
}

#[test]
fn t14_bombs_are_stopped_by_their_ratio() {
    let header = Tar::default()
        .with("f", b'0', b"", |block| block[124..136].copy_from_slice(b"\x80\0\0\0\0\0\0\x7f\xff\xff\xff\xff"));
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    std::io::Write::write_all(&mut encoder, header.cut()).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(64 << 20), &mut encoder).unwrap();
    let bomb = encoder.finish().unwrap();
    let mut decoder = Decoder::new(bomb.as_slice(), &Limits { ratio: 1, ..Limits::default() }).unwrap();
    assert_eq!(std::io::copy(&mut decoder, &mut std::io::sink()).unwrap(), (64 << 20) + 512, "small ones are let be");
    let frames = vec![bomb.as_slice(); 40].concat();
    let limits = Limits::unpacking_to(1 << 30);
    let mut decoder = Decoder::new(frames.as_slice(), &limits).unwrap();
    let error: LayerError = std::io::copy(&mut decoder, &mut std::io::sink()).unwrap_err().into();
    assert!(matches!(error, LayerError::Bomb { free: 0x4000_0000, ratio: 200 }), "{error:?}");
    assert!(crate::hint::Hint::hints(&error)[0].contains("--unpack-limit"));
    let mut decoder = Decoder::new(frames.as_slice(), &Limits::default()).unwrap();
    assert_eq!(std::io::copy(&mut decoder, &mut std::io::sink()).unwrap(), 40 * ((64 << 20) + 512));
}

/// As on a file system without hard links, or with few to a file, such as ext4.
#[test]
fn t14_copies_in_the_place_of_hard_links_count() {
    let file = Tar::default().file("f", &"x".repeat(1 << 20));
    let tar = (0..40).fold(file, |tar, name| tar.hardlink(&format!("l{name}"), "f")).end();
    let with = |limits: Limits| {
        crate::layer::tree::WITHOUT_LINKS.set(true);
        let place = Place::new();
        let unpacked = place.unpack_with(&tar, &limits);
        crate::layer::tree::WITHOUT_LINKS.set(false);
        unpacked.map(|unpacked| (unpacked.bytes, fs::metadata(place.path("l7")).unwrap().nlink()))
    };
    assert_eq!(with(Limits::default()).unwrap(), (41 << 20, 1));
    let error = with(Limits { free: 1 << 20, ratio: 2, ..Limits::default() }).unwrap_err();
    assert!(matches!(error, LayerError::Bomb { .. }), "{error:?}");
    let error = with(Limits { bytes: 10 << 20, ..Limits::default() }).unwrap_err();
    assert!(matches!(error, LayerError::Limit { what: "bytes in files", .. }), "{error:?}");
}
