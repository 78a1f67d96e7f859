//! `hermes.lock`: the first run writes it, and later runs follow it.

use std::fs;
use std::sync::Mutex;

use hermes::testing::digest::Digest;

use crate::support::context::{TestContext, emulation};
use crate::support::elf::tiny;
use crate::support::fake_registry::FakeRegistry;
use crate::support::real_registry::RealRegistry;

/// A project whose toolchain is the tiny image of a real registry.
struct Project {
    world: TestContext,
    registry: Option<RealRegistry>,
}

impl Project {
    fn new() -> Option<Self> {
        let (world, registry) = TestContext::with_registry("first")?;
        world.write("hermes.toml", "toolchain = 'own'\n");
        let image = format!("image = '{}/lib/tiny:1'\n", registry.host());
        let table = format!("[platform.linux-x86_64]\n{image}[platform.linux-aarch64]\n{image}");
        world.write("../config/hermes/toolchains/own.toml", &table);
        Some(Self { world, registry: Some(registry) })
    }

    fn run(&self, options: &[&str]) -> crate::support::process::Output {
        self.world.hermes([options, &["run", "--", "tool"]].concat()).output()
    }

    /// The same with another store, which is empty.
    fn elsewhere(&self) -> crate::support::process::Output {
        let store = tempfile::tempdir_in(self.world.path()).unwrap();
        self.world.hermes(["run", "--", "tool"]).env("HERMES_STORE", store.path().join("store")).output()
    }

    fn lock(&self) -> String {
        self.world.read("hermes.lock")
    }

    fn change(&self, change: impl FnOnce(&str) -> String) {
        self.world.write("hermes.lock", &change(&self.lock()));
    }
}

#[test]
fn written_at_the_first_resolution_and_the_same_from_then_on() {
    let Some(project) = Project::new() else { return };
    let output = project.run(&[]);
    assert_eq!(output.ok(), "first amd64");
    assert!(output.stderr.contains("hermes.lock"), "{}", output.stderr);
    let lock = project.lock();
    assert!(lock.starts_with("# Written by hermes") && lock.contains("\nversion = 2\n"), "{lock}");
    // Everything needed to fetch it again: index, manifest, config and two layers with their diff ids.
    for (part, count) in [
        (".index]", 1),
        (".manifest]", 1),
        (".config]", 1),
        (".layer]]", 2),
        ("diff-id = \"sha256:", 2),
        ("digest = \"sha256:", 5),
    ] {
        assert_eq!(lock.matches(part).count(), count, "{part} in {lock}");
    }
    assert!(!lock.contains(project.world.path().to_str().unwrap()), "no path of the host: {lock}");
    let before = fs::metadata(project.world.work().join("hermes.lock")).unwrap().modified().unwrap();
    let output = project.run(&[]);
    assert_eq!((output.ok().as_str(), output.stderr.as_str()), ("first amd64", ""));
    assert_eq!(fs::metadata(project.world.work().join("hermes.lock")).unwrap().modified().unwrap(), before);
    assert_eq!(project.elsewhere().ok(), "first amd64");
    assert_eq!(project.lock(), lock);
    // A new lock has the same bytes.
    fs::remove_file(project.world.work().join("hermes.lock")).unwrap();
    let _ = project.run(&["--offline"]).ok();
    assert_eq!(project.lock(), lock);
}

#[test]
fn a_lock_wins_over_a_tag_that_moved() {
    let Some(project) = Project::new() else { return };
    assert_eq!(project.run(&[]).ok(), "first amd64");
    project.registry.as_ref().unwrap().push("lib/tiny", &tiny("second"));
    assert_eq!(project.run(&[]).ok(), "first amd64");
    // Also where it must be fetched again.
    assert_eq!(project.elsewhere().ok(), "first amd64");
    fs::remove_file(project.world.work().join("hermes.lock")).unwrap();
    assert_eq!(project.elsewhere().ok(), "second amd64");
}

#[test]
fn pull_of_a_newer_tag_does_not_change_what_is_locked() {
    let Some(project) = Project::new() else { return };
    assert_eq!(project.run(&[]).ok(), "first amd64");
    let registry = project.registry.as_ref().unwrap();
    registry.push("lib/tiny", &tiny("second"));
    project.world.hermes(["pull", &format!("{}/lib/tiny:1", registry.host())]).ok();
    assert_eq!(project.run(&["--locked"]).ok(), "first amd64");
}

#[test]
fn locked_is_refused_where_the_lock_would_change() {
    let Some(project) = Project::new() else { return };
    project.run(&["--locked"]).refused(
        4,
        &["hermes.lock has no entry for", "lib/tiny:1 for linux-x86_64", "hint: run once without --locked"],
    );
    assert!(!project.world.work().join("hermes.lock").exists());
    assert_eq!(project.run(&[]).ok(), "first amd64");
    let lock = project.lock();
    assert_eq!(project.run(&["--locked"]).ok(), "first amd64");
    // Another platform is another entry.
    let other = project.world.hermes(["--locked", "run", "-p", "arm64", "--", "tool"]).output();
    other.refused(4, &["for linux-aarch64"]);
    assert_eq!(project.lock(), lock);
}

#[test]
fn offline_is_refused_where_something_is_missing() {
    let Some(project) = Project::new() else { return };
    project.run(&["--offline"]).refused(
        4,
        &["is not on this machine", "hint: download it while there is a network: hermes pull", "hermes import"],
    );
    assert!(!project.world.work().join("hermes.lock").exists());
    project.world.hermes(["--offline", "pull", "x/y:1"]).output().refused(4, &["--offline"]);
    // Locked, and not in the store.
    assert_eq!(project.elsewhere().ok(), "first amd64");
    project.run(&["--offline"]).refused(4, &["is not on this machine"]);
}

#[test]
fn without_a_project_the_lock_is_remembered() {
    let Some(mut project) = Project::new() else { return };
    fs::remove_file(project.world.work().join("hermes.toml")).unwrap();
    let run = |project: &Project| project.world.hermes(["run", "--toolchain", "own", "--", "tool"]).output();
    assert_eq!(run(&project).ok(), "first amd64");
    assert!(!project.world.work().join("hermes.lock").exists());
    let remembered = project.world.locks().join("own.lock");
    let text = fs::read_to_string(&remembered).unwrap();
    project.registry = None;
    assert_eq!(run(&project).ok(), "first amd64");
    assert_eq!(fs::read_to_string(&remembered).unwrap(), text);
}

#[test]
fn a_lock_file_of_ones_own() {
    let Some(project) = Project::new() else { return };
    assert_eq!(project.run(&["--lock", "other/my.lock"]).ok(), "first amd64");
    assert!(!project.world.work().join("hermes.lock").exists());
    let text = project.world.read("other/my.lock");
    assert_eq!(project.run(&["--lock", "other/my.lock", "--locked"]).ok(), "first amd64");
    assert_eq!(project.world.read("other/my.lock"), text);
}

#[test]
fn two_platforms_at_once_both_get_into_the_lock() {
    let Some(project) = Project::new() else { return };
    if !emulation() {
        return;
    }
    let start = |platform: &str| project.world.hermes(["run", "-p", platform, "--", "tool"]).start();
    let both = [start("amd64"), start("arm64")];
    let [amd64, arm64] = both.map(|run| run.wait().ok());
    assert_eq!((amd64.as_str(), arm64.as_str()), ("first amd64", "first arm64"));
    let text = project.lock();
    assert_eq!(text.matches(".manifest]").count(), 2, "{text}");
    let amd64 = text.find("\"linux/amd64\".manifest]").unwrap();
    assert!(amd64 < text.find("\"linux/arm64\".manifest]").unwrap(), "sorted: {text}");
}

#[test]
fn of_two_first_runs_the_later_takes_what_the_earlier_locked() {
    let Some(world) = TestContext::sandbox() else { return };
    // The same name at two mirrors; what the tag of one means, the other has by its digest only.
    let (mut first, second) = (tiny("first"), tiny("second"));
    let other = FakeRegistry::serve(second.clone(), |_, _, reply| reply);
    first.blobs.extend(second.blobs.clone());
    first.manifests.extend(second.manifests.clone());
    let run = |mirror: &str, store: &str| {
        let store = world.path().join(store);
        let words = ["run", "--mirror", &format!("docker.io={mirror}"), "--image", "x/y:1", "--", "tool"];
        world.hermes(words).env("HERMES_STORE", store)
    };
    // Has resolved the tag, and is overtaken while it asks for the first blob.
    let overtaking = Mutex::new(Some(run(&other.host(), "theirs")));
    let fake = FakeRegistry::serve(first, move |seen, _, reply| {
        if seen.path.contains("/blobs/")
            && let Some(run) = overtaking.lock().unwrap().take()
        {
            assert_eq!(run.ok(), "second amd64");
        }
        reply
    });
    let output = run(&fake.host(), "ours").output();
    assert_eq!(output.ok(), "second amd64");
    assert!(output.stderr.contains("another hermes has just locked"), "{}", output.stderr);
    let lock = fs::read_to_string(world.image_lock("docker.io/x/y:1")).unwrap();
    assert!(lock.contains(&second.tags["1"].to_string()), "{lock}");
}

#[test]
fn the_emulator_is_locked_by_its_digest() {
    let Some(project) = Project::new() else { return };
    if !emulation() {
        return;
    }
    let run =
        |options: &[&str]| project.world.hermes([options, &["run", "-p", "arm64", "--", "tool"]].concat()).output();
    assert_eq!(run(&[]).ok(), "first arm64");
    let lock = project.lock();
    let qemu = fs::read("/usr/bin/qemu-aarch64-static").unwrap();
    let entry = format!("[emulator.\"linux/arm64\"]\ndigest = \"{}\"\nsize = {}\n", Digest::of(&qemu), qemu.len());
    assert!(lock.contains(&entry), "no {entry} in {lock}");
    // The store keeps it: QEMU may go from the host.
    let without = project.world.hermes(["run", "-p", "arm64", "--", "tool"]).env("PATH", "/no/where").ok();
    assert_eq!(without, "first arm64");
    // A lock that wants another one.
    project.change(|lock| lock.replace(&Digest::of(&qemu).to_string(), &Digest::of(b"another").to_string()));
    run(&[]).refused(3, &["the lockfile requires the emulator for linux-aarch64", "hint: "]);
    // A lock without one would change.
    project.change(|lock| lock[..lock.find("[emulator").unwrap()].to_owned());
    run(&["--locked"]).refused(4, &["the emulator for linux-aarch64"]);
    assert_eq!(run(&[]).ok(), "first arm64");
    assert_eq!(project.lock(), lock);
}

#[test]
fn bad_locks_are_refused_and_left_alone() {
    let Some(project) = Project::new() else { return };
    assert_eq!(project.run(&[]).ok(), "first amd64");
    let good = project.lock();
    for (text, part) in [
        (good.replace("version = 2", "version = 5"), "version 5"),
        (good.replace("version = 2", "version = 2\nmount = '/'"), "mount"),
        (format!("<<<<<<< ours\n{good}"), "conflict markers"),
        (good[..good.len() - 30].to_owned(), "invalid"),
        (String::new(), "invalid"),
        ("\u{0}\u{1b}[31m".to_owned(), "invalid"),
    ] {
        project.world.write("hermes.lock", &text);
        project.run(&[]).refused(3, &["hermes.lock", part, "hint: "]);
        assert_eq!(project.lock(), text);
    }
}

#[test]
fn a_lock_that_lies_about_content_is_found_out() {
    let Some(project) = Project::new() else { return };
    assert_eq!(project.run(&[]).ok(), "first amd64");
    let good = project.lock();
    let diff_id = good.lines().find(|line| line.starts_with("diff-id")).unwrap().to_owned();
    let another = format!("diff-id = \"{}\"", Digest::of(b"another"));
    project.change(|lock| lock.replace(&diff_id, &another));
    project
        .elsewhere()
        .refused(3, &["invalid lockfile", "hermes.lock", "chain-id", "one of them was changed", "hint: "]);
    // Who changes both, or has a lock of version 1.
    let without = |lock: &str, key: &str| {
        lock.lines().filter(|line| !line.starts_with(key)).fold(String::new(), |text, line| text + line + "\n")
    };
    project.change(|lock| without(lock, "chain-id"));
    project.elsewhere().refused(3, &["hint: "]);
    project.world.write("hermes.lock", &good);
    let tree = good.lines().find(|line| line.starts_with("tree")).unwrap().to_owned();
    project.change(|lock| lock.replace(&tree, &format!("tree = \"{}\"", Digest::of(b"another"))));
    project.elsewhere().refused(3, &["lib/tiny:1", "tree digest mismatch", "hint: "]);
    project.world.write("hermes.lock", &good);
    // A size that is wrong.
    let size = good.lines().rfind(|line| line.starts_with("size")).unwrap().to_owned();
    project.change(|lock| lock.replace(&size, "size = 1"));
    project.elsewhere().refused(3, &["hint: "]);
}

#[test]
fn a_lock_that_cannot_be_written_is_an_error() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(project) = Project::new() else { return };
    let mode = |mode| fs::set_permissions(project.world.work(), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o555);
    let output = project.run(&[]);
    mode(0o755);
    output.refused(125, &["cannot write the lockfile", "hermes.lock", "hint: choose another file: --lock FILE"]);
    assert_eq!(project.run(&["--locked"]).code(), 4);
}
