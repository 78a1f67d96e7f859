//! What comes beside a foreign image: its emulator, and native tools.

use std::fs;

use crate::support::distribution::{self, Distribution};
use crate::support::elf::tiny;
use crate::support::process::Output;
use crate::support::require;
use crate::support::world::{World, emulation};

/// A project whose toolchain is an image of a real registry, for this host and for another platform.
struct Project {
    world: World,
    registry: Distribution,
}

impl Project {
    /// With these further lines in the toolchain; `HOST` in them is the registry's.
    fn new(lines: &str) -> Option<Self> {
        let world = World::sandbox()?;
        (emulation() && require("registry", distribution::available())).then(|| {
            let registry = Distribution::start(world.path(), None);
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

    fn lock(&self) -> String {
        self.world.read("hermes.lock")
    }

    fn image(&self, name: &str, platform: &str) -> String {
        format!("[image.\"{}/lib/{name}:1\".\"{platform}\"]", self.registry.host())
    }
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
    // By the lock, whatever the tag means by now, and then without the registry.
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
    // Said once, although hermes starts itself anew after fetching.
    let first = run(&[], &[]);
    assert_eq!(without(&first), 1, "{}", first.stderr);
    assert!(first.stderr.contains(" does not have "), "{}", first.stderr);
    assert_eq!(without(&run(&["--offline"], &[])), 1);
    assert_eq!(without(&run(&[], &["--accel", "off"])), 0);
    run(&[], &["--accel", "require"]).refused(125, &[" does not have ", "/lib/none:1"]);
    run(&["--offline"], &["--accel", "require"]).refused(4, &["lib/none:1 for linux-x86_64 is not on this machine"]);
    assert!(!project.lock().contains("none"), "{}", project.lock());
    // A run tries again.
    project.registry.push("lib/none", &tiny("late"));
    project.on_arm64("store", &[], &["pull"]).ok();
    assert!(project.lock().contains(&project.image("none", "linux/amd64")), "{}", project.lock());
    // What is wrong is not taken for absent.
    fs::write(project.world.work().join("hermes.lock"), project.lock().replace("size = ", "size = 1")).unwrap();
    project.on_arm64("other", &[], &["pull"]).refused(3, &["hint: "]);
}
