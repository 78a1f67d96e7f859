//! `hermes verify`: every flipped bit is found; damage after an unclean reboot.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::support::context::TestContext;
use crate::support::elf::{Machine, program, tiny};
use crate::support::fake_registry::FakeRegistry;
use crate::support::image::{Codec, Content, layer, noise};

/// Files of the store that others rely on.
fn files(store: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut waiting = vec![store.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                // Records are read by nobody, and leases say nothing once their processes have ended.
                let counts = !["records", "leases"].contains(&entry.file_name().to_str().unwrap());
                waiting.extend(counts.then(|| entry.path()));
            } else if entry.file_name().to_str().unwrap().starts_with("tree-") {
                // Kept to be read again, with a checksum: damaged it counts as not there.
            } else if entry.metadata().unwrap().len() > 0 {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}

/// Flips the lowest bit in the middle.
fn flip(path: &Path) {
    let mode = fs::metadata(path).unwrap().permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

const OTHER_BOOT: &str = "01234567-89ab-cdef-0123-456789abcdef";

/// Makes every layer one of another boot.
fn reboot(world: &TestContext) {
    for layer in world.stored("layers") {
        fs::write(world.store().join("layers").join(layer).join("done"), OTHER_BOOT).unwrap();
    }
}

fn done(world: &TestContext) -> Vec<u64> {
    let path = |layer: String| world.store().join("layers").join(layer).join("done");
    world.stored("layers").into_iter().map(|layer| fs::metadata(path(layer)).unwrap().len()).collect()
}

/// The tool of the image, as it is unpacked.
fn unpacked_tool(world: &TestContext) -> PathBuf {
    let tool = |layer: String| world.store().join("layers").join(layer).join("fs/bin/tool");
    world.stored("layers").into_iter().map(tool).find(|path| path.exists()).unwrap()
}

#[test]
fn a_flipped_bit_in_any_file_is_named_and_healed() {
    let Some(world) = TestContext::sandbox() else { return };
    let tool = program(Machine::Amd64, "works\n", 0);
    let base = layer(Codec::Gzip, &[("etc/os-release", b"ID=test\n"), ("usr/share/noise", &noise(20_000))]);
    let top = layer(Codec::Zstd, &[("bin/tool", &tool)]);
    let mut content = Content::default();
    let manifest = content.image(("linux", "amd64", None), &[base, top]);
    let index = content.index(&[manifest]);
    let registry = FakeRegistry::serve(content.tag("1", &index), |_, _, reply| reply);
    let image = format!("{}/lib/image:1", registry.host());
    let run = || world.hermes(["run", "--image", &image, "--", "tool"]).output();
    let clean = || {
        let text = world.hermes(["verify"]).ok();
        assert!(text.starts_with("5 blobs and 2 unpacked layers, "), "{text}");
        assert!(text.ends_with(": no corruption found"), "{text}");
    };
    assert_eq!(run().ok(), "works");
    clean();
    let all = files(world.store());
    let named = |part: &str| all.iter().filter(|path| path.to_str().unwrap().contains(part)).count();
    assert_eq!((named("blobs/"), named("/fs/"), named("/toc"), named("/done")), (5, 3, 2, 2), "{all:?}");
    assert_eq!((named("refs/"), named("gcroots/"), named("VERSION"), named("index.json")), (1, 1, 1, 1), "{all:?}");
    for path in &all {
        let what = path.strip_prefix(world.store()).unwrap().display();
        flip(path);
        // Nothing is changed where that is not wanted.
        let dry = world.hermes(["verify", "--dry-run"]).output();
        let output = world.hermes(["verify"]).output();
        if path.ends_with("VERSION") {
            output.refused(3, &[path.to_str().unwrap(), "echo 1 > "]);
            fs::write(path, "1\n").unwrap();
        } else {
            for output in [dry, output] {
                let text = output.exits(3).text();
                assert!(text.contains(path.to_str().unwrap()), "{what} is not named: {text}");
                // A name that cannot be read is not in index.json either.
                assert!(text.contains("1 corrupt file") || path.starts_with(world.store().join("refs")));
            }
        }
        world.hermes(["pull", &image]).ok();
        clean();
        assert_eq!(run().ok(), "works", "{what}");
        clean();
    }
    // With all the blobs it can be taken elsewhere.
    world.hermes(["export", &image, "image.tar"]).ok();
}

#[test]
fn what_is_damaged_comes_back_by_the_run_that_needs_it() {
    let Some(world) = TestContext::sandbox() else { return };
    let _ = world.import(&tiny("here"), "test.invalid/tiny:1");
    let run = || world.hermes(["--offline", "run", "--image", "test.invalid/tiny:1", "--", "tool"]).output();
    run().ok();
    fs::set_permissions(unpacked_tool(&world), fs::Permissions::from_mode(0o600)).unwrap();
    let json = world.hermes(["verify", "test.invalid/tiny:1", "--json"]).output();
    let json: serde_json::Value = serde_json::from_slice(&json.exits(3).stdout).unwrap();
    assert_eq!(json["damage"][0]["treatment"], "removed", "{json}");
    assert_eq!(json["damage"][0]["what"], "has mode 600, not 755", "{json}");
    assert_eq!(run().ok(), "here amd64");
    world.hermes(["verify"]).ok();
    world.hermes(["verify", "test.invalid/none:1"]).output().refused(1, &["there is no image"]);
}

#[test]
fn after_an_unclean_reboot_layers_are_looked_at_once() {
    let Some(world) = TestContext::sandbox() else { return };
    let _ = world.import(&tiny("here"), "test.invalid/tiny:1");
    let run = || world.hermes(["--offline", "run", "--image", "test.invalid/tiny:1", "--", "tool"]).output();
    assert_eq!(run().ok(), "here amd64");
    assert_eq!(done(&world), [36, 36], "the id of this boot");
    let truncate = || File::create(unpacked_tool(&world)).map(drop).unwrap();
    // What was unpacked in this boot is not looked at.
    truncate();
    assert!(world.hermes(["images"]).ok().contains("ready"));
    // In another one it is, before a run uses it; what came through is settled, what did not comes again.
    reboot(&world);
    assert_eq!(run().ok(), "here amd64");
    let mut lengths = done(&world);
    lengths.sort_unstable();
    assert_eq!(lengths, [0, 36]);
    reboot(&world);
    fs::remove_file(unpacked_tool(&world)).unwrap();
    assert_eq!(run().ok(), "here amd64");
    // The list itself may be what was lost.
    reboot(&world);
    let toc = unpacked_tool(&world).ancestors().nth(3).unwrap().join("toc");
    File::create(&toc).unwrap();
    assert_eq!(run().ok(), "here amd64");
    assert!(fs::metadata(&toc).unwrap().len() > 0);
    // What is settled is not looked at again.
    reboot(&world);
    assert_eq!(run().ok(), "here amd64");
    assert_eq!(done(&world), [0, 0]);
    truncate();
    assert!(world.hermes(["images"]).ok().contains("ready"));
    world.hermes(["verify"]).output().exits(3);
    assert_eq!(run().ok(), "here amd64");
}
