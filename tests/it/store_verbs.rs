//! `images`, `inspect`, `export`, `doctor` and others: text for people, JSON for programs, only data on standard output.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::context::{TestContext, emulation, tool};
use crate::support::elf::tiny;
use crate::support::fake_registry::FakeRegistry;
use crate::support::process::Run;
use crate::support::pty::Pty;

const TINY: &str = "test.invalid/tiny:1";

fn with_tiny() -> Option<TestContext> {
    let world = TestContext::sandbox()?;
    let _ = world.import(&tiny("here"), TINY);
    Some(world)
}

#[test]
fn images_lists_each_platform() {
    let Some(world) = with_tiny() else { return };
    let rows = |world: &TestContext| {
        let text = world.hermes(["images"]).ok();
        text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let table = rows(&world);
    assert_eq!(table[0], ["IMAGE", "PLATFORM", "MANIFEST", "SIZE", "STATE"]);
    assert_eq!(table.len(), 3, "{table:?}");
    for (row, platform) in table[1..].iter().zip(["linux-x86_64", "linux-aarch64"]) {
        assert_eq!((&*row[0], &*row[1], row.last().map(String::as_str)), (TINY, platform, Some("packed")));
    }
    world.hermes(["run", "--image", TINY, "--", "tool"]).ok();
    assert_eq!(rows(&world)[1].last().map(String::as_str), Some("ready"));
    let json = world.json(&["images"]);
    assert_eq!((&json[0]["reference"], &json[0]["platform"]), (&TINY.into(), &"linux/amd64".into()));
    assert!(
        json[0]["unpacked"] == true && json[1]["unpacked"] == false && json[0]["size"].as_u64() > Some(200_000),
        "{json}"
    );
}

#[test]
fn inspect_shows_an_image_in_full() {
    let Some(world) = with_tiny() else { return };
    let text = world.hermes(["inspect", TINY]).ok();
    for part in [
        &format!("image     {TINY}"),
        "platform  linux-x86_64",
        "index     linux-x86_64 linux-aarch64",
        "packed",
        "tar+zstd",
        "PATH=/bin",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let json = world.json(&["inspect", TINY, "--platform", "arm64"]);
    assert_eq!((&json["platform"], &json["config"]["architecture"]), (&"linux/arm64".into(), &"arm64".into()));
    assert_eq!(json["layers"].as_array().unwrap().len(), 2);
    assert_eq!(json["index"].as_array().unwrap().len(), 2);
    world
        .hermes(["inspect", TINY, "--platform", "s390x"])
        .output()
        .refused(1, &["has no image for linux-s390x", "it has linux-aarch64, linux-x86_64"]);
    world
        .hermes(["inspect", "test.invalid/none:1"])
        .output()
        .refused(1, &["there is no image test.invalid/none:1", "hint: 'hermes images'"]);
}

#[test]
fn rm_removes_what_no_other_name_needs() {
    let Some(world) = with_tiny() else { return };
    let _ = world.import(&tiny("other"), "test.invalid/other:1");
    let run = |image: &str| world.hermes(["--offline", "run", "--image", image, "--", "tool"]).output();
    assert_eq!((run(TINY).ok().as_str(), run("test.invalid/other:1").ok().as_str()), ("here amd64", "other amd64"));
    assert_eq!(world.stored("layers").len(), 3, "the base layer is shared");
    assert!(world.hermes(["rm", TINY]).ok().starts_with(&format!("{TINY}: removed with ")));
    run(TINY).refused(4, &["is not on this machine", "hermes pull"]);
    assert_eq!(run("test.invalid/other:1").ok(), "other amd64");
    assert_eq!(world.stored("layers").len(), 2);
    let removed = world.json(&["rm", "test.invalid/other:1"]);
    assert!(removed[0]["blobs"].as_u64() > Some(4) && removed[0]["layers"] == 2, "{removed}");
    for directory in ["refs", "layers", "trash", "tmp", "blobs/sha256"] {
        assert_eq!(world.stored(directory), Vec::<String>::new(), "{directory}");
    }
    world.hermes(["rm", TINY]).output().refused(1, &["there is no image"]);
}

#[test]
fn import_of_a_directory_and_of_archives() {
    let Some(world) = TestContext::sandbox() else { return };
    let layout = world.path().join("layout");
    let mut content = tiny("packed");
    let digest = content.tags["1"];
    content.tags = [("test.invalid/named:3".to_owned(), digest)].into();
    content.write_layout(&layout);
    let archive = |name: &str, flags: &[&str]| {
        let path = world.path().join(name);
        Run::new("tar")
            .args(flags)
            .args(["-cf".as_ref(), path.as_os_str(), "-C".as_ref(), layout.as_os_str(), ".".as_ref()])
            .ok();
        path
    };
    let mut sources = vec![layout.clone(), archive("plain.tar", &[]), archive("gzip.tar.gz", &["-z"])];
    if tool("zstd") {
        sources.push(archive("zstd.tar.zst", &["--zstd"]));
    }
    for source in sources {
        // Named by itself.
        let text = world.hermes(["import"]).args([&source]).ok();
        assert_eq!(text, format!("test.invalid/named:3  {digest}"), "{}", source.display());
        assert_eq!(
            world.hermes(["--offline", "run", "--image", "test.invalid/named:3", "--", "tool"]).ok(),
            "packed amd64"
        );
        world.hermes(["rm", "test.invalid/named:3"]).ok();
        // Named by the user.
        let renamed = world.hermes(["import", "--json", "--name", "own/name"]).args([&source]).output();
        let json: serde_json::Value = serde_json::from_slice(&renamed.stdout).unwrap();
        assert_eq!(json[0]["reference"], "docker.io/own/name:latest");
        world.hermes(["rm", "own/name"]).ok();
        fs::remove_file(world.image_lock("test.invalid/named:3")).unwrap();
    }
    assert_eq!(world.stored("tmp"), Vec::<String>::new());
}

#[test]
fn the_store_is_itself_a_layout_that_others_read() {
    let Some(world) = with_tiny() else { return };
    // Another store takes it as it is.
    let other = TestContext::empty();
    other.hermes(["import"]).args([world.store()]).ok();
    assert!(other.hermes(["images"]).ok().contains(TINY));
    if tool("skopeo") {
        let source = format!("oci:{}:{TINY}", world.store().display());
        let text = Run::new("skopeo").args(["inspect", "--raw", &source]).ok();
        assert!(text.contains("\"arm64\"") && text.contains("\"amd64\""), "{text}");
    }
}

#[test]
fn doctor_says_what_works() {
    let Some(world) = TestContext::sandbox() else { return };
    let text = world.hermes(["doctor"]).ok();
    for name in [
        "user namespace",
        "network namespace",
        "overlay",
        "private binfmt_misc",
        "emulator for linux-aarch64",
        "seccomp",
        "landlock",
        "store ",
    ] {
        assert!(
            text.lines().any(|line| line.get(4..).is_some_and(|line| line.starts_with(name))),
            "no {name} in {text}"
        );
    }
    let json = world.json(&["doctor"]);
    assert_eq!(json["native"], true);
    if emulation() {
        assert_eq!(json["foreign"], true);
        assert!(text.ends_with("native and foreign toolchains run here"), "{text}");
    }
    // Without an emulator it says so, and native toolchains run all the same.
    let text = world.hermes(["doctor"]).env("PATH", "/no/where").ok();
    assert!(
        text.contains("--  emulator for linux-aarch64") && text.contains("-> install the package qemu-user-static"),
        "{text}"
    );
    assert!(text.ends_with("native toolchains run here; foreign ones do not yet"), "{text}");
}

#[test]
fn completions_and_manual_pages() {
    let world = TestContext::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = world.hermes(["completions", shell]).ok();
        for word in ["toolchain", "--platform", "inspect"] {
            assert!(text.contains(word) || text.contains(word.trim_start_matches("--")), "no {word} for {shell}");
        }
    }
    let script = world.hermes(["completions", "bash"]).ok();
    Run::new("bash").args(["-n"]).input(script.as_bytes()).ok();
    world.hermes(["completions", "tcsh"]).output().exits(2);
    let man = world.path().join("man");
    fs::create_dir(&man).unwrap();
    world.hermes(["man"]).args([&man]).ok();
    assert!(fs::read_dir(&man).unwrap().any(|entry| entry.unwrap().file_name() == "hermes-run.1"), "no page of run");
}

#[test]
fn help_and_version() {
    let world = TestContext::empty();
    assert_eq!(world.hermes(["--version"]).ok(), format!("hermes {}", env!("CARGO_PKG_VERSION")));
    let help = world.hermes(["--help"]).ok();
    for verb in
        ["run", "pull", "images", "inspect", "rm", "gc", "df", "verify", "import", "toolchain", "doctor", "completions"]
    {
        assert!(help.contains(&format!("\n  {verb} ")), "no {verb} in {help}");
        assert!(world.hermes([verb, "--help"]).ok().contains("Usage: hermes"), "{verb}");
    }
    let help = world.hermes(["run", "--help"]).ok();
    for option in [
        "--platform",
        "--image",
        "--toolchain",
        "--volume",
        "--env",
        "--workdir",
        "--net",
        "--entrypoint",
        "--root",
        "--offline",
        "--locked",
    ] {
        assert!(help.contains(option), "no {option} in {help}");
    }
}

#[test]
fn progress_is_for_terminals_and_data_for_pipes() {
    let Some((world, registry)) = TestContext::with_registry("bars").filter(|_| tool("setsid")) else { return };
    let image = format!("{}/lib/tiny:1", registry.host());
    let output = world.hermes(["pull", &image]).output();
    assert_eq!(output.ok().lines().count(), 1);
    assert!(!output.stderr.contains(['\u{1b}', '\r']), "{:?}", output.stderr);
    // At a terminal there are bars, unless they are not wanted. A slow registry, so that they are seen.
    let slow = FakeRegistry::serve(tiny("slow"), |_, _, reply| reply.stall(std::time::Duration::from_millis(300)));
    let image = format!("{}/lib/tiny:1", slow.host());
    for (options, bars) in [(&[][..], true), (&["--no-progress"], false), (&["--quiet"], false)] {
        let fresh = TestContext::empty();
        let mut pty = Pty::start(fresh.hermes([options, &["pull", &image]].concat()).env("TERM", "xterm"), (24, 100));
        assert_eq!(pty.wait(), 0, "{}", pty.shown());
        pty.until("linux-x86_64");
        assert_eq!(pty.shown().contains('\u{1b}'), bars, "{options:?}: {:?}", pty.shown());
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let Some(world) = with_tiny() else { return };
    for words in [&["images"][..], &["toolchain", "list", "--json"], &["completions", "bash"]] {
        let output = world.hermes(words).under(&["bash", "-c", "\"$@\" | true; exit ${PIPESTATUS[0]}", "sh"]).output();
        output.exits(0);
        assert_eq!(output.stderr, "", "{words:?}");
        let output = world.hermes(words).under(&["sh", "-c", "\"$@\" >/dev/full", "sh"]).output();
        assert!(output.exits(1).stderr.contains("cannot write to standard output"), "{words:?}: {}", output.stderr);
    }
}

#[test]
fn a_store_that_may_only_be_read_still_runs() {
    let Some(world) = TestContext::sandbox() else { return };
    let _ = world.import(&tiny("read-only"), TINY);
    let run = || world.hermes(["run", "--image", TINY, "--", "tool"]).output();
    assert_eq!(run().ok(), "read-only amd64");
    let mode = |mode| {
        for directory in ["", "records", "tmp", "refs", "layers", "blobs", "blobs/sha256"] {
            let _ = fs::set_permissions(world.store().join(directory), fs::Permissions::from_mode(mode));
        }
        for record in world.stored("records").iter().filter(|name| name.contains('.')) {
            let record = world.store().join("records").join(record);
            fs::set_permissions(record, fs::Permissions::from_mode(mode & 0o666)).unwrap();
        }
    };
    mode(0o555);
    let output = run();
    mode(0o755);
    assert_eq!(output.ok(), "read-only amd64");
    assert!(output.stderr.contains("cannot record this run"), "{}", output.stderr);
}
