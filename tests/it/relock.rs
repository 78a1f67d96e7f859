//! `hermes lock`: locks for all platforms, updates, checks and comparisons; and `hermes bisect`.

use std::fs;

use crate::support::context::TestContext;
use crate::support::elf::{Machine, program, tiny};
use crate::support::image::{Codec, Content, layer};
use crate::support::process::Output;
use crate::support::real_registry::{self, RealRegistry};

/// An image whose tool ends with `code`, with packages, for both platforms.
fn release(version: &str, code: u8) -> Content {
    let mut content = Content::default();
    let entries = [(Machine::Amd64, "amd64"), (Machine::Arm64, "arm64")].map(|(machine, architecture)| {
        let tool = program(machine, &format!("tool {version}\n"), code);
        let status =
            format!("Package: tool\nStatus: install ok installed\nVersion: {version}\nArchitecture: {architecture}\n");
        let layer = layer(Codec::Gzip, &[("bin/tool", &tool), ("var/lib/dpkg/status", status.as_bytes())]);
        let config = serde_json::json!({ "Env": [format!("TOOL_VERSION={version}")] });
        content.image_with(("linux", architecture, None), &[layer], &config)
    });
    let index = content.index(&entries);
    content.tag("1", &index)
}

/// A project with two toolchains of a real registry.
struct Project {
    world: TestContext,
    registry: RealRegistry,
}

impl Project {
    fn new() -> Option<Self> {
        let world = TestContext::sandbox()?;
        real_registry::available().then(|| {
            let registry = RealRegistry::start(world.path(), None);
            registry.push("lib/tool", &release("1.0-1", 0));
            registry.push("lib/other", &tiny("other"));
            let host = registry.host();
            let image = |name: &str| format!("image = '{host}/lib/{name}:1'\n");
            let platforms = ["linux-x86_64", "linux-aarch64"];
            let own =
                platforms.map(|platform| format!("[toolchains.own.platform.{platform}]\n{}", image("tool"))).concat();
            let second = format!("[toolchains.second.platform.linux-x86_64]\n{}", image("other"));
            world.write("hermes.toml", &format!("toolchain = 'own'\n{own}{second}"));
            Self { world, registry }
        })
    }

    fn lock(&self, words: &[&str]) -> Output {
        self.world.hermes([&["lock"], words].concat()).output()
    }

    fn text(&self) -> String {
        self.world.read("hermes.lock")
    }

    fn layers(&self) -> usize {
        fs::read_dir(self.world.path().join("store/layers")).map_or(0, Iterator::count)
    }
}

#[test]
fn all_platforms_get_into_one_lock_and_nothing_is_fetched() {
    let Some(project) = Project::new() else { return };
    let output = project.lock(&[]);
    let name = format!("{}/lib/tool:1", project.registry.host());
    for platform in ["linux-x86_64", "linux-aarch64"] {
        assert!(output.ok().contains(&format!("+ {name} for {platform}: sha256:")), "{}", output.ok());
    }
    assert_eq!(project.layers(), 0);
    let text = project.text();
    assert!(!text.contains("tree = ") && text.contains("chain-id = ") && text.contains("[build]"), "{text}");
    // It is what runs go by, on either platform, and they need not change it.
    assert_eq!(project.world.hermes(["--locked", "run", "--", "tool"]).ok(), "tool 1.0-1");
    assert_eq!(project.text(), text);
    // What is unpacked by now gets its tree; then there is nothing more to say.
    assert_eq!(project.lock(&[]).ok(), "");
    assert_eq!(project.text().matches("tree = ").count(), 1);
    let output = project.lock(&[]);
    assert!(output.ok().is_empty() && output.stderr.contains("hermes.lock is up to date"), "{}", output.stderr);
    // Another toolchain adds to the same lock.
    let added = project.lock(&["-t", "second"]).ok();
    assert!(added.contains("/lib/other:1 for linux-x86_64"), "{added}");
    assert!(project.text().contains("lib/tool:1"));
    project.world.hermes(["--locked", "lock", "-t", "second", "--update"]).ok();
}

#[test]
fn a_tag_that_moved_is_told_and_taken_when_asked() {
    let Some(project) = Project::new() else { return };
    project.lock(&["--fetch"]).ok();
    assert_eq!((project.layers(), project.text().matches("tree = ").count()), (2, 2));
    assert_eq!(project.lock(&["--check"]).ok(), "");
    let before = project.text();
    project.registry.push("lib/tool", &release("1.0-2", 0));
    let output = project.lock(&["--check"]);
    output.exits(4);
    for part in ["lib/tool:1 for linux-x86_64\n    was sha256:", "\n    now sha256:", "TOOL_VERSION", "1.0-1", "1.0-2"]
    {
        assert!(output.text().contains(part), "{part}: {}", output.text());
    }
    // Layers of the new image are not here, so nothing can be said of its packages, until they are asked for.
    assert!(output.text().contains("cannot compare the packages") && project.layers() == 2, "{}", output.text());
    let output = project.lock(&["--check", "--fetch"]);
    assert!(output.exits(4).text().contains("~ tool") && output.text().contains("1.0-1 -> 1.0-2"), "{}", output.text());
    assert_eq!(project.text(), before);
    assert_eq!(project.world.hermes(["run", "--", "tool"]).ok(), "tool 1.0-1");
    project.world.hermes(["--locked", "lock", "--update"]).output().refused(4, &["hermes.lock", "lib/tool:1"]);
    assert_eq!(project.text(), before);
    fs::copy(project.world.work().join("hermes.lock"), project.world.work().join("old.lock")).unwrap();
    let updated = project.lock(&["--update"]).ok();
    assert!(updated.contains("1.0-1 -> 1.0-2"), "{updated}");
    assert_eq!(project.world.hermes(["--locked", "run", "--", "tool"]).ok(), "tool 1.0-2");
    assert_eq!(project.lock(&["--check"]).ok(), "");
    // The same can be said of two files, now and later, with no network.
    let compared = project.world.hermes(["--offline", "lock", "--diff", "old.lock", "hermes.lock"]).ok();
    assert_eq!(compared, updated);
    let json: serde_json::Value =
        serde_json::from_str(&project.world.hermes(["--json", "lock", "--diff", "hermes.lock", "old.lock"]).ok())
            .unwrap();
    assert_eq!(json["changes"].as_array().unwrap().len(), 2);
    assert_eq!(json["changes"][1]["image"]["packages"]["changed"][0]["new"], "1.0-1");
    project
        .world
        .hermes(["lock", "--diff", "old.lock", "none.lock"])
        .output()
        .refused(2, &["lockfile none.lock does not exist"]);
}

#[test]
fn only_what_is_named_is_renewed() {
    let Some(project) = Project::new() else { return };
    project.lock(&[]).ok();
    project.lock(&["-t", "second"]).ok();
    project.registry.push("lib/tool", &release("1.0-2", 0));
    project.registry.push("lib/other", &tiny("newer"));
    let name = format!("{}/lib/other:1", project.registry.host());
    let updated = project.lock(&["--update", &name]).ok();
    assert!(updated.contains("lib/other:1") && !updated.contains("lib/tool"), "{updated}");
    let updated = project.lock(&["--update", "own"]).ok();
    assert!(!updated.contains("lib/other:1") && updated.contains("lib/tool"), "{updated}");
    assert_eq!(project.lock(&["--check"]).ok(), "");
    let refused = project.lock(&["--update", "x/y:1"]);
    refused
        .refused(2, &["the lockfile has no entry 'x/y:1' to update", "hint: entries in the lockfile: ", "lib/tool:1"]);
    // What the store knows by name counts offline: of this it has nothing.
    project.world.hermes(["--offline", "lock", "--update"]).output().refused(4, &["is not on this machine"]);
}

#[test]
fn sources_are_locked_checked_and_renewed_too() {
    let Some(project) = Project::new() else { return };
    let world = &project.world;
    let source = |text: &str| {
        world.write("given/f", text);
        crate::support::run("tar", &["-cf", "../given.tar", "given"], &world.work());
    };
    source("first");
    let toml = world.read("hermes.toml");
    let url = format!("[source.given]\nurl = 'file://{}'\n", world.path().join("given.tar").display());
    world.write("hermes.toml", &format!("{toml}{url}"));
    world.hermes(["allow"]).ok();
    let locked = project.lock(&[]).ok();
    assert!(locked.contains("+ source given: sha256:"), "{locked}");
    let text = project.text();
    assert_eq!(project.lock(&["--check"]).ok(), "");
    source("second");
    let output = project.lock(&["--check"]);
    assert!(output.exits(4).text().contains("~ source given\n    was sha256:"), "{}", output.text());
    assert_eq!(project.text(), text);
    assert_eq!(world.hermes(["--locked", "run", "--", "tool"]).ok(), "tool 1.0-1");
    // Named, it alone is renewed.
    project.registry.push("lib/tool", &release("1.0-2", 0));
    let updated = project.lock(&["--update", "given"]).ok();
    assert!(updated.contains("source given") && !updated.contains("lib/tool"), "{updated}");
    assert_eq!(project.lock(&["--check"]).exits(4).text().matches("was ").count(), 2);
    // What was looked at for that is not remembered.
    assert_eq!(fs::read_dir(world.path().join("store/gcroots")).unwrap().count(), 1);
}

#[test]
fn a_lock_without_a_registry_is_completed_from_the_store_or_not_at_all() {
    let Some(project) = Project::new() else { return };
    let offline = |words: &[&str]| project.world.hermes([&["--offline", "lock"], words].concat()).output();
    offline(&[]).refused(4, &["is not on this machine"]);
    project.lock(&["--fetch"]).ok();
    let text = project.text();
    fs::remove_file(project.world.work().join("hermes.lock")).unwrap();
    offline(&[]).ok();
    assert_eq!(project.text(), text);
}

#[test]
fn locks_that_are_no_locks_stay_as_they_are() {
    let Some(project) = Project::new() else { return };
    project.lock(&[]).ok();
    let good = project.text();
    let huge = format!("{good}#{}\n", "x".repeat(17 << 20));
    for (text, part) in [
        (good.replace("version = 2", "version = 5"), "version 5"),
        (good.replace("version = 2", "version = 2\nversion = 2"), "invalid"),
        (
            good.replacen("=======", "", 1).replacen("[build]", "<<<<<<< ours\n[build]\n=======\n>>>>>>> theirs\n", 1),
            "conflict markers",
        ),
        (good.replacen("digest = \"sha256:", "digest = \"sha256:0", 1), "invalid"),
        (good[..good.len() - 40].to_owned(), "invalid"),
        (huge, "hermes.lock"),
    ] {
        project.world.write("hermes.lock", &text);
        for words in [&["--update"][..], &["--check"], &[], &["--diff", "hermes.lock", "hermes.lock"]] {
            let output = project.lock(words);
            assert!([1, 3].contains(&output.code()) && output.stderr.contains(part), "{words:?}: {}", output.stderr);
        }
        assert!(project.text() == text, "{part}: it was changed");
    }
}

#[test]
fn the_entry_that_breaks_a_build_is_found() {
    let Some(project) = Project::new() else { return };
    project.lock(&["--fetch"]).ok();
    let world = &project.world;
    let copy = |to: &str| fs::copy(world.work().join("hermes.lock"), world.work().join(to)).unwrap();
    copy("good.lock");
    let toml = world.read("hermes.toml");
    world.write(
        "hermes.toml",
        &format!("{toml}[build]\nepoch = 9\nlocale = 'C'\ntime-zone = 'UTC+1'\nenv = {{ A = 'B' }}\n"),
    );
    project.registry.push("lib/tool", &release("2.0-1", 7));
    project.lock(&["--update", "--fetch"]).ok();
    copy("bad.lock");
    world.write("input", "as it was");
    let bisect = |words: &[&str]| world.hermes([&["bisect"], words].concat()).output();
    let output = bisect(&["good.lock", "bad.lock", "--", "tool"]);
    let found = output.ok();
    for part in ["EXIT  TIME", "lib/tool:1 for linux-x86_64\n    was sha256:", "1.0-1 -> 2.0-1", "TOOL_VERSION"] {
        assert!(found.contains(part), "{part}: {found}");
    }
    assert!(output.stderr.contains("tool 1.0-1") && output.stderr.contains("tool 2.0-1"), "{}", output.stderr);
    assert!(!found.contains("only together"), "{found}");
    // The project and its lock are not touched, nor is anything left.
    assert_eq!((world.read("input"), world.read("hermes.lock")), ("as it was".into(), world.read("bad.lock")));
    assert_eq!(fs::read_dir(world.path().join("store/tmp")).unwrap().count(), 0);
    let json: serde_json::Value =
        serde_json::from_str(&bisect(&["--json", "good.lock", "bad.lock", "--", "tool"]).ok()).unwrap();
    assert!(json["culprit"]["entry"].as_str().unwrap().ends_with("/lib/tool:1 for linux-x86_64"), "{json}");
    bisect(&["good.lock", "good.lock", "--", "tool"]).refused(2, &["lock identical inputs for this run"]);
    bisect(&["bad.lock", "good.lock", "--", "tool"]).refused(1, &["already fails with bad.lock: exit code 7"]);
    fs::remove_file(world.work().join("input")).unwrap();
}

#[test]
fn a_setting_that_breaks_a_build_is_found_among_many() {
    let Some(world) = TestContext::fixtures() else { return };
    let image = crate::support::context::MIN;
    let toml = format!("toolchain = 'own'\n[toolchains.own.platform.linux-x86_64]\nimage = '{image}'\n[build]\n");
    for (name, settings) in [
        ("good.lock", ""),
        ("bad.lock", "epoch = 9\nlocale = 'C'\nuid = 1234\ntime-zone = 'UTC+1'\nenv = { A = 'B' }\n"),
    ] {
        world.write("hermes.toml", &format!("{toml}{settings}"));
        world.hermes(["--offline", "lock", "--lock", name]).ok();
    }
    let bisect = |script: &str| world.hermes(["bisect", "good.lock", "bad.lock", "--", "sh", "-c", script]).output();
    for (script, entry) in [
        ("[ $(date +%z) = +0000 ]", "~ build.time-zone\n    was \"UTC\"\n    now \"UTC+1\""),
        ("[ $SOURCE_DATE_EPOCH != 9 ]", "~ build.epoch\n"),
        ("[ $(id -u) = 1000 ]", "~ build.uid\n"),
        ("[ -z $A ]", "+ build.env: "),
    ] {
        let found = bisect(script).ok();
        assert!(found.contains(entry) && !found.contains("only together"), "{script}: {found}");
    }
    // Two of them, of which either alone does no harm.
    let found = bisect("[ -z $A ] || [ $(id -u) = 1000 ]").ok();
    assert!(found.contains("~ build.uid") && found.contains("only together with: build.env"), "{found}");
    bisect("true").refused(1, &["the build succeeds with bad.lock, too"]);
}
