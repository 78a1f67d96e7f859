//! Real object files, made by the compiler of this machine, and ones that were tampered with.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;

use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode};

use crate::skip::require;

use super::*;

struct Pair {
    dir: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for side in ["first", "second"] {
            fs::create_dir(dir.path().join(side)).unwrap();
        }
        Self { dir }
    }

    fn root(&self, side: &str) -> PathBuf {
        self.dir.path().join(side)
    }

    /// Writes one content for each side; `None` for nothing.
    fn write(&self, path: &str, contents: [Option<&[u8]>; 2]) {
        for (side, content) in ["first", "second"].into_iter().zip(contents) {
            if let Some(content) = content {
                let path = self.root(side).join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
        }
    }

    fn compare(&self, paths: &[&str]) -> Comparison {
        let [one, other] = ["first", "second"].map(|side| Product::open(&self.root(side), None).unwrap());
        compare([&one, &other], &paths.iter().map(PathBuf::from).collect::<Vec<_>>()).unwrap()
    }

    /// Verdict and differences of each file that is not the same.
    fn said(&self) -> Vec<(String, Verdict, Vec<String>)> {
        let found = self.compare(&[]);
        let said = |finding: Finding| {
            (finding.path, finding.verdict, finding.details.iter().map(ToString::to_string).collect())
        };
        found.files.into_iter().map(said).collect()
    }
}

/// Verdict and differences of a file with these contents.
fn of(one: &[u8], other: &[u8]) -> (Verdict, Vec<String>) {
    let pair = Pair::new();
    pair.write("file", [Some(one), Some(other)]);
    let said = pair.said();
    match &said[..] {
        [] => (Verdict::Same, vec![]),
        [(_, verdict, details)] => (*verdict, details.clone()),
        _ => panic!("{said:?}"),
    }
}

#[test]
fn permissions_that_are_no_difference() {
    let pair = Pair::new();
    for (name, first, second) in [("group", 0o644, 0o664), ("more", 0o644, 0o665), ("same", 0o600, 0o600)] {
        pair.write(name, [Some(b"x"), Some(b"x")]);
        for (side, mode) in [("first", first), ("second", second)] {
            fs::set_permissions(pair.root(side).join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    let compared = |bits| {
        let [one, other] =
            ["first", "second"].map(|side| Product::open(&pair.root(side), None).unwrap().ignoring(bits));
        let found = compare([&one, &other], &[]).unwrap();
        found.files.into_iter().map(|finding| finding.path).collect::<Vec<_>>()
    };
    assert_eq!((compared(0), compared(0o020)), (vec!["group".to_owned(), "more".to_owned()], vec!["more".to_owned()]));
}

#[test]
fn trees_by_kind_mode_link_and_content() {
    let pair = Pair::new();
    pair.write("same/deep/er", [Some(b"x"), Some(b"x")]);
    pair.write("content", [Some(b"a\nb\n"), Some(b"a\nc\n")]);
    pair.write("gone", [Some(b""), None]);
    pair.write("new/inside", [None, Some(b"")]);
    pair.write("mode", [Some(b""), Some(b"")]);
    pair.write("kind", [Some(b""), None]);
    fs::create_dir(pair.root("second").join("kind")).unwrap();
    fs::set_permissions(pair.root("second").join("mode"), fs::Permissions::from_mode(0o4755)).unwrap();
    for (side, target) in [("first", "/etc"), ("second", "/usr")] {
        let root = pair.root(side);
        symlink(target, root.join("link")).unwrap();
        symlink("/etc/passwd", root.join("out")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        rustix::fs::mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    }
    let differs = |path: &str, detail: &str| (path.to_owned(), Verdict::Differs, vec![detail.to_owned()]);
    let mode = fs::metadata(pair.root("first").join("mode")).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        pair.said(),
        [
            differs("content", "line 2: 'b' / 'c'"),
            differs("gone", "only in the first"),
            differs("kind", "file / directory"),
            differs("link", "link to '/etc' / '/usr'"),
            differs("mode", &format!("mode {mode:04o} / 4755")),
            differs("new", "only in the second"),
        ]
    );
    let found = pair.compare(&[]);
    assert_eq!((found.compared, found.identical, found.compiler_marks, found.differing), (10, 4, 0, 6));
    // Only named paths count.
    let found = pair.compare(&["same", "fifo", "./same/deep/er"]);
    assert_eq!((found.compared, found.identical), (3, 3));
}

#[test]
fn links_on_the_way_to_a_product_are_not_followed() {
    let pair = Pair::new();
    for side in ["first", "second"] {
        symlink("/etc", pair.root(side).join("out")).unwrap();
    }
    let products = ["first", "second"].map(|side| Product::open(&pair.root(side), None).unwrap());
    let error = compare([&products[0], &products[1]], &["out/passwd".into()]).unwrap_err();
    assert!(matches!(error, CompareError::Look { .. }), "{error}");
    let error = compare([&products[0], &products[1]], &["none".into()]).unwrap_err();
    assert!(matches!(error, CompareError::Absent { .. }), "{error}");
    let found = pair.compare(&["out"]);
    assert_eq!((found.compared, found.identical), (1, 1));
}

#[test]
fn what_cannot_be_reached_is_no_product_that_is_the_same() {
    let pair = Pair::new();
    for side in ["first", "second"] {
        // Deeper than any path the kernel takes.
        let mut directory = rustix::fs::open(pair.root(side), rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..60 {
            let name = "d".repeat(100);
            rustix::fs::mkdirat(&directory, &name, Mode::RWXU).unwrap();
            directory = rustix::fs::openat(&directory, &name, rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
    }
    let said = pair.said();
    assert_eq!(said.len(), 1);
    assert!(said[0].2[0].starts_with("cannot be compared: File name too long"), "{:?}", said[0].2);
    for side in ["first", "second"] {
        crate::fs::remove::path(&pair.root(side)).unwrap();
    }
}

#[test]
fn only_what_was_touched_is_a_product() {
    let pair = Pair::new();
    for name in ["kept", "changed", "quietly", "replaced", "moved"] {
        pair.write(name, [Some(b"before"), Some(b"before")]);
    }
    let snapshots = ["first", "second"].map(|side| Snapshot::take(&pair.root(side)).unwrap());
    pair.write("made", [Some(b""), Some(b"")]);
    pair.write("changed", [Some(b"after"), Some(b"after")]);
    for side in ["first", "second"] {
        let root = pair.root(side);
        // Same size, same time, same inode.
        let file = fs::File::options().write(true).open(root.join("quietly")).unwrap();
        let time = file.metadata().unwrap().modified().unwrap();
        file.write_all_at(if side == "first" { b"beforf" } else { b"beforg" }, 0).unwrap();
        file.set_modified(time).unwrap();
        fs::write(root.join("new"), "before").unwrap();
        fs::rename(root.join("new"), root.join("replaced")).unwrap();
        fs::rename(root.join("moved"), root.join("elsewhere")).unwrap();
    }
    let [one, other] = snapshots;
    let one = Product::open(&pair.root("first"), Some(one)).unwrap();
    let other = Product::open(&pair.root("second"), Some(other)).unwrap();
    let found = compare([&one, &other], &[]).unwrap();
    assert_eq!((found.compared, found.identical), (5, 4), "made, changed, quietly, replaced, elsewhere");
    assert_eq!(found.files[0].path, "quietly");
}

/// An object file or program made by the compiler of this machine, from `source`, and another from `twin`.
struct Compiled(tempfile::TempDir);

impl Compiled {
    /// `None` with a line that says so where there is no compiler.
    fn new() -> Option<Self> {
        let cc = std::process::Command::new("cc").arg("--version").output();
        let there = require("cc", cc.map(drop).map_err(|error| format!("cc: {error}")));
        there.then(|| Self(tempfile::tempdir().unwrap()))
    }

    fn run(&self, program: &str, words: &[&str]) {
        let output = std::process::Command::new(program)
            .args(words)
            .current_dir(self.0.path())
            .env("LC_ALL", "C")
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.path().join(name)).unwrap()
    }

    /// `NAME.o` with debug information, from a source that differs in `constant`.
    fn object(&self, name: &str, constant: u32) -> Vec<u8> {
        let source = format!("int f(int x) {{ return x + {constant}; }}\nint g(void) {{ return 7; }}\n");
        fs::write(self.0.path().join("unit.c"), source).unwrap();
        self.run("cc", &["-g", "-O1", "-ffunction-sections", "-c", "unit.c", "-o", &format!("{name}.o")]);
        self.read(&format!("{name}.o"))
    }

    /// `object` as a compiler of another package would have made it: with another `.comment`.
    fn marked(&self, name: &str, marked: &str, comment: &str) -> Vec<u8> {
        fs::write(self.0.path().join("comment"), [b"\0", comment.as_bytes(), b"\0"].concat()).unwrap();
        self.run("objcopy", &["--update-section", ".comment=comment", name, marked]);
        self.read(marked)
    }
}

#[test]
fn elf_section_by_section() {
    let Some(compiled) = Compiled::new() else { return };
    let (one, other) = (compiled.object("one", 1), compiled.object("other", 2));
    assert_eq!(of(&one, &one.clone()), (Verdict::Same, vec![]));
    let (verdict, details) = of(&one, &other);
    assert_eq!(verdict, Verdict::Differs);
    assert!(details.iter().any(|detail| detail.starts_with(".text.f at byte ")), "{details:?}");
    assert!(!details.iter().any(|detail| detail.starts_with(".text.g")), "{details:?}");

    // Packages of other lengths: sections move, and nothing else does.
    let short = compiled.marked("one.o", "short.o", "GCC: (Debian 12.2.0-14) 12.2.0");
    let long = compiled.marked("one.o", "long.o", "GCC: (Debian 12.2.0-14+deb12u1) 12.2.0");
    let (verdict, details) = of(&short, &long);
    assert_eq!(verdict, Verdict::CompilerMarks, "{details:?}");
    assert_eq!(details, [".comment 'GCC: (Debian 12.2.0-14) 12.2.0' / 'GCC: (Debian 12.2.0-14+deb12u1) 12.2.0'"],);
    // Another version is another compiler.
    let newer = compiled.marked("one.o", "newer.o", "GCC: (Debian 13.2.0-14) 13.2.0");
    assert_eq!(of(&short, &newer).0, Verdict::Differs);
    // A true difference is not hidden by one that does not count.
    let (verdict, details) = of(&short, &other);
    assert_eq!(verdict, Verdict::Differs);
    assert!(details.len() > 1, "{details:?}");
    // What lies in no section counts.
    let appended = [&long[..], b"payload"].concat();
    assert_eq!(of(&short, &appended).0, Verdict::Differs);
    let mut header = long.clone();
    header[7] ^= 1; // EI_OSABI
    assert_eq!(of(&short, &header).0, Verdict::Differs);
}

#[test]
fn every_flipped_byte_of_an_object_is_a_difference() {
    let Some(compiled) = Compiled::new() else { return };
    compiled.object("one", 1);
    let short = compiled.marked("one.o", "short.o", "GCC: (a) 1");
    let long = compiled.marked("one.o", "long.o", "GCC: (longer) 1");
    let at = long.windows(6).position(|window| window == b"longer").unwrap();
    // The offset of a section without content has no meaning.
    let table = usize::try_from(u64::from_le_bytes(long[0x28..0x30].try_into().unwrap())).unwrap();
    let is_place = |position: usize| position >= table && (0x18..0x20).contains(&((position - table) % 64));
    let is_comment = |position| (at - 6..at + 9).contains(&position);
    for position in (0..long.len()).filter(|position| !is_comment(*position) && !is_place(*position)) {
        let mut flipped = long.clone();
        flipped[position] ^= 0x40;
        let (verdict, details) = of(&short, &flipped);
        assert_eq!(verdict, Verdict::Differs, "byte {position}: {details:?}");
    }
}

#[test]
fn a_build_id_counts_alone() {
    let Some(compiled) = Compiled::new() else { return };
    fs::write(compiled.0.path().join("main.c"), "int main(void) { return 0; }\n").unwrap();
    let program = |id: &str| {
        compiled.run("cc", &["main.c", &format!("-Wl,--build-id=0x{id}"), "-o", id]);
        compiled.read(id)
    };
    let (one, other) = (program("aaaaaaaaaaaaaaaa"), program("bbbbbbbbbbbbbbbb"));
    assert_eq!(of(&one, &other), (Verdict::Differs, vec!["build-id".to_owned()]));
    let [one, other] = [("aaaaaaaaaaaaaaaa", "GCC: (a) 1"), ("bbbbbbbbbbbbbbbb", "GCC: (b+2) 1")]
        .map(|(name, comment)| compiled.marked(name, &format!("{name}.marked"), comment));
    let (verdict, details) = of(&one, &other);
    assert_eq!((verdict, details.len()), (Verdict::CompilerMarks, 2), "{details:?}");
}

#[test]
fn archives_member_by_member() {
    let Some(compiled) = Compiled::new() else { return };
    compiled.object("a", 1);
    fs::write(compiled.0.path().join("text"), "odd").unwrap();
    for (kind, comment) in [("short", "GCC: (a) 1"), ("long", "GCC: (a longer one) 1")] {
        fs::create_dir_all(compiled.0.path().join(kind)).unwrap();
        for name in ["unit.o", "of_a_long_name_indeed.o"] {
            compiled.marked("a.o", &format!("{kind}/{name}"), comment);
        }
        let members = [format!("{kind}/unit.o"), "text".into(), format!("{kind}/of_a_long_name_indeed.o")];
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        compiled.run("ar", &[&["rcsD", &format!("{kind}.a")], &members[..]].concat());
    }
    let (short, long) = (compiled.read("short.a"), compiled.read("long.a"));
    let (verdict, details) = of(&short, &long);
    assert_eq!(verdict, Verdict::CompilerMarks, "{details:?}");
    assert_eq!(
        details,
        ["unit.o", "of_a_long_name_indeed.o"]
            .map(|name| format!("{name}: .comment 'GCC: (a) 1' / 'GCC: (a longer one) 1'")),
    );
    let changed = |at: usize, byte: u8| {
        let mut changed = long.clone();
        changed[at] = byte;
        of(&short, &changed)
    };
    // The table of symbols: a header, the number of symbols, then places; another place is another member.
    let (verdict, details) = changed(8 + 60 + 7, 0);
    assert_eq!((verdict, details.last().unwrap().as_str()), (Verdict::Differs, "/: table of symbols"));
    // Its own header.
    let (_, details) = changed(8 + 16, b'9');
    assert_eq!(details[0], "/: time 0 / 9");
    let text = long.windows(3).position(|window| window == b"odd").unwrap();
    let (_, details) = changed(text, b'O');
    assert!(details.contains(&"text: byte 0 of 3".to_owned()), "{details:?}");
    let (_, details) = changed(text - 20, b'7');
    assert!(details.contains(&"text: mode 644 / 744".to_owned()), "{details:?}");
    assert_eq!(changed(text + 3, b'x').0, Verdict::Differs, "what fills a member of odd size");
    // One that ends before the other.
    let (verdict, details) = of(&short, &short[..8]);
    assert_eq!((verdict, details.join("")), (Verdict::Differs, "/: only in the first".to_owned()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a build makes of headers: an answer, and never that two files are the same that are not.
    #[test]
    fn damaged_files_are_never_alike(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
        archived in any::<bool>(),
    ) {
        let program = include_bytes!("../../tests/it/support/elf.rs");
        let mut one = elf_of(program);
        if archived {
            one = [b"!<arch>\n", format!("{:<48}{:<10}`\n", "a.o/", one.len()).as_bytes(), &one].concat();
        }
        let mut other = one.clone();
        for (at, byte) in changes {
            let at = at.index(other.len());
            other[at] = byte;
        }
        if let Some(cut) = cut {
            other.truncate(cut.index(other.len()));
        }
        let (verdict, _) = of(&one, &other);
        prop_assert_eq!(verdict == Verdict::Same, one == other);
        prop_assert_ne!(verdict, Verdict::CompilerMarks);
    }
}

/// A 64-bit ELF file of three sections, by hand: nothing, content, names.
fn elf_of(content: &[u8]) -> Vec<u8> {
    let names = b"\0.data\0.names\0";
    let content = &content[..200];
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    file.resize(16, 0);
    let (data, strings) = (64 + 3 * 64, 64 + 3 * 64 + content.len());
    for half in [1_u16, 62] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1_u32.to_le_bytes());
    for word in [0_u64, 0, 64] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    for half in [64_u16, 0, 0, 64, 3, 2] {
        file.extend(half.to_le_bytes());
    }
    file.resize(128, 0);
    for (name, kind, offset, size) in [(1_u32, 1_u32, data, content.len()), (7, 3, strings, names.len())] {
        file.extend(name.to_le_bytes());
        file.extend(kind.to_le_bytes());
        for word in [0, 0, offset as u64, size as u64] {
            file.extend(word.to_le_bytes());
        }
        file.extend([0; 24]);
    }
    [&file, content, names].concat()
}

#[test]
fn the_file_made_by_hand_is_one() {
    let one = elf_of(&[1; 200]);
    let mut other = one.clone();
    other[64 + 3 * 64 + 5] = 2;
    assert_eq!(of(&one, &other), (Verdict::Differs, vec![".data at byte 5 of 200".to_owned()]));
}
