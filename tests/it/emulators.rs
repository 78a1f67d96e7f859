//! Images that accompany a foreign image: its emulator and native tools.

use std::fs;
use std::path::PathBuf;

use hermes::testing::digest::Digest;

use crate::support::context::{DEBIAN, TestContext, emulation, fixtures};
use crate::support::elf::{Machine, program, tiny};
use crate::support::image::{Codec, Content, Layer, layer, links};
use crate::support::process::Output;
use crate::support::real_registry::{self, RealRegistry};
use crate::support::require;

/// A project whose toolchain is an image of a real registry, for this host and for another platform.
struct Project {
    world: TestContext,
    registry: RealRegistry,
}

impl Project {
    /// With these further lines in the toolchain; `HOST` in them is the registry's.
    fn new(lines: &str) -> Option<Self> {
        let world = TestContext::sandbox()?;
        (emulation() && real_registry::available()).then(|| {
            let registry = RealRegistry::start(world.path(), None);
            for name in ["lib/tiny", "lib/native"] {
                registry.push(name, &tiny(name));
            }
            let project = Self { world, registry };
            project.define(lines);
            project
        })
    }

    fn define(&self, lines: &str) {
        let platform = |name| format!("[platform.{name}]\nimage = 'HOST/lib/tiny:1'\n");
        let text = format!("{lines}\n{}{}", platform("linux-x86_64"), platform("linux-aarch64"));
        self.world.write("hermes.toml", "toolchain = 'own'\n");
        self.world.write("../config/hermes/toolchains/own.toml", &text.replace("HOST", self.registry.host()));
    }

    /// `hermes OPTIONS VERB -p arm64 …` with a store of this name.
    fn on_arm64(&self, store: &str, options: &[&str], verb: &[&str]) -> Output {
        let words = [options, &verb[..1], &["-p", "arm64"], &verb[1..]].concat();
        self.world.hermes(words).env("HERMES_STORE", self.world.path().join(store)).output()
    }

    /// The same on a host without any QEMU.
    fn on_bare_host(&self, store: &str, options: &[&str], verb: &[&str]) -> Output {
        let words = [options, &verb[..1], &["-p", "arm64"], &verb[1..]].concat();
        let store = self.world.path().join(store);
        self.world.hermes(words).env("HERMES_STORE", store).env("PATH", "/no/where").output()
    }

    /// Pushes an image for this host with these files and links.
    fn push(&self, name: &str, files: &[(&str, &[u8])], to: &[(&str, &str)]) {
        let mut content = Content::default();
        let layers = [layer(Codec::Plain, files), links(to)];
        let manifest = content.image(("linux", "amd64", None), &layers);
        self.registry.push(name, &content.tag("1", &manifest));
    }

    /// Puts a program beside the store, and gives its path.
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.world.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn lock(&self) -> String {
        self.world.read("hermes.lock")
    }

    fn image(&self, name: &str, platform: &str) -> String {
        format!("[image.\"{}/lib/{name}:1\".\"{platform}\"]", self.registry.host())
    }
}

/// What passes for an emulator: whatever it is to run, it prints its name, and ends with 7.
pub fn emulator(name: &str) -> Vec<u8> {
    [program(Machine::Amd64, name, 7), format!("qemu-aarch64 version 1.2 ({name})\n").into_bytes()].concat()
}

const TOOL: &[&str] = &["run", "--", "tool"];

#[test]
fn the_emulator_comes_out_of_an_image() {
    let Some(project) = Project::new("[emulator]\nimage = 'HOST/lib/qemu:1'\n") else { return };
    let good = emulator("good");
    // As some images have it: the usual place leads elsewhere, by links that mean the image's own root.
    project.push(
        "lib/qemu",
        &[("opt/qemu/9/bin/q-arm64", &good)],
        &[("usr/bin", "/opt/qemu/9/bin"), ("opt/qemu/9/bin/qemu-aarch64", "../../../qemu/9/bin/q-arm64")],
    );
    // An image for the host needs none.
    project.world.hermes(["pull"]).ok();
    assert!(!project.lock().contains("qemu"), "{}", project.lock());
    project.on_bare_host("store", &["--locked"], TOOL).refused(4, &["lib/tiny:1 for linux-aarch64"]);
    let rows = project.on_bare_host("store", &["--json"], &["pull", "--dry-run"]).ok();
    let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
    assert!(rows["images"][1]["reference"].as_str().unwrap().ends_with("/lib/qemu:1"), "{rows}");
    let output = project.on_bare_host("store", &[], TOOL);
    assert_eq!(output.exits(7).text(), "good", "{}", output.stderr);
    let lock = project.lock();
    let entry = format!(
        "[emulator.\"linux/arm64\"]\ndigest = \"{}\"\nsize = {}\nversion = \"1.2 (good)\"\nimage = \"{}/lib/qemu:1\"\npath = \"/usr/bin/qemu-aarch64\"\n",
        Digest::of(&good),
        good.len(),
        project.registry.host()
    );
    assert!(lock.contains(&entry), "no {entry} in {lock}");
    assert!(lock.contains(&project.image("qemu", "linux/amd64")), "{lock}");
    // Warm: nothing is said, and nothing of the image is needed.
    let warm = project.on_bare_host("store", &["--offline", "--locked"], TOOL);
    assert!(warm.exits(7).stderr.is_empty(), "{}", warm.stderr);
    let none = project.on_bare_host("store", &["--json"], &["pull", "--dry-run"]).ok();
    assert!(!none.contains("lib/qemu"), "{none}");
    // Elsewhere by the lock, although the tag has moved, and although that host has a QEMU.
    project.push("lib/qemu", &[("usr/bin/qemu-aarch64", &emulator("moved"))], &[]);
    assert_eq!(project.on_arm64("elsewhere", &["--locked"], &["fetch"]).stderr, "");
    assert_eq!(project.on_arm64("elsewhere", &["--offline", "--locked"], TOOL).exits(7).text(), "good");
    project.world.hermes(["gc"]).env("HERMES_STORE", project.world.path().join("elsewhere")).ok();
    assert_eq!(project.on_arm64("elsewhere", &["--offline", "--locked"], TOOL).exits(7).text(), "good");
    assert_eq!(project.lock(), lock);
    // A lock that wants another one.
    let other = lock.replace(&Digest::of(&good).to_string(), &Digest::of(b"another").to_string());
    fs::write(project.world.work().join("hermes.lock"), other).unwrap();
    let wanted = Digest::of(b"another").to_string();
    project.on_arm64("store", &[], TOOL).refused(3, &[&wanted, &Digest::of(&good).to_string(), "hint: "]);
}

#[test]
fn an_emulator_that_cannot_be_had() {
    let Some(project) = Project::new("[emulator]\nimage = 'HOST/lib/none:1'\n") else { return };
    let ways = [
        "lib/none:1 nor a static QEMU",
        "hint: install the package qemu-user-static",
        "hint: or name the file in config.toml",
        "hint: or use a cross toolchain",
    ];
    project.on_bare_host("store", &[], TOOL).refused(125, &[&ways[..], &["does not have"]].concat());
    project.world.hermes(["pull"]).ok();
    project.on_bare_host("store", &["--offline"], TOOL).refused(4, &[&ways[..], &["is not on this machine"]].concat());
    // For other hosts it is fetched nevertheless.
    let fetched = project.on_bare_host("store", &[], &["fetch"]);
    assert!(
        fetched.ok().contains("lib/tiny") && fetched.stderr.contains("downloading the image anyway"),
        "{}",
        fetched.stderr
    );
    assert!(!project.lock().contains("[emulator"), "{}", project.lock());
    // Where the host has one, that is taken, which is said, once.
    for options in [&["--offline"][..], &[]] {
        let lock = project.lock();
        let output = project.on_arm64("store", options, TOOL);
        assert_eq!(output.ok(), "lib/tiny arm64");
        let said = "/usr/bin/qemu-aarch64-static of this host runs the programs for linux-aarch64: ";
        assert_eq!(output.stderr.matches(said).count(), 1, "{}", output.stderr);
        assert!(!project.lock().contains("lib/none"), "{}", project.lock());
        assert_eq!(project.on_arm64("store", &[], TOOL).stderr, "", "locked by now");
        fs::write(project.world.work().join("hermes.lock"), lock).unwrap();
    }
}

#[test]
fn hostile_and_wrong_images_of_emulators() {
    let Some(project) = Project::new("") else { return };
    let dynamic = fs::read("/bin/sh").unwrap();
    let script = b"#!/bin/sh\n";
    let other_guest = [program(Machine::Amd64, "x", 0), b"qemu-arm version 7.2.22\n".to_vec()].concat();
    project.push(
        "lib/bad",
        &[
            ("q/dynamic", &dynamic),
            ("q/foreign", &program(Machine::Arm64, "x", 0)),
            ("q/script", script),
            ("q/guest", &other_guest),
            ("q/empty", b""),
            ("q/directory/x", b""),
        ],
        &[
            ("q/outside", "../../../../../../../../../../usr/bin/qemu-aarch64-static"),
            ("q/absolute", "/usr/bin/qemu-aarch64-static"),
            ("q/loop", "loop"),
            ("q/null", "/dev/null"),
        ],
    );
    for (path, code, part) in [
        ("/q/dynamic", 3, "it is dynamically linked"),
        ("/q/foreign", 3, "it is made for another processor"),
        ("/q/script", 3, "it is not a 64-bit ELF program"),
        ("/q/empty", 3, "it is not a 64-bit ELF program"),
        ("/q/guest", 3, "it is QEMU for arm, not for aarch64"),
        ("/q/none-{arch}", 125, "has no emulator /q/none-aarch64 for linux-aarch64"),
        ("/q/directory", 125, "has no emulator"),
        ("/q/outside", 125, "has no emulator"),
        ("/q/absolute", 125, "has no emulator"),
        ("/q/loop", 125, "has no emulator"),
        ("/q/null", 125, "has no emulator"),
        ("/", 125, "has no emulator"),
    ] {
        project.define(&format!("[emulator]\nimage = 'HOST/lib/bad:1'\npath = '{path}'\n"));
        project.on_arm64("store", &[], TOOL).refused(code, &[part, "hint: "]);
    }
    assert!(!project.world.work().join("hermes.lock").exists(), "nothing of that was locked");
}

#[test]
fn an_emulator_named_as_a_file_with_its_digest() {
    let Some(project) = Project::new("") else { return };
    let (own, other) = (emulator("own"), emulator("other"));
    let path = project.file("qemu", &own);
    let define = |digest: &Digest| {
        project.define(&format!("[emulator]\nfile = '{}'\nsha256 = '{}'\n", path.display(), digest.hex()));
    };
    define(&Digest::of(&other));
    let digests = [Digest::of(&own).to_string(), Digest::of(&other).to_string()];
    project.on_arm64("store", &[], TOOL).refused(3, &[path.to_str().unwrap(), &digests[0], &digests[1], "hint: "]);
    define(&Digest::of(&own));
    assert_eq!(project.on_arm64("store", &[], TOOL).exits(7).text(), "own");
    let lock = project.lock();
    let entry = format!(
        "[emulator.\"linux/arm64\"]\ndigest = \"{}\"\nsize = {}\nversion = \"1.2 (own)\"\n",
        digests[0],
        own.len()
    );
    assert!(lock.ends_with(&entry), "{lock}");
    // The store has it from then on.
    fs::remove_file(&path).unwrap();
    assert_eq!(project.on_arm64("store", &["--locked"], TOOL).exits(7).text(), "own");
    project
        .on_bare_host("elsewhere", &[], TOOL)
        .refused(3, &["the lockfile requires the emulator for linux-aarch64", &digests[0]]);
}

#[test]
fn the_users_own_emulator_comes_before_the_locked_one() {
    let Some(project) = Project::new("[emulator]\nimage = 'HOST/lib/qemu:1'\n") else { return };
    project.push("lib/qemu", &[("usr/bin/qemu-aarch64", &emulator("locked"))], &[]);
    assert_eq!(project.on_arm64("store", &[], TOOL).exits(7).text(), "locked");
    let lock = project.lock();
    let path = project.file("qemu", &emulator("own"));
    project.world.configure(&format!("[emulator]\narm64 = '{}'\n", path.display()));
    let output = project.on_arm64("store", &[], TOOL);
    assert_eq!(output.exits(7).text(), "own");
    assert!(
        output.stderr.contains("as config.toml requests, instead of the emulator in the lockfile"),
        "{}",
        output.stderr
    );
    assert_eq!(project.lock(), lock, "the lock stays as it is");
    let digest = Digest::of(&emulator("own")).to_string();
    project.on_arm64("store", &["--locked"], TOOL).refused(3, &["config.toml names", &digest]);
    // The very one that is locked is no news.
    fs::write(&path, emulator("locked")).unwrap();
    let output = project.on_arm64("store", &["--locked"], TOOL);
    assert_eq!((output.exits(7).text().as_str(), output.stderr.as_str()), ("locked", ""));
    // Where nothing is locked yet, it is.
    fs::write(&path, emulator("own")).unwrap();
    fs::remove_file(project.world.work().join("hermes.lock")).unwrap();
    assert_eq!(project.on_arm64("store", &[], TOOL).exits(7).text(), "own");
    assert!(project.lock().contains(&digest) && !project.lock().contains("lib/qemu"), "{}", project.lock());
}

#[test]
fn the_emulator_of_the_catalogue() {
    let Some(world) = TestContext::fixtures() else { return };
    let layout = fixtures().map(|path| path.join("images/emulator"));
    let there = layout.clone().and_then(|path| if path.exists() { Ok(()) } else { Err("no images/emulator".into()) });
    if !require("emulator-image", there) || !emulation() {
        return;
    }
    world.write("hermes.toml", "toolchain = 'debian-image'\n");
    world.hermes(["import"]).args([layout.unwrap()]).ok();
    let run = |options: &[&str], script: &str| {
        let words = [&["--offline", "run"], options, &["--", "sh", "-c", script]].concat();
        world.hermes(words).env("PATH", "/no/where").ok()
    };
    assert_eq!(run(&["-p", "arm64"], "uname -m"), "aarch64");
    // An image of the user's is run by the same.
    assert_eq!(run(&["-p", "armv6", "--image", DEBIAN], "uname -m"), "armv6l");
    let lock = fs::read_to_string(world.work().join("hermes.lock")).unwrap();
    for platform in ["linux/arm64", "linux/arm/v6"] {
        let at = lock.find(&format!("[emulator.\"{platform}\"]")).unwrap();
        assert!(lock[at..].contains("image = \"docker.io/tonistiigi/binfmt:qemu-v"), "{lock}");
        assert!(lock[at..].contains("version = \""), "{lock}");
    }
}

#[test]
fn the_doctor_and_the_record_name_the_emulator() {
    let Some(project) = Project::new("[emulator]\nimage = 'HOST/lib/qemu:1'\n") else { return };
    project.push("lib/qemu", &[("usr/bin/qemu-aarch64", &emulator("image"))], &[]);
    let doctor = |path: &str, found: bool, parts: &[&str]| {
        let report = project.world.hermes(["doctor", "--json"]).env("PATH", path).output();
        let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap();
        let finding = findings.iter().find(|finding| finding["name"] == "emulator for linux-aarch64").unwrap();
        assert_eq!(finding["ok"], found, "{finding}");
        let detail = finding["detail"].as_str().unwrap();
        assert!(parts.iter().all(|part| detail.contains(part)), "no {parts:?} in {detail}");
    };
    doctor("/no/where", false, &["neither", "/lib/qemu:1 nor a static QEMU"]);
    doctor("/usr/bin", true, &["/usr/bin/qemu-aarch64-static, unless", "/lib/qemu:1 can be fetched"]);
    assert_eq!(project.on_bare_host("store", &[], TOOL).exits(7).text(), "image");
    doctor("/usr/bin", true, &["QEMU 1.2 (image), locked in ", "/hermes.lock"]);
    let record = project.world.last_record();
    let digest = Digest::of(&emulator("image")).to_string();
    assert_eq!(record["emulator"], serde_json::json!({ "digest": digest, "version": "1.2 (image)" }));
    fs::remove_file(project.world.work().join("hermes.lock")).unwrap();
    doctor("/no/where", true, &["QEMU 1.2 (image), out of ", "/lib/qemu:1"]);
    let path = project.file("qemu", &emulator("own"));
    project.world.configure(&format!("[emulator]\narm64 = '{}'\n", path.display()));
    doctor("/no/where", true, &["QEMU 1.2 (own), ", "which config.toml names"]);
    fs::write(&path, "#!").unwrap();
    doctor("/usr/bin", false, &["it is not a 64-bit ELF program"]);
}

#[test]
fn a_crash_of_a_foreign_program_names_the_emulator() {
    let Some(world) = TestContext::foreign() else { return };
    let run = |platform: &str, options: &[&str], script: &str| {
        let words = [&["run", "-p", platform], options, &["--", "sh", "-c", script]].concat();
        world.hermes(words).output()
    };
    for (script, code, signal) in [
        ("kill -SEGV $$", 139, "SIGSEGV"),
        ("sh -c 'kill -ILL $$'; exit $?", 132, "SIGILL"),
        ("kill -ABRT $$", 134, "SIGABRT"),
        ("kill -BUS $$", 135, "SIGBUS"),
    ] {
        let output = run("arm64", &[], script);
        let hint = format!("hint: {signal} in a program that qemu-aarch64 ");
        assert!(output.exits(code).stderr.contains(&hint), "{script}: {}", output.stderr);
        assert!(
            output.stderr.contains("(sha256:") && output.stderr.contains("[emulator] linux-aarch64 ="),
            "{}",
            output.stderr
        );
    }
    for (platform, options, script, code) in [
        ("arm64", &[][..], "kill -TERM $$", 143),
        ("arm64", &[], "exit 3", 3),
        ("arm64", &["--quiet"], "kill -SEGV $$", 139),
        ("amd64", &[], "kill -SEGV $$", 139),
    ] {
        let output = run(platform, options, script);
        assert!(!output.exits(code).stderr.contains("hint: "), "{platform} {script}: {}", output.stderr);
    }
}

#[test]
fn variables_of_qemu_are_the_locks_or_the_users() {
    let Some(world) = TestContext::foreign() else { return };
    // The same layers, by a config that sets QEMU's variables.
    let inspected = world.json(&["inspect", DEBIAN, "-p", "arm/v5"]);
    let layers: Vec<_> = inspected["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| {
            let descriptor = serde_json::from_value(layer["blob"].clone()).unwrap();
            Layer::known(descriptor, layer["diff-id"].as_str().unwrap().parse().unwrap())
        })
        .collect();
    let mut content = Content::default();
    let set = serde_json::json!({ "Env": ["PATH=/bin:/usr/bin", "QEMU_STRACE=1", "QEMU_CPU=max", "QEMU_LD_PREFIX=/x", "QEMU=kept"] });
    let manifest = content.image_with(("linux", "arm", Some("v5")), &layers, &set);
    let _ = world.import(&content.tag("1", &manifest), "test.invalid/qemu:1");
    let variables = |platform: &str, options: &[&str]| {
        let image = ["--image", "test.invalid/qemu:1", "--platform", platform];
        let run = world.hermes([&["run"], &image[..], options, &["--", "env"]].concat());
        let output = run.env("QEMU_STRACE", "1").env("QEMU_CPU", "caller").env("QEMU_LOG", "exec").output();
        let mut lines: Vec<_> =
            output.ok().lines().filter(|line| line.starts_with("QEMU")).map(str::to_owned).collect();
        assert!(!output.stderr.contains("execve("), "QEMU traces: {}", output.stderr);
        lines.sort();
        lines
    };
    assert_eq!(variables("armv6", &[]), ["QEMU=kept", "QEMU_CPU=arm1176"]);
    assert_eq!(variables("armv5", &[]), ["QEMU=kept", "QEMU_CPU=arm926"]);
    assert_eq!(variables("armv7", &[]), ["QEMU=kept"]);
    assert_eq!(variables("armv6", &["-e", "QEMU_CPU=arm1136"]), ["QEMU=kept", "QEMU_CPU=arm1136"]);
}

#[test]
fn native_tools_are_locked_fetched_and_kept() {
    let Some(project) = Project::new("[native]\nimage = 'HOST/lib/native:1'\n") else { return };
    // An image for the host needs none.
    project.world.hermes(["pull"]).ok();
    assert!(!project.lock().contains("native"), "{}", project.lock());
    // Nor who wants none.
    assert_eq!(project.on_arm64("store", &[], &["run", "--accel", "off", "--", "tool"]).ok(), "lib/tiny arm64");
    assert!(!project.lock().contains("native"), "{}", project.lock());
    // The lock would change.
    project.on_arm64("store", &["--locked"], &["pull"]).refused(4, &["lib/native:1 for linux-x86_64"]);
    // It shares a layer with the image.
    let rows = project.on_arm64("store", &["--json"], &["pull", "--dry-run"]).ok();
    let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
    let row = |at: usize| (rows["images"][at]["platform"].clone(), rows["images"][at]["layers-here"].clone());
    assert_eq!((row(0), row(1)), (("linux/arm64".into(), 2.into()), ("linux/amd64".into(), 1.into())), "{rows}");
    let output = project.on_arm64("store", &[], &["pull"]);
    output.ok();
    assert!(output.stderr.contains("locked") && output.stderr.contains("/lib/native:1 for linux-x86_64"));
    let lock = project.lock();
    for (name, platform) in [("tiny", "linux/amd64"), ("tiny", "linux/arm64"), ("native", "linux/amd64")] {
        assert!(lock.contains(&project.image(name, platform)), "{name} {platform} in {lock}");
    }
    assert!(!lock.contains(&project.image("native", "linux/arm64")), "of the host alone: {lock}");
    // The lock decides, even if the tag has moved, and the registry is not needed.
    project.registry.push("lib/native", &tiny("newer"));
    let fetched = project.on_arm64("elsewhere", &["--locked"], &["fetch"]);
    assert!(fetched.ok().contains("lib/tiny:1") && fetched.stderr.is_empty(), "{}", fetched.stderr);
    let Project { world, registry } = project;
    drop(registry);
    let elsewhere = |words: &[&str]| world.hermes(words).env("HERMES_STORE", world.path().join("elsewhere")).output();
    elsewhere(&["gc"]).ok();
    let quiet = elsewhere(&["--offline", "--locked", "pull", "-p", "arm64"]);
    assert!(quiet.ok().contains("lib/tiny:1") && quiet.stderr.is_empty(), "{}", quiet.stderr);
    assert_eq!(world.read("hermes.lock"), lock);
}

#[test]
fn native_tools_that_cannot_be_had() {
    let Some(project) = Project::new("[native]\nimage = 'HOST/lib/none:1'\n") else { return };
    let without = |output: &Output| {
        assert_eq!(output.ok(), "lib/tiny arm64", "{}", output.stderr);
        output.stderr.matches("without native tools for linux-aarch64: ").count()
    };
    let run = |options: &[&str], accel: &[&str]| {
        project.on_arm64("store", options, &[&["run"], accel, &["--", "tool"]].concat())
    };
    // The message appears once, although hermes executes itself again after it has fetched.
    let first = run(&[], &[]);
    assert_eq!(without(&first), 1, "{}", first.stderr);
    assert!(first.stderr.contains(" does not have "), "{}", first.stderr);
    assert_eq!(without(&run(&["--offline"], &[])), 1);
    assert_eq!(without(&run(&[], &["--accel", "off"])), 0);
    run(&[], &["--accel", "require"]).refused(125, &[" does not have ", "/lib/none:1"]);
    run(&["--offline"], &["--accel", "require"]).refused(4, &["lib/none:1 for linux-x86_64 is not on this machine"]);
    assert!(!project.lock().contains("lib/none"), "{}", project.lock());
    // A run tries again.
    project.registry.push("lib/none", &tiny("late"));
    project.on_arm64("store", &[], &["pull"]).ok();
    assert!(project.lock().contains(&project.image("none", "linux/amd64")), "{}", project.lock());
    // What is wrong is not taken for absent.
    fs::write(project.world.work().join("hermes.lock"), project.lock().replace("size = ", "size = 1")).unwrap();
    project.on_arm64("other", &[], &["pull"]).refused(3, &["hint: "]);
}
