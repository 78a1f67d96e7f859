//! Snapshots of tables that need a build or a network in an end-to-end test, from fixed data.

use std::path::PathBuf;

use crate::cli::printer::Print;
use crate::commands::bisect::{Found, Trial};
use crate::commands::bundle::Bundled;
use crate::commands::image_diff::{ConfigChange, ImageChanges};
use crate::commands::mirror::{Mirrored, Mirroring};
use crate::commands::preview::{Amount, Packages, Preview, Previews};
use crate::commands::rebuild::replay::Replay;
use crate::commands::rebuild::{Build, Rebuilt, Vary};
use crate::commands::source::{Row, State};
use crate::compare::{Comparison, Detail, Difference, Finding, Guess, Side, Verdict};
use crate::digest::Digest;
use crate::lock::{Change, Entry, FileKind};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::Part;

fn text(value: &impl Print) -> String {
    let mut text = String::new();
    value.write(&mut text).unwrap();
    text
}

fn digest(content: &str) -> Digest {
    Digest::of(content.as_bytes())
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

#[test]
fn bundles() {
    let part = |kind, name: &str, size| Part { kind, name: name.to_owned(), digest: digest(name), size };
    let parts = vec![
        part("image", "docker.io/library/debian:bookworm for linux-aarch64", 48_529_121),
        part("emulator", "linux-aarch64", 6_412_336),
        part("source", "lua", 332_080),
        part("lock", "hermes.lock", 1_982),
    ];
    insta::assert_snapshot!("bundle", text(&Bundled { file: "project.tar".into(), parts }));
}

#[test]
fn previews() {
    let amount = |layers, layers_here, fetch_bytes, unpack_bytes, unpack_inodes: Option<u64>| Amount {
        layers,
        layers_here,
        fetch_bytes,
        unpack_bytes,
        unpack_estimated: unpack_inodes.is_none(),
        unpack_inodes,
    };
    let preview = |name: &str, platform, amount| {
        let manifest = Some(digest(name));
        Preview { reference: reference(name), platform, manifest, packages: None, amount }
    };
    let known = preview("debian:bookworm", Platform::Arm64, amount(2, 2, 0, 0, Some(0)));
    let unknown =
        preview("quay.io/pypa/manylinux_2_28:1", Platform::Amd64, amount(12, 3, 393_000_000, 1_200_000_000, None));
    let one = Previews { images: vec![known.clone()], total: known.amount.clone() };
    insta::assert_snapshot!("pull-dry-run-of-one-image", text(&one));
    let total = amount(14, 5, 393_000_000, 1_200_000_000, None);
    insta::assert_snapshot!("pull-dry-run", text(&Previews { images: vec![known, unknown], total }));
    let packages = Preview {
        packages: Some(Packages { count: 144, here: 12 }),
        manifest: None,
        ..preview("packages.hermes.invalid/own", Platform::Amd64, amount(0, 0, 99_000_000, 400_000_000, None))
    };
    let total = packages.amount.clone();
    insta::assert_snapshot!("pull-dry-run-of-packages", text(&Previews { images: vec![packages], total }));
}

#[test]
fn mirrors() {
    let file = |kind, name: &str, size, sent| {
        let (digest, name) = (digest(name), name.to_owned());
        Mirrored { kind, name, digest, size, sent }
    };
    let files = vec![
        file(FileKind::Source, "lua", 332_080, true),
        file(FileKind::Package, "libc6 2.36-9+deb12u10 amd64", 2_758_000, true),
        file(FileKind::Package, "make 4.3-4.1 amd64", 396_000, false),
        file(FileKind::Index, "InRelease of bookworm", 151_075, true),
    ];
    let copied = Mirroring { files: files.clone(), is_dry: false };
    let there = files.into_iter().map(|file| Mirrored { sent: false, ..file }).collect();
    let dry = Mirroring { files: there, is_dry: true };
    insta::assert_snapshot!("mirror", text(&copied) + "\n" + &text(&dry));
}

/// One of each difference.
fn differences() -> Vec<Difference> {
    let two = |first: &str, second: &str| (first.to_owned(), second.to_owned());
    let (mode, other_mode) = two("0644", "0755");
    let (target, other_target) = two("a", "b");
    let (line, other_line) = two("built at 12:00", "built at 12:01");
    let (name, other_name) = two("lib.so.1", "lib.so.2");
    let (time, other_time) = two("1", "2");
    vec![
        Difference::OnlyIn { side: Side::Second },
        Difference::Kind { first: "file", second: "directory" },
        Difference::Mode { first: mode, second: other_mode },
        Difference::Target { first: target, second: other_target },
        Difference::Device,
        Difference::Line { number: 7, first: line, second: other_line },
        Difference::Content { offset: 512, first: 1000, second: 1001 },
        Difference::Digest { first: digest("a"), second: digest("b") },
        Difference::Name { first: name, second: other_name },
        Difference::Header { field: "entry" },
        Difference::SectionOnlyIn { section: ".debug_info".into(), side: Side::First },
        Difference::Section { section: ".text".into(), offset: Some(64), first: 4096, second: 4096 },
        Difference::Section { section: ".data".into(), offset: None, first: 8, second: 8 },
        Difference::Comment { first: vec!["GCC 12.2.0-14".into()], second: vec!["GCC 12.2.0-14+b1".into()] },
        Difference::BuildId,
        Difference::OutsideSections,
        Difference::Member { field: "time", first: time, second: other_time },
        Difference::MemberOnlyIn { side: Side::First },
        Difference::SymbolTable,
        Difference::Unread { reason: "longer than 1000 bytes".into() },
    ]
}

fn comparison() -> Comparison {
    let marks = Finding {
        path: "lua".into(),
        verdict: Verdict::CompilerMarks,
        details: vec![Difference::BuildId.into()],
        more: false,
    };
    let mut details: Vec<Detail> = differences().into_iter().map(Detail::from).collect();
    details[10].member = Some("lapi.o".into());
    let differs = Finding { path: "liblua.a".into(), verdict: Verdict::Differs, details, more: true };
    Comparison { compared: 40, identical: 37, compiler_marks: 1, differing: 2, files: vec![differs, marks] }
}

#[test]
fn comparisons_of_builds() {
    let build = |options: &[&'static str], tree: Option<&str>| Build {
        options: options.to_vec(),
        seconds: 12.34,
        tree: tree.map(PathBuf::from),
    };
    let looks_like = vec![
        Guess {
            path: "liblua.a".into(),
            what: "build path",
            first: Some("/work".into()),
            second: Some("/build".into()),
        },
        Guess { path: "lua".into(), what: "umask", first: None, second: None },
    ];
    let different = Rebuilt {
        same: false,
        vary: vec![Vary::Umask],
        looks_like,
        diffoscope: None,
        builds: [build(&[], Some("/srv/kept/first")), build(&["--umask 002"], Some("/srv/kept/second"))],
        comparison: comparison(),
    };
    insta::assert_snapshot!("rebuild", text(&different));
    let identical = Rebuilt {
        same: true,
        looks_like: vec![],
        builds: [build(&[], None), build(&[], None)],
        comparison: Comparison { compared: 3, identical: 3, ..Comparison::default() },
        ..different
    };
    insta::assert_snapshot!("rebuild-identical", text(&identical));
    let replay = |same| Replay {
        record: digest("record"),
        check: true,
        same,
        vary: vec![],
        seconds: 10.0,
        build: build(&[], None),
        comparison: if same.is_some() { comparison() } else { Comparison::default() },
    };
    insta::assert_snapshot!("rebuild-of-a-record", text(&replay(Some(false))));
    insta::assert_snapshot!("rebuild-of-a-record-without-outputs", text(&replay(None)));
}

#[test]
fn bisections() {
    let image = Entry::Image(reference("debian:bookworm"), Platform::Arm64);
    let source = Entry::Source("lua".into());
    let trial =
        |newer: &[&Entry], code| Trial { newer: newer.iter().copied().cloned().collect(), code, seconds: 12.34 };
    let config = ConfigChange { setting: "Env CFLAGS".into(), old: None, new: Some("-O3".into()) };
    let found = Found {
        culprit: Change {
            entry: image.clone(),
            old: Some(digest("a").to_string()),
            new: Some(digest("b").to_string()),
        },
        image: Some(ImageChanges { packages: None, unread: vec![], config: vec![config] }),
        together_with: vec![source.clone()],
        trials: vec![trial(&[], 0), trial(&[&image, &source], 2), trial(&[&image], 0)],
    };
    insta::assert_snapshot!("bisect", text(&found));
}

#[test]
fn sources() {
    let row = |name: &str, state, locked: bool| Row {
        name: name.to_owned(),
        url: format!("https://example.org/{name}.tar.gz"),
        commit: None,
        digest: locked.then(|| digest(name)),
        size: locked.then_some(332_080),
        strip: None,
        patches: 0,
        state,
    };
    let of_git = Row {
        url: "https://example.org/zlib.git".into(),
        commit: Some("1234567890abcdef1234567890abcdef12345678".into()),
        ..row("zlib", State::Archive, true)
    };
    let rows = vec![
        row("lua", State::Unpacked, true),
        of_git,
        row("lz4", State::Missing, true),
        row("xz", State::Unlocked, false),
    ];
    insta::assert_snapshot!("source-list", text(&rows));
}
