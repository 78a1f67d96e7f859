//! Toolchains: the catalogue, the user's own, the project's.

use std::fs;
use std::path::Path;

use crate::support::context::{DEFAULT_TOOLCHAIN, TestContext};
use crate::support::elf::{Machine, program};
use crate::support::image::{Codec, Content, layer};

/// An image whose `tool` prints `text`, as `test.invalid/NAME:1`.
fn image(world: &TestContext, name: &str) {
    let mut content = Content::default();
    let tool = program(Machine::Amd64, &format!("{name}\n"), 0);
    let manifest = content.image(("linux", "amd64", None), &[layer(Codec::Gzip, &[("bin/tool", &tool)])]);
    let _ = world.import(&content.tag("1", &manifest), &format!("test.invalid/{name}:1"));
}

fn definition(name: &str) -> String {
    format!("description = 'mine'\n[platform.linux-x86_64]\nimage = 'test.invalid/{name}:1'\n")
}

#[test]
fn the_catalogue_has_a_native_and_a_cross_toolchain() {
    let world = TestContext::empty();
    let list = world.hermes(["toolchain", "list"]).ok();
    for name in ["debian", "debian-image", "debian13", "dockcross", "manylinux_2_28", "zig"] {
        assert!(list.lines().any(|line| line.split_whitespace().next() == Some(name)), "{list}");
    }
    let debian = world.hermes(["toolchain", "show", "debian"]).ok();
    assert!(debian.contains("docker.io/library/buildpack-deps:bookworm") && debian.contains("native"), "{debian}");
    std::fs::remove_file(world.path().join(DEFAULT_TOOLCHAIN)).unwrap();
    let debian = world.hermes(["toolchain", "show", "debian"]).ok();
    for part in [
        "emulator: /usr/bin/qemu-{arch}-static in the package qemu-user-static",
        "packages of bookworm: build-essential",
    ] {
        assert!(debian.contains(part), "{debian}");
    }
    let image = world.hermes(["toolchain", "show", "debian-image"]).ok();
    assert!(image.contains("emulator: /usr/bin/qemu-{arch} in docker.io/tonistiigi/binfmt:qemu-v"), "{image}");
    let dockcross = world.json(&["toolchain", "show", "dockcross"]);
    for platform in ["linux/amd64", "linux/386", "linux/arm64", "linux/arm/v6", "linux/arm/v7"] {
        let target = &dockcross["platform"][platform];
        assert!(
            target["image"].as_str().is_some_and(|image| image.starts_with("docker.io/dockcross/linux-")),
            "{target}"
        );
        assert_eq!(target["image-platform"], "linux/amd64", "{platform}");
    }
    let names: Vec<_> =
        world.json(&["toolchain", "list"]).as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["debian", "debian-image", "debian13", "dockcross", "manylinux_2_28", "zig"]);
}

#[test]
fn a_file_of_the_users_adds_or_overrides_one() {
    let Some(world) = TestContext::sandbox() else { return };
    for name in ["own", "instead"] {
        image(&world, name);
    }
    world.write("../config/hermes/toolchains/mine.toml", &definition("own"));
    world.write("../config/hermes/toolchains/debian.toml", &definition("instead"));
    assert_eq!(world.hermes(["run", "--toolchain", "mine", "--", "tool"]).ok(), "own");
    assert_eq!(world.hermes(["run", "--", "tool"]).ok(), "instead");
    assert!(world.hermes(["toolchain", "list"]).ok().contains("\nmine "));
    // The whole definition is replaced: nothing is merged.
    let output = world.hermes(["run", "-p", "arm64", "--", "tool"]).output();
    output.refused(2, &["does not build for linux-aarch64", "it builds for: linux-x86_64"]);
}

#[test]
fn a_project_adds_overrides_and_chooses() {
    let Some(world) = TestContext::sandbox() else { return };
    for name in ["users", "projects"] {
        image(&world, name);
    }
    world.write("../config/hermes/toolchains/mine.toml", &definition("users"));
    let table = "[toolchains.mine.platform.linux-x86_64]\nimage = 'test.invalid/projects:1'\n";
    world.write("hermes.toml", &format!("toolchain = 'mine'\n{table}"));
    let deep = world.write("a/b/c", "").parent().unwrap().to_owned();
    assert_eq!(world.hermes(["run", "--", "tool"]).ok(), "projects");
    // From below, too; the lock lies beside hermes.toml, and /work is where one is.
    assert_eq!(world.hermes(["run", "--", "tool"]).dir(&deep).ok(), "projects");
    assert!(world.work().join("hermes.lock").exists() && !deep.join("hermes.lock").exists());
    assert!(world.hermes(["toolchain", "show", "mine"]).ok().contains("test.invalid/projects:1"));
    world.write("hermes.toml", "toolchain = 'mine'\nplatform = 'linux-x86_64'\n");
    assert_eq!(world.hermes(["run", "--", "tool"]).ok(), "users");
    // The command line has the last word.
    assert_eq!(world.hermes(["run", "--image", "test.invalid/projects:1", "--", "tool"]).ok(), "projects");
}

#[test]
fn mistakes_are_named_with_what_there_is() {
    let world = TestContext::empty();
    let run = |words: &[&str]| world.hermes([&["run"], words, &["--", "true"]].concat()).output();
    run(&["--toolchain", "gcc"])
        .refused(2, &["unknown toolchain 'gcc'", "debian, debian-image, debian13, dockcross, manylinux_2_28, zig"]);
    run(&["--toolchain", "../../etc/x"]).refused(2, &["unknown toolchain"]);
    world.hermes(["toolchain", "show", "gcc"]).output().refused(2, &["unknown toolchain 'gcc'"]);
    run(&["--platform", "linux-vax"])
        .refused(2, &["unknown platform 'linux-vax'", "linux-aarch64", "linux-armv6", "linux-i686"]);
    run(&["--platform", "windows/amd64"]).refused(2, &["unknown platform"]);
    run(&["--toolchain", "manylinux_2_28", "--platform", "armv6"])
        .refused(2, &["does not build for linux-armv6", "it builds for: "]);
    run(&["--image", "x/UPPER"]).refused(2, &["x/UPPER"]);
    for (text, part) in [("toolchian = 'x'", "toolchian"), ("platform = 'vax'", "vax"), ("= = =", "hermes.toml")] {
        let file = world.write("hermes.toml", text);
        run(&[]).refused(2, &["hermes.toml", part]);
        std::fs::remove_file(file).unwrap();
    }
    world.configure("[registri]\n");
    run(&[]).refused(2, &["config.toml", "registri"]);
}

/// The lock that hermes ships for a toolchain.
fn shipped(name: &str) -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("lockfiles/{name}.lock"));
    fs::read_to_string(path).unwrap().parse().unwrap()
}

/// A context with the catalogue's own toolchains, and an archive that does not answer.
fn with_catalogue() -> TestContext {
    let world = TestContext::empty();
    fs::remove_file(world.path().join(DEFAULT_TOOLCHAIN)).unwrap();
    world.configure("[debian]\nmirrors = ['http://127.0.0.1:1']\n");
    world
}

#[test]
fn a_project_starts_with_the_shipped_lock() {
    let world = with_catalogue();
    world.write("hermes.toml", "toolchain = 'debian'\n");
    // With --locked a project needs entries of its own.
    let fetch =
        |words: &[&str]| world.hermes([&["--offline", "fetch", "-p", "linux-aarch64"], words].concat()).output();
    fetch(&["--locked"]).refused(4, &["hermes.lock has no entry for packages of debian for linux-aarch64"]);
    // No archive is asked for what was locked, and no release of that day.
    world.hermes(["--offline", "lock", "-p", "linux-aarch64"]).ok();
    let (lock, shipped): (toml::Table, _) = (world.read("hermes.lock").parse().unwrap(), shipped("debian"));
    for table in ["root", "native"] {
        assert_eq!(lock[table]["debian"]["linux/arm64"], shipped[table]["debian"]["linux/arm64"], "{table}");
    }
    assert_eq!(lock["emulator"], shipped_emulator(&shipped, "linux/arm64"));
    let archives = &lock["archive"]["bookworm"];
    assert_eq!(archives["release"], shipped["archive"]["bookworm"]["release"]);
    assert!(lock["root"]["debian"].as_table().unwrap().len() == 1 && archives.get("uri").is_none(), "{lock}");
    assert_eq!(world.hermes(["--offline", "--locked", "lock", "-p", "linux-aarch64"]).ok(), "");
    fetch(&["--locked"]).refused(4, &["is not on this machine"]);
    // What the archive has now is asked for with an update.
    world.hermes(["lock", "--update"]).output().refused(1, &["release of bookworm", "127.0.0.1:1"]);
    assert_eq!(world.read("hermes.lock").parse::<toml::Table>().unwrap(), lock);
}

/// The emulators of a lock, if it had this one alone.
fn shipped_emulator(lock: &toml::Table, platform: &str) -> toml::Value {
    let one = (platform.to_owned(), lock["emulator"][platform].clone());
    toml::Value::Table(toml::Table::from_iter([one]))
}

#[test]
fn outside_of_projects_the_shipped_lock_counts_as_locked() {
    let world = with_catalogue();
    for options in [&["--offline"][..], &["--offline", "--locked"]] {
        let run = world.hermes([options, &["run", "--", "true"]].concat()).output();
        run.refused(4, &["is not on this machine, and --offline forbids downloading it"]);
        assert!(!world.locks().join("debian.lock").exists(), "{options:?}");
    }
    // A toolchain of the user with that name has no shipped lock.
    fs::write(world.path().join(DEFAULT_TOOLCHAIN), include_str!("../../toolchains/debian.toml")).unwrap();
    let run = world.hermes(["--offline", "--locked", "run", "--", "true"]).output();
    run.refused(4, &["debian.lock has no entry for packages of debian for linux-x86_64"]);
}

#[test]
fn packages_of_the_shipped_locks_are_listed() {
    let world = with_catalogue();
    for (toolchain, package) in [("debian", "gcc-12"), ("debian13", "gcc-14")] {
        let listed = world.hermes(["--offline", "packages", "-t", toolchain]).ok();
        assert!(listed.lines().any(|line| line.starts_with(&format!("{package} "))), "{listed}");
    }
    assert!(!world.locks().exists());
}
