//! Snapshots of tables and of errors with their hints: a change of words is seen in review. After a change run these
//! tests with `INSTA_UPDATE=always`, and read what git shows as changed in `snapshots/`. Help texts have their snapshots
//! in `src/cli/tests.rs`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::support::context::TestContext;
use crate::support::fake_registry::{FakeRegistry, Reply};
use crate::support::image::{Codec, Content, layer};

const AMD64: (&str, &str, Option<&str>) = ("linux", "amd64", None);

/// The packages of the image `test.invalid/debian:VERSION`.
const STATUS: &str = "\
Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2.15-2

Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: VERSION

";

fn fixture(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(name)).unwrap()
}

/// A context whose store has two versions of an image with packages.
fn with_images() -> TestContext {
    let world = TestContext::empty();
    for version in ["12.1", "12.2"] {
        let status = STATUS.replace("VERSION", version);
        let files: [(&str, &[u8]); 2] =
            [("var/lib/dpkg/status", status.as_bytes()), ("etc/debian_version", version.as_bytes())];
        let config = json!({"Env": [format!("VERSION={version}")], "Cmd": ["bash"]});
        let mut content = Content::default();
        let image = content.image_with(AMD64, &[layer(Codec::Gzip, &files)], &config);
        world.import(&content.tag("x", &image), &format!("test.invalid/debian:{version}")).exits(0);
    }
    world
}

/// What `hermes WORDS` prints, as at a prompt. The places of this test, its ports and temporary names are left out.
fn transcript(world: &TestContext, shown: &mut String, words: &[&str]) {
    let output = world.hermes(words).env("PATH", "/no/where").output();
    let _ = writeln!(shown, "$ hermes {}", words.join(" "));
    *shown += &String::from_utf8_lossy(&output.stdout);
    *shown += &output.stderr;
    if output.code() != 0 {
        let _ = writeln!(shown, "[exit {}]", output.code());
    }
    shown.push('\n');
    *shown = shown.replace(world.path().to_str().unwrap(), "[DIR]");
}

/// The text with each run of digits as one `0`: sizes on disk and times are not the same everywhere.
fn without_numbers(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        if !c.is_ascii_digit() {
            shown.push(c);
        } else if !shown.ends_with('0') {
            shown.push('0');
        }
    }
    shown
}

#[test]
fn tables() {
    let world = with_images();
    world.write("old.lock", &fixture("lock-1.toml"));
    world.write("new.lock", &fixture("lock-2.toml").replace("debian:12\"", "debian:13\""));
    let new = "test.invalid/debian:12.2";
    let mut shown = String::new();
    for words in [
        &["images"][..],
        &["inspect", new],
        &["packages", new],
        &["packages", new, "--since", "test.invalid/debian:12.1"],
        &["lock", "--diff", "old.lock", "new.lock"],
        &["toolchain", "list"],
        &["toolchain", "show", "debian"],
        &["allow", "--list"],
        &["log"],
        &["verify"],
        &["rm", "test.invalid/debian:12.1"],
    ] {
        transcript(&world, &mut shown, words);
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn tables_of_room_and_times() {
    let world = with_images();
    let mut shown = String::new();
    for words in [&["df"][..], &["gc", "--dry-run"], &["gc", "--max-inodes", "1"]] {
        transcript(&world, &mut shown, words);
    }
    insta::assert_snapshot!(without_numbers(&shown));
}

#[test]
fn records() {
    let world = with_images();
    let records = world.store().join("records");
    fs::create_dir_all(&records).unwrap();
    fs::write(records.join("2026-11.jsonl"), fixture("records-1.jsonl") + &fixture("records-2.jsonl")).unwrap();
    let mut shown = String::new();
    transcript(&world, &mut shown, &["log"]);
    let listed = world.json(&["log"]);
    let ids: Vec<_> = listed["runs"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap()).collect();
    for id in &ids {
        transcript(&world, &mut shown, &["log", "show", &id["sha256:".len()..][..12]]);
    }
    insta::assert_snapshot!(shown);
}

/// Of what the doctor finds only the names: the rest depends on the host.
#[test]
fn findings_of_the_doctor() {
    let report = TestContext::empty().json(&["doctor"]);
    let names: Vec<_> = report["findings"].as_array().unwrap().iter().map(|finding| finding["name"].as_str()).collect();
    let names = names
        .into_iter()
        .flatten()
        .filter(|name| !name.starts_with("store ") && !name.starts_with("this host's handler for "));
    insta::assert_snapshot!(names.collect::<Vec<_>>().join("\n"));
}

#[test]
fn errors_of_options() {
    let world = TestContext::empty();
    let mut shown = String::new();
    for line in [
        "no-such-verb",
        "run --no-such-option",
        "run --platform vax -- true",
        "run --image UPPER -- true",
        "run --image a/b@sha256:12 -- true",
        "run --toolchain none-such -- true",
        "run --net internet -- true",
        "run -v relative:b:c:d -- true",
        "run -v /no/where:/x -- true",
        "run -v .:x -- true",
        "run --memory lots -- true",
        "run --memory 0 -- true",
        "run --cpus 0 -- true",
        "run --pids 0 -- true",
        "run --timeout soon -- true",
        "run --hostname -- true",
        "run --hostname a/b -- true",
        "run --umask 9 -- true",
        "run --home relative -- true",
        "run --work relative -- true",
        "run --clock yesterday -- true",
        "run --nproc 0 -- true",
        "run --fake-root stateful -- true",
        "run --userns range --image a/b:1 -- true",
        "run --isolation landlock --root -- true",
        "run --output /etc -- true",
        "run --output ../x -- true",
        "--max-concurrent 0 images",
        "--limit-rate fast images",
        "--unpack-limit much images",
        "--mirror a images",
        "completions none",
    ] {
        let words: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).collect();
        transcript(&world, &mut shown, &words);
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn errors_of_files() {
    let world = with_images();
    let mut shown = String::new();
    let show = |shown: &mut String, line: &str| transcript(&world, shown, &line.split(' ').collect::<Vec<_>>());
    for (name, text) in [
        ("hermes.toml", "toolchain = 1\n"),
        ("hermes.toml", "toolchian = 'debian'\n"),
        ("hermes.toml", "toolchain = 'none-such'\n"),
        ("hermes.toml", "[source.p]\nurl = 'ftp://example.org/p.tar'\nsha256 = 'ab'\n"),
        ("hermes.lock", "version = 99\n"),
        ("hermes.lock", "version = 2\nmount = '/etc'\n"),
        ("hermes.lock", "<<<<<<< ours\nversion = 2\n"),
        ("../config/hermes/config.toml", "mirror = 1\n"),
        ("../config/hermes/toolchains/own.toml", "[platform.vax]\nimage = 'a/b:1'\n"),
    ] {
        let path = world.write(name, text);
        if name != "hermes.toml" {
            world.write("hermes.toml", "toolchain = 'debian'\n");
        }
        show(&mut shown, "--offline fetch");
        fs::remove_file(&path).unwrap();
        let _ = fs::remove_file(world.work().join("hermes.toml"));
    }
    for line in [
        "lock --diff no-such.lock other.lock",
        "--offline lock --check",
        "lock --update none",
        "--locked fetch",
        "bisect a.lock b.lock -- true",
        "import no-such",
        "import /dev/null",
        "import .",
        "export test.invalid/debian:1 x.tar",
        "bundle load /dev/null",
        "bundle create x.bundle",
        "inspect test.invalid/none:1",
        "packages test.invalid/none:1",
        "rm test.invalid/none:1",
        "log show",
        "log show zz",
        "log show abcdef",
        "rebuild",
        "rebuild abcdef",
        "allow",
        "allow --revoke",
        "source fetch",
        "source add not-a-url",
        "toolchain show none-such",
        "--offline pull test.invalid/none:1",
        "--offline run --image test.invalid/none:1 -- true",
        "--offline login example.org --user me",
        "logout example.org",
    ] {
        show(&mut shown, line);
    }
    fs::write(world.store().join("VERSION"), "99\n").unwrap();
    show(&mut shown, "images");
    fs::remove_file(world.store().join("VERSION")).unwrap();
    show(&mut shown, "images");
    insta::assert_snapshot!(shown);
}

#[test]
fn errors_of_registries() {
    let world = TestContext::empty();
    let mut shown = String::new();
    let json = "application/vnd.oci.image.manifest.v1+json";
    let answers = [
        ("none", Reply::new(404, br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#)),
        ("denied", Reply::new(403, br#"{"errors":[{"code":"DENIED","message":"no"}]}"#)),
        ("login", Reply::new(401, b"").header("www-authenticate", "Basic realm=\"r\"")),
        ("teapot", Reply::new(418, b"short and stout")),
        ("text", Reply::new(200, b"hello").header("content-type", "text/plain")),
        ("json", Reply::new(200, b"{}").header("content-type", json)),
    ];
    for (name, answer) in answers {
        let fake = FakeRegistry::start(move |_, _| answer.clone());
        transcript(&world, &mut shown, &["pull", &format!("{}/{name}:1", fake.host())]);
        shown = shown.replace(&fake.host(), "127.0.0.1:PORT");
    }
    transcript(&world, &mut shown, &["pull", "127.0.0.1:1/nobody/listens:1"]);
    insta::assert_snapshot!(shown);
}
