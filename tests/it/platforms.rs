//! Platforms: their spellings, emulation, and builds under emulation.

use std::fs;
use std::path::Path;

use crate::support::context::{CROSS, DEBIAN, TestContext};
use crate::support::elf::{Machine, program};
use crate::support::image::{Codec, Content, layer};

const HELLO: &str = "#include <stdio.h>\nint main(void) { puts(\"hello from C\"); return 3; }\n";

/// Class and machine of an ELF file.
fn elf(path: &Path) -> (u8, u16) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(bytes[..4], *b"\x7fELF", "{}", path.display());
    (bytes[4], u16::from_le_bytes([bytes[18], bytes[19]]))
}

/// A tiny image for several platforms whose `/bin/tool` tells which of them it is.
fn tiny(world: &TestContext, name: &str, platforms: &[(&str, &str, Option<&str>, Machine)]) {
    let mut content = Content::default();
    let entries: Vec<_> = platforms
        .iter()
        .map(|(os, architecture, variant, machine)| {
            let text = format!("{architecture}{}\n", variant.unwrap_or_default());
            let tool = program(*machine, &text, 7);
            content.image((os, architecture, *variant), &[layer(Codec::Zstd, &[("bin/tool", &tool)])])
        })
        .collect();
    let index = content.index(&entries);
    let _ = world.import(&content.tag("1", &index), name);
}

#[test]
fn the_machine_is_the_platforms() {
    let Some(world) = TestContext::foreign() else { return };
    for (platform, machine) in [
        ("linux-x86_64", "x86_64"),
        ("linux-i686", "i686"),
        ("linux-aarch64", "aarch64"),
        ("linux-armv6", "armv6l"),
        ("linux-armv7", "armv7l"),
        ("linux-armv5", "armv5tel"),
    ] {
        let run = world.hermes(["run", "--platform", platform, "--", "uname", "-m"]);
        assert_eq!(run.ok(), machine, "{platform}");
    }
    // What the programs really are: Debian's armel, not armhf, for an ARMv6.
    for (platform, debian) in [("armv6", "armel"), ("armv7", "armel"), ("i686", "i386"), ("arm64", "arm64")] {
        assert_eq!(world.hermes(["run", "-p", platform, "--", "dpkg", "--print-architecture"]).ok(), debian);
    }
    // Not even the caller makes an ARMv6 a newer one.
    let run = world.hermes(["run", "-p", "armv6", "--", "uname", "-m"]).env("QEMU_CPU", "max").env("QEMU_UNAME", "9");
    assert_eq!(run.ok(), "armv6l");
}

#[test]
fn every_spelling_means_the_same_image() {
    let Some(world) = TestContext::foreign() else { return };
    let spellings =
        "linux-aarch64 linux-arm64 linux/arm64 linux/arm64/v8 linux/aarch64 arm64 aarch64 arm64v8 arm64/v8 LINUX/ARM64";
    for spelling in spellings.split(' ') {
        assert_eq!(world.hermes(["run", "--platform", spelling, "--", "uname", "-m"]).ok(), "aarch64", "{spelling}");
    }
    // One entry in the lock, though it was asked for in ten ways.
    let lock = fs::read_to_string(world.locks().join("debian.lock")).unwrap();
    assert_eq!(lock.matches(".manifest]").count(), 1, "{lock}");
    for (spellings, machine) in [
        ("linux-armv6 linux/arm/v6 armv6 arm/v6 armv6l", "armv6l"),
        ("linux-armv7 linux/arm/v7 linux/arm armv7 armhf", "armv7l"),
        ("linux-x86_64 linux-x64 linux/amd64 amd64 x86_64", "x86_64"),
        ("linux-i686 linux-x86 linux/386 386 i386", "i686"),
    ] {
        for spelling in spellings.split(' ') {
            assert_eq!(world.hermes(["run", "-p", spelling, "--", "uname", "-m"]).ok(), machine, "{spelling}");
        }
    }
}

#[test]
fn a_program_built_under_emulation_is_the_platforms() {
    let Some(world) = TestContext::foreign() else { return };
    world.write("hello.c", HELLO);
    world.write("Makefile", "hello: hello.c\n\tcc -o $@ $<\n");
    let make = || world.hermes(["run", "--platform", "linux-aarch64", "--", "make"]);
    let text = make().ok();
    assert!(text.contains("cc -o hello hello.c"), "{text}");
    assert_eq!(elf(&world.work().join("hello")), (2, 0xb7));
    let output = world.hermes(["run", "--platform", "linux-aarch64", "--", "./hello"]).output();
    assert_eq!(output.exits(3).text(), "hello from C");
    // A run for the host's platform does not emulate it.
    world
        .hermes(["run", "--", "./hello"])
        .output()
        .refused(126, &["cannot run ./hello", "name the platform of a foreign program: --platform"]);
}

#[test]
fn foreign_programs_start_foreign_programs_and_scripts() {
    let Some(world) = TestContext::foreign() else { return };
    let script = "perl -e 'exit system(q(sh), q(-c), q(exit 9)) >> 8'; echo $?; printf '#!/bin/sh\\necho $0 $1\\n' >s; chmod 755 s; ./s a; echo \"$(exec -a other sh -c 'echo $0')\"";
    let run = world.hermes(["run", "-p", "arm64", "--", "bash", "-c", script]);
    assert_eq!(run.ok(), "9\n./s a\nother");
    let output = world.hermes(["run", "-p", "arm64", "--", "sh", "-c", "kill -9 $$"]).output();
    output.exits(137);
}

#[test]
fn nothing_is_registered_on_the_host_or_seen_inside() {
    let Some(world) = TestContext::foreign() else { return };
    let registered = || {
        let entries = fs::read_dir("/proc/sys/fs/binfmt_misc").into_iter().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        (names, fs::read_to_string("/proc/self/mounts").unwrap().matches("binfmt_misc").count())
    };
    let before = registered();
    let run = world.hermes([
        "run",
        "-p",
        "arm64",
        "--",
        "sh",
        "-c",
        "echo ready; read line; grep -c binfmt /proc/mounts; ls -A /proc/sys/fs/binfmt_misc",
    ]);
    let run = run.input(b"x\n").start();
    run.until("ready");
    assert_eq!(registered(), before);
    let output = run.wait();
    assert_eq!(output.text().lines().nth(1), Some("0"), "{}", output.text());
    assert_eq!(registered(), before);
    // Without our handler the product does not run on the host, where it has none of its own.
    assert_eq!(output.text().lines().count(), 2, "handlers are seen inside: {}", output.text());
}

#[test]
fn a_cross_toolchain_builds_for_the_platform_and_runs_natively() {
    let Some(world) = TestContext::fixtures() else { return };
    world.write("hello.c", HELLO);
    let cross = ["run", "--platform", "linux-aarch64", "--toolchain", "dockcross", "--"];
    let text =
        world.hermes([&cross[..], &["sh", "-c", "uname -m; $CC -o hello hello.c && echo $CROSS_TRIPLE"]].concat()).ok();
    assert_eq!(text, "x86_64\naarch64-linux-gnu");
    assert_eq!(elf(&world.work().join("hello")), (2, 0xb7));
    // No emulator in its lock: none is needed.
    assert!(!fs::read_to_string(world.locks().join("dockcross.lock")).unwrap().contains("[emulator"));
    if let Some(world) = TestContext::foreign().map(|_| &world) {
        let output = world.hermes(["run", "--platform", "linux-aarch64", "--", "./hello"]).output();
        assert_eq!(output.exits(3).text(), "hello from C");
    }
}

#[test]
fn an_image_without_the_platform_says_what_it_has() {
    let Some(world) = TestContext::fixtures() else { return };
    let offline = |image: &str, platform: &str| {
        world.hermes(["--offline", "run", "--image", image, "-p", platform, "--", "true"]).output()
    };
    let has = "it has linux-aarch64, linux-armv5, linux-i686, linux-x86_64";
    let output = offline(DEBIAN, "riscv64");
    let _ = output.code();
    // riscv64 lacks an emulator in some hosts; the image is what is asked about.
    if !output.stderr.contains("emulator") {
        output.refused(125, &["has no image for linux-riscv64", has]);
    }
    let output = offline(CROSS, "386");
    output.refused(125, &["has no image for linux-i686", "linux-x86_64"]);
}

#[test]
fn a_newer_arm_never_serves_an_older_one() {
    let Some(world) = TestContext::sandbox() else { return };
    let arm = |variant| ("linux", "arm", Some(variant), Machine::Arm);
    tiny(&world, "test.invalid/arm:7", &[arm("v7"), ("linux", "amd64", None, Machine::Amd64)]);
    tiny(&world, "test.invalid/arm:5-7", &[arm("v7"), arm("v5")]);
    tiny(&world, "test.invalid/arm:all", &[arm("v5"), arm("v7"), arm("v6")]);
    if !crate::support::context::emulation() {
        return;
    }
    let run = |tag: &str, platform: &str| {
        world
            .hermes(["--offline", "run", "--image", &format!("test.invalid/arm:{tag}"), "-p", platform, "--", "tool"])
            .output()
    };
    run("7", "armv6").refused(125, &["has no image for linux-armv6", "linux-armv7, linux-x86_64"]);
    for (tag, platform, served) in [
        ("7", "armv7", "armv7"),
        ("5-7", "armv6", "armv5"),
        ("5-7", "armv7", "armv7"),
        ("all", "armv6", "armv6"),
        ("all", "armv5", "armv5"),
    ] {
        assert_eq!(run(tag, platform).exits(7).text(), served, "{tag} {platform}");
    }
}

#[test]
fn each_platform_of_one_image_has_its_own_programs() {
    let Some(world) = TestContext::sandbox() else { return };
    if !crate::support::context::emulation() {
        return;
    }
    let platforms = [
        ("linux", "amd64", None, Machine::Amd64),
        ("linux", "386", None, Machine::I386),
        ("linux", "arm64", Some("v8"), Machine::Arm64),
        ("linux", "arm", Some("v6"), Machine::Arm),
        ("linux", "mips64le", None, Machine::Mips64le),
        ("windows", "amd64", None, Machine::Amd64),
    ];
    tiny(&world, "test.invalid/tiny:1", &platforms);
    let all =
        [("x86_64", "amd64"), ("i686", "386"), ("aarch64", "arm64v8"), ("armv6", "armv6"), ("mips64el", "mips64le")];
    for (platform, text) in all {
        let output = world.hermes(["run", "--image", "test.invalid/tiny:1", "-p", platform, "--", "tool"]).output();
        assert_eq!(output.exits(7).text(), text, "{platform}: {}", output.stderr);
    }
}

#[test]
fn first_runs_of_a_platform_at_once() {
    let Some(world) = TestContext::foreign() else { return };
    // Each resolves for itself and takes the emulator into the store, where others use it already.
    let start = |n: u32| {
        let lock = format!("{n}.lock");
        world.hermes(["run", "--lock", &lock, "--platform", "armv6", "--", "true"]).start()
    };
    for round in 0..3 {
        let runs: Vec<_> = (0..6).map(|n| start(round * 6 + n)).collect();
        for run in runs {
            run.wait().exits(0);
        }
    }
}

/// An image whose index entry says `listed`, if anything, and whose config says `says`; its tool is for `machine`.
fn saying(listed: Option<&serde_json::Value>, says: (&str, &str, Option<&str>), machine: Machine) -> Content {
    let mut content = Content::default();
    let tool = program(machine, "ran\n", 0);
    let image = content.image(says, &[layer(Codec::Zstd, &[("bin/tool", &tool)])]);
    let Some(platform) = listed else { return content.tag("1", &image) };
    let entry = serde_json::json!({
        "mediaType": image.media_type, "digest": image.digest, "size": image.size, "platform": platform,
    });
    let index =
        serde_json::json!({ "schemaVersion": 2, "mediaType": hermes::testing::oci::INDEX, "manifests": [entry] });
    let index = content.manifest(hermes::testing::oci::INDEX, index.to_string().into_bytes());
    content.tag("1", &index)
}

#[test]
fn images_that_say_little_are_taken_for_what_is_asked_for() {
    let Some(world) = TestContext::sandbox() else { return };
    let silent = [
        saying(None, ("linux", "", None), Machine::Amd64),
        saying(None, ("", "", None), Machine::Amd64),
        saying(Some(&serde_json::json!({})), ("linux", "", None), Machine::Amd64),
        saying(Some(&serde_json::Value::Null), ("linux", "", None), Machine::Amd64),
    ];
    for (at, content) in silent.iter().enumerate() {
        let name = format!("test.invalid/silent-{at}:1");
        let _ = world.import(content, &name);
        let output = world.hermes(["run", "-p", "amd64", "--image", &name, "--", "tool"]).output();
        assert_eq!(output.ok(), "ran");
        let note = format!("{name} does not name its platform; using it for linux-x86_64");
        assert!(output.stderr.contains(&note), "{}", output.stderr);
        // Said once: the lock knows.
        let again = world.hermes(["run", "-p", "amd64", "--image", &name, "--", "tool"]).output();
        assert!(!again.stderr.contains("does not say"), "{}", again.stderr);
        let images = world.json(&["images"]);
        let rows = images.as_array().unwrap().iter().filter(|row| row["reference"] == name.as_str());
        assert_eq!(rows.count(), 1, "{images}");
    }
    // A config that says something has the say where the index says nothing.
    let name = "test.invalid/config:1";
    let _ = world.import(&saying(Some(&serde_json::Value::Null), ("linux", "arm", Some("v7")), Machine::Amd64), name);
    let run = world.hermes(["--offline", "run", "-p", "amd64", "--image", name, "--", "tool"]);
    run.output().refused(125, &["has no image for linux-x86_64; it has linux-armv7", "--image-platform linux-armv7"]);
}

#[test]
fn every_usual_spelling_of_an_entry() {
    let Some(world) = TestContext::sandbox() else { return };
    let name = "test.invalid/spelled:1";
    for (asked, os, architecture, variant, runs) in [
        ("amd64", "Linux", "x86_64", "v1", true),
        ("amd64", "linux", "AMD64", "", true),
        ("arm64", "linux", "arm64", "armv8", false),
        ("armv7", "linux", "arm", "armv7", false),
        ("armv7", "linux", "armhf", "", false),
    ] {
        let listed = serde_json::json!({ "os": os, "architecture": architecture, "variant": variant });
        let content = saying(Some(&listed), ("linux", "amd64", None), Machine::Amd64);
        let _ = world.import(&content, name);
        let shown = world.json(&["inspect", "-p", asked, name]);
        assert!(shown["manifest"]["size"].as_u64().is_some(), "{listed}");
        if runs {
            assert_eq!(world.hermes(["run", "-p", asked, "--image", name, "--", "tool"]).ok(), "ran", "{listed}");
            fs::remove_file(world.image_lock(name)).unwrap();
        }
    }
}

#[test]
fn who_knows_better_says_so() {
    let Some(world) = TestContext::sandbox() else { return };
    let run = |platform: &str, options: &[&str], name: &str| {
        let words = ["--offline", "run", "-p", platform, "--image", name];
        world.hermes([&words, options, &["--", "tool"]].concat()).output()
    };
    // The program is for this host, and the config says something else; the lock keeps what was said.
    let name = "test.invalid/wrong:1";
    let _ = world.import(&saying(None, ("linux", "s390x", None), Machine::Amd64), name);
    run("amd64", &[], name).refused(125, &["it has linux-s390x", "--image-platform linux-s390x"]);
    run("amd64", &["--image-platform", "linux/riscv64"], name).refused(125, &["it has linux-s390x"]);
    assert_eq!(run("amd64", &["--image-platform", "linux-s390x"], name).ok(), "ran");
    assert_eq!(run("amd64", &[], name).ok(), "ran");
    // A level that no processor has is refused by name, and taken on request.
    let name = "test.invalid/level:1";
    let listed = serde_json::json!({ "os": "linux", "architecture": "amd64", "variant": "v5" });
    let _ = world.import(&saying(Some(&listed), ("linux", "amd64", None), Machine::Amd64), name);
    run("amd64", &[], name).refused(125, &["it has linux/amd64/v5", "--image-platform linux/amd64/v5"]);
    assert_eq!(run("amd64", &["--image-platform", "linux/amd64/v5"], name).ok(), "ran");
    run("amd64", &["--image-platform", "nothing"], name).refused(2, &["unknown platform 'nothing'"]);
}

/// An image whose label is wrong, and one for a newer processor than this host's.
#[test]
fn a_lock_keeps_the_label_that_an_image_was_selected_by() {
    let Some(world) = TestContext::sandbox() else { return };
    let name = "test.invalid/wrong:1";
    let _ = world.import(&saying(None, ("linux", "s390x", None), Machine::Amd64), name);
    let toolchain = "[toolchains.own.platform.linux-x86_64]\nimage = 'test.invalid/wrong:1'\n";
    world.write("hermes.toml", &format!("toolchain = 'own'\nplatform = 'amd64'\n{toolchain}"));
    let run = |options: &[&str]| world.hermes([&["--offline", "run"], options, &["--", "tool"]].concat()).output();
    run(&[]).refused(125, &["it has linux-s390x"]);
    assert_eq!(run(&["--image-platform", "linux-s390x"]).ok(), "ran");
    let lock = world.read("hermes.lock");
    assert!(lock.contains("\nversion = 3\n") && lock.contains("\nlabel = \"linux/s390x\"\n"), "{lock}");
    world.hermes(["--offline", "lock", "--update"]).ok();
    assert_eq!(world.read("hermes.lock"), lock);
    assert_eq!(run(&["--locked"]).ok(), "ran");

    if hermes::testing::platform::level() == 4 {
        return;
    }
    let _ = world.import(&saying(None, ("linux", "amd64", Some("v4")), Machine::Amd64), name);
    std::fs::remove_file(world.work().join("hermes.lock")).unwrap();
    assert_eq!(run(&["--image-platform", "linux/amd64/v4"]).ok(), "ran");
    let lock =
        world.read("hermes.lock").replace("label = \"linux/amd64/v4\"\n", "").replace("version = 3", "version = 2");
    world.write("hermes.lock", &lock);
    run(&[]).refused(125, &["needs an x86-64-v4 processor", "hermes lock --update"]);
}

/// As `AlmaLinux` 10 has them.
#[test]
fn an_image_of_a_level_that_this_processor_has() {
    let Some(world) = TestContext::sandbox() else { return };
    let name = "test.invalid/level:1";
    let level = hermes::testing::platform::level();
    let listed = serde_json::json!({ "os": "linux", "architecture": "amd64", "variant": format!("v{level}") });
    let _ = world.import(&saying(Some(&listed), ("linux", "amd64", None), Machine::Amd64), name);
    assert_eq!(world.hermes(["run", "-p", "amd64", "--image", name, "--", "tool"]).ok(), "ran");
}
