//! `hermes fetch`, and `hermes pull --dry-run`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use hermes::testing::digest::Digest;

use crate::support::context::{DEBIAN, TestContext, emulation};
use crate::support::elf::tiny;
use crate::support::fake_registry::{FakeRegistry, ranged};
use crate::support::image::{Codec, Content, layer, multi_arch, noise};
use crate::support::process::Output;
use crate::support::real_registry::RealRegistry;

/// A project whose toolchain `own` is this image on amd64 and arm64.
fn project(world: &TestContext, image: &str) {
    let table = |platform| format!("[toolchains.own.platform.{platform}]\nimage = '{image}'\n");
    let tables = table("linux-x86_64") + &table("linux-aarch64");
    world.write("hermes.toml", &format!("toolchain = 'own'\n{tables}"));
}

fn platforms(output: &Output) -> Vec<String> {
    output.ok().lines().map(|line| line.split_whitespace().nth(1).unwrap().to_owned()).collect()
}

#[test]
fn two_platforms_of_the_catalogue_and_then_no_network() {
    let Some(world) = TestContext::sandbox() else { return };
    let Some(registry) = RealRegistry::of_fixtures(false).filter(|_| emulation()) else { return };
    world.configure(&format!("[registry.\"docker.io\"]\nmirrors = [\"{}\"]\n", registry.host()));
    let output = world.hermes(["fetch", "-p", "linux-armv6", "--platform", "386"]).output();
    assert_eq!(platforms(&output), ["linux-armv6", "linux-i686"]);
    assert!(output.text().contains(DEBIAN), "{}", output.text());
    drop(registry);
    // The lock has both now: these are all platforms.
    let output = world.hermes(["--offline", "--locked", "fetch", "--all-platforms"]).output();
    assert_eq!(platforms(&output), ["linux-i686", "linux-armv6"]);
    for (platform, prints) in [("armv6", "armv6l\nelf32"), ("i686", "elf32")] {
        let script = "case $(uname -m) in arm*) uname -m;; esac; head -c5 /bin/true | od -An -tu1 | grep -q '69 *76 *70 *1' && echo elf32";
        let run = world.hermes(["--offline", "--locked", "run", "-p", platform, "--", "sh", "-c", script]);
        assert_eq!(run.ok(), prints, "{platform}");
    }
}

#[test]
fn all_platforms_of_a_lock_elsewhere() {
    let Some((world, registry)) = TestContext::with_registry("first").filter(|_| emulation()) else { return };
    project(&world, &format!("{}/lib/tiny:1", registry.host()));
    // Nothing is locked yet: all that the toolchain builds for.
    assert_eq!(platforms(&world.hermes(["fetch", "--all-platforms"]).output()), ["linux-x86_64", "linux-aarch64"]);
    let lock = world.read("hermes.lock");
    assert!(lock.contains("[emulator.\"linux/arm64\"]"), "{lock}");
    registry.push("lib/tiny", &tiny("second"));
    let elsewhere = |words: &[&str]| world.hermes(words).env("HERMES_STORE", world.path().join("elsewhere"));
    elsewhere(&["--locked", "fetch", "--all-platforms"]).ok();
    assert_eq!(world.read("hermes.lock"), lock);
    drop(registry);
    for (platform, prints) in [("amd64", "first amd64"), ("arm64", "first arm64")] {
        assert_eq!(elsewhere(&["--offline", "--locked", "run", "-p", platform, "--", "tool"]).ok(), prints);
    }
    // One platform of two in the lock is all there is to fetch.
    let half = &lock[..lock.find("[image.").unwrap()];
    world.write("hermes.lock", half);
    world.hermes(["--offline", "run", "-p", "arm64", "--", "tool"]).ok();
    assert_eq!(platforms(&world.hermes(["--offline", "fetch", "--all-platforms"]).output()), ["linux-aarch64"]);
    let other = world.hermes(["--offline", "--locked", "fetch", "-p", "amd64"]).output();
    other.refused(4, &["hermes.lock has no entry for"]);
}

#[test]
fn all_platforms_of_an_image_are_of_one_index() {
    let world = TestContext::empty();
    let (content, [base, tool, plain]) = multi_arch();
    let other = tiny("moved");
    let fake = FakeRegistry::start(move |seen, count| {
        // The tag moves after it was asked for once.
        let moved = seen.path.ends_with("/manifests/1") && count > 0;
        crate::support::fake_registry::honest(if moved { &other } else { &content }, &seen.path)
    });
    let name = format!("{}/x/y:1", fake.host());
    // None of the foreign ones has an emulator here: that is said, and no more.
    let output = world.hermes(["fetch", "--all-platforms", &name]).env("PATH", "/no/where").output();
    assert_eq!(platforms(&output), ["linux-x86_64", "linux-armv5", "linux-armv7", "linux-aarch64"]);
    assert_eq!(output.stderr.matches("downloading the image anyway").count(), 3, "{}", output.stderr);
    assert_eq!(fake.count("/manifests/1"), 1, "{:#?}", fake.seen());
    for layer in [base, tool, plain] {
        assert_eq!(fake.count(&layer.descriptor().digest.to_string()), 1, "each layer once");
    }
    let lock = fs::read_to_string(world.image_lock(&name)).unwrap();
    assert_eq!((lock.matches(".manifest]").count(), lock.matches("[emulator").count()), (4, 0), "{lock}");
    // And again without asking.
    let asked = fake.seen().len();
    let again = world.hermes(["fetch", "--all-platforms", "--image", &name]).env("PATH", "/no/where").output();
    assert_eq!(platforms(&again).len(), 4);
    assert_eq!(fake.seen().len(), asked);
    world.hermes(["--offline", "fetch", "x/y:1"]).output().refused(4, &["--offline"]);
    world.hermes(["--offline", "fetch", "--all-platforms", "x/y:1"]).output().refused(4, &["--offline"]);
    world.hermes(["fetch", "--all-platforms", "-p", "arm64"]).output().refused(2, &["--all-platforms"]);
}

/// All that is below a directory: path, length, and when it was changed, if it is a file.
fn below(dir: &Path) -> BTreeMap<PathBuf, (u64, i64)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            all.extend(below(&path));
            all.insert(path, (0, meta.mtime_nsec()));
        } else {
            all.insert(path, (meta.len(), meta.mtime_nsec()));
        }
    }
    all
}

#[test]
fn a_dry_run_tells_what_a_pull_would_do_and_does_nothing() {
    let world = TestContext::empty();
    // Two images that share a layer.
    let shared = layer(Codec::Gzip, &[("shared", &noise(100_000))]);
    let [one, two] = [1, 2].map(|at| layer(Codec::Zstd, &[("own", &noise(10_000 * at))]));
    let mut content = Content::default();
    for (tag, own) in [("1", &one), ("2", &two)] {
        let image = content.image(("linux", "amd64", None), &[shared.clone(), own.clone(), shared.clone()]);
        content = content.tag(tag, &image);
    }
    // The first time the shared layer breaks off and stays away.
    let digest = shared.descriptor().digest.to_string();
    let fake = FakeRegistry::serve(content, move |seen, count, reply| match seen.path.ends_with(&digest) {
        true if count == 0 => reply.cut(40_000),
        true if count < 3 => reply.cut(0),
        _ => ranged(seen, reply),
    });
    let [first, second] = [1, 2].map(|tag| format!("{}/x/y:{tag}", fake.host()));
    let dry = || {
        let before = below(world.path());
        let json = world.json(&["pull", "--dry-run", &first, &second]);
        assert_eq!(below(world.path()), before, "a dry run has changed something");
        json
    };
    let size = |layer: &crate::support::image::Layer| layer.blob.len();
    let figures = |json: &serde_json::Value| {
        let of = |at: &serde_json::Value| {
            ["layers", "layers-here", "fetch-bytes"].map(|key| usize::try_from(at[key].as_u64().unwrap()).unwrap())
        };
        [of(&json["images"][0]), of(&json["images"][1]), of(&json["total"])]
    };
    let json = dry();
    let all = size(&shared) + size(&one) + size(&two);
    assert_eq!(figures(&json), [[2, 0, size(&shared) + size(&one)], [2, 0, size(&shared) + size(&two)], [3, 0, all]]);
    assert_eq!((&json["total"]["unpack-estimated"], &json["total"]["unpack-inodes"]), (&true.into(), &().into()));
    let guess = json["total"]["unpack-bytes"].as_u64().unwrap();
    assert!(guess > all as u64, "{json}");
    assert!(!world.store().exists(), "nor is a store made");
    assert!(fake.seen().iter().all(|seen| !seen.path.contains(&shared.descriptor().digest.to_string())));
    assert_eq!(fake.count("/blobs/"), 2, "the configs only");

    world.hermes(["pull", &first]).output().refused(1, &["cannot receive"]);
    let kept: usize = world
        .stored("partial")
        .iter()
        .map(|name| usize::try_from(fs::metadata(world.store().join("partial").join(name)).unwrap().len()).unwrap())
        .sum();
    // One's own layer may have come by then.
    let came = world.stored("layers").len();
    let json = dry();
    assert_eq!((figures(&json)[0][1], came <= 1), (came, true));
    let left = size(&shared) + if came == 0 { size(&one) } else { 0 } - kept;
    assert!(kept > 0);
    assert_eq!(figures(&json)[0][2], left, "what is kept of a layer is not fetched again");

    let pulled = world.json(&["pull", &first, &second]);
    let came: u64 = [0, 1].map(|at| pulled[at]["bytes"].as_u64().unwrap()).iter().sum();
    assert_eq!(came, json["total"]["fetch-bytes"].as_u64().unwrap(), "it is what was told");
    let json = dry();
    assert_eq!(figures(&json), [[2, 2, 0], [2, 2, 0], [3, 3, 0]]);
    assert_eq!((&json["total"]["unpack-estimated"], &json["total"]["unpack-inodes"]), (&false.into(), &0.into()));
    let table = world.hermes(["pull", "--dry-run", &first, &second]).ok();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[0].starts_with("IMAGE") && lines[3].starts_with("all "), "{table}");
}

#[test]
fn a_dry_run_goes_by_the_lock_and_can_be_offline() {
    let world = TestContext::empty();
    let content = tiny("first");
    let fake = FakeRegistry::serve(content.clone(), |_, _, reply| reply);
    let name = format!("{}/x/y:1", fake.host());
    project(&world, &name);
    world.hermes(["--locked", "pull", "--dry-run"]).output().refused(4, &["hermes.lock has no entry for"]);
    world.hermes(["--offline", "pull", "--dry-run"]).output().refused(4, &["--offline"]);
    let dry = |options: &[&str]| world.json(&[options, &["pull", "--dry-run"]].concat());
    assert_eq!(dry(&[])["total"]["layers-here"], 0);
    assert!(!world.work().join("hermes.lock").exists() && !world.store().exists());
    world.hermes(["pull"]).ok();
    let asked = fake.seen().len();
    for options in [&[][..], &["--offline"], &["--offline", "--locked"]] {
        assert_eq!(dry(options)["images"][0]["layers-here"], 2, "{options:?}");
    }
    let pinned = format!("{}/x/y@{}", fake.host(), content.tags["1"]);
    assert_eq!(world.json(&["--offline", "pull", "--dry-run", &pinned])["images"][0]["fetch-bytes"], 0);
    assert_eq!(fake.seen().len(), asked, "all of it is known");
    let manifest: Digest = dry(&[])["images"][0]["manifest"].as_str().unwrap().parse().unwrap();
    assert!(content.manifests.contains_key(&manifest));
}
