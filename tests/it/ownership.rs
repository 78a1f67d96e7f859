//! Files of other users, or that other users can write to, in the places that hermes relies on: the store, the locks it
//! keeps, its settings, emulators. Also a store in which something other than a file has the name of one.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::emulators::emulator;
use crate::hardening::{RANGE, other_users};
use crate::sites::everything;
use crate::support::context::{TestContext, emulation};
use crate::support::elf::tiny;
use crate::support::process::Run;
use crate::support::require;

const TINY: &str = "test.invalid/tiny:1";

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Everything below a directory gets this mode: directories can be entered, so that the test can remove them.
fn chmod_all(directory: &Path, mode: u32) {
    for (path, ..) in everything(directory) {
        if !fs::symlink_metadata(&path).unwrap().is_symlink() {
            chmod(&path, mode);
        }
    }
}

/// Gives a file or directory and all in it to another user.
fn give_away(path: &Path) {
    let script = format!("chown -hR 1:1 '{}'", path.display());
    Run::new("true").under(&[&RANGE[..], &[&script, "sh"]].concat()).ok();
}

/// A context whose store has an image that was run.
fn used() -> Option<TestContext> {
    let world = TestContext::sandbox()?;
    let _ = world.import(&tiny("shared"), TINY);
    assert_eq!(run(&world).ok(), "shared amd64");
    Some(world)
}

fn run(world: &TestContext) -> Run {
    world.hermes(["run", "--image", TINY, "--", "tool"])
}

#[test]
fn t40_the_store_of_another_user_is_refused() {
    let Some(world) = used().filter(|_| other_users()) else { return };
    chmod_all(world.store(), 0o777);
    give_away(world.store());
    let before = everything(world.store());
    let parts = ["cannot be used in a store", "belongs to user", "HERMES_STORE=DIRECTORY"];
    run(&world).output().refused(125, &parts);
    for words in [&["images"][..], &["doctor"], &["gc"], &["df"], &["log"], &["import", "/nowhere"], &["pull", TINY]] {
        world.hermes(words).output().refused(1, &parts);
    }
    assert_eq!(everything(world.store()), before, "something was written there");
    // An empty one too, which would else become a store.
    let empty = world.path().join("empty");
    fs::create_dir(&empty).unwrap();
    chmod(&empty, 0o777);
    give_away(&empty);
    world.hermes(["images"]).env("HERMES_STORE", &empty).output().refused(1, &parts);
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
    // A link that leads to the user's own, since it may lead elsewhere the next moment.
    let own = world.path().join("own");
    world.hermes(["images"]).env("HERMES_STORE", &own).ok();
    let link = world.path().join("link");
    symlink(&own, &link).unwrap();
    world.hermes(["images"]).env("HERMES_STORE", &link).ok();
    give_away(&link);
    world.hermes(["images"]).env("HERMES_STORE", &link).output().refused(1, &["belongs to user"]);
}

#[test]
fn a_store_that_others_can_write_to_is_refused() {
    let Some(world) = used() else { return };
    for (name, mode) in [("", 0o777), ("", 0o1777), ("", 0o702)] {
        let path = world.store().join(name);
        chmod(&path, mode);
        let before = everything(world.store());
        run(&world).output().refused(125, &["other users can write to it", "chmod go-w"]);
        world.hermes(["images"]).output().refused(1, &["other users can write to it"]);
        assert_eq!(everything(world.store()), before);
    }
    // Files that other users cannot reach may be writable to them; those that they can reach may not.
    chmod(world.store(), 0o700);
    chmod(&world.store().join("layers"), 0o777);
    assert_eq!(run(&world).ok(), "shared amd64");
    chmod(world.store(), 0o755);
    run(&world).output().refused(125, &["layers cannot be used in a store", "mode is 0777"]);
    chmod(&world.store().join("layers"), 0o700);
    assert_eq!(run(&world).ok(), "shared amd64");
    // One that is yet to be made is made private, whatever was there.
    let empty = world.path().join("empty");
    fs::create_dir(&empty).unwrap();
    chmod(&empty, 0o777);
    symlink(world.path(), empty.join("records")).unwrap();
    let images = || world.hermes(["images"]).env("HERMES_STORE", &empty).output();
    images().refused(1, &["records cannot be used in a store", "a symbolic link, not a directory"]);
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 1);
    fs::remove_file(empty.join("records")).unwrap();
    images().exits(0);
    assert_eq!(fs::metadata(&empty).unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn directories_of_a_store_are_no_links() {
    let Some(world) = used() else { return };
    let elsewhere = world.path().join("elsewhere");
    for name in fs::read_dir(world.store()).unwrap().map(|entry| entry.unwrap()) {
        if !name.file_type().unwrap().is_dir() {
            continue;
        }
        let path = name.path();
        fs::rename(&path, &elsewhere).unwrap();
        let before = everything(&elsewhere);
        symlink(&elsewhere, &path).unwrap();
        run(&world).output().refused(125, &["cannot be used in a store", "a symbolic link, not a directory"]);
        fs::remove_file(&path).unwrap();
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
        run(&world).output().refused(125, &["a FIFO, not a directory"]);
        fs::remove_file(&path).unwrap();
        assert_eq!(everything(&elsewhere), before, "{}", path.display());
        fs::rename(&elsewhere, &path).unwrap();
    }
    assert_eq!(run(&world).ok(), "shared amd64");
}

/// The only file in a directory of the store that is not hidden and no directory.
fn file_in(world: &TestContext, directory: &str) -> PathBuf {
    let directory = world.store().join(directory);
    let paths = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files =
        paths.filter(|path| path.is_file() && !path.file_name().unwrap().as_encoded_bytes().starts_with(b"."));
    files.next().unwrap_or_else(|| panic!("nothing in {}", directory.display()))
}

#[test]
fn files_of_a_store_are_no_links_and_no_fifos() {
    let Some(world) = used() else { return };
    let secret = world.path().join("secret");
    fs::write(&secret, "alias ls=true\n").unwrap();
    let manifest = world.json(&["inspect", TINY])["manifest"]["digest"].as_str().unwrap().to_owned();
    let manifest = world.store().join("blobs/sha256").join(manifest.trim_start_matches("sha256:"));
    let layer = world.store().join("layers").join(&world.stored("layers")[0]);
    let at = |name: &str| world.store().join(name);
    let files = [
        at("VERSION"),
        at("leases/.flock"),
        at(".index.json.flock"),
        at("index.json"),
        file_in(&world, "refs"),
        file_in(&world, "records"),
        file_in(&world, "records/locks"),
        manifest,
        layer.join("done"),
        layer.join("toc"),
    ];
    for path in files {
        let kept = world.path().join("kept");
        fs::rename(&path, &kept).unwrap();
        for fifo in [false, true] {
            if fifo {
                mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
            } else {
                symlink(&secret, &path).unwrap();
            }
            // Nothing waits for the other end, and nothing is written to the link's target.
            let mut commands = vec![run(&world)];
            commands.extend(
                [&["images"][..], &["df"], &["gc", "--dry-run"], &["log"], &["verify", "--dry-run"], &["rm", "no"]]
                    .map(|words| world.hermes(words)),
            );
            for command in commands {
                let output = command.output();
                assert!([0, 1, 3, 4, 125].contains(&output.code()), "{}: {}", path.display(), output.stderr);
            }
            assert_eq!(fs::read_to_string(&secret).unwrap(), "alias ls=true\n", "{}", path.display());
            let _ = fs::remove_file(&path);
            let _ = fs::remove_dir_all(&path);
        }
        fs::rename(&kept, &path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    assert_eq!(run(&world).ok(), "shared amd64");
}

#[test]
fn a_record_is_not_appended_to_another_file() {
    let Some(world) = used() else { return };
    let records = file_in(&world, "records");
    let shell = world.path().join("home/.profile");
    for hard in [false, true] {
        fs::remove_file(&records).unwrap();
        fs::write(&shell, "# mine\n").unwrap();
        if hard {
            fs::hard_link(&shell, &records).unwrap();
        } else {
            symlink(&shell, &records).unwrap();
        }
        let output = world.hermes(["run", "-e", "X=$(touch pwned)", "--image", TINY, "--", "tool"]).output();
        assert_eq!(output.ok(), "shared amd64");
        assert!(output.stderr.contains("cannot record this run in"), "{}", output.stderr);
        assert!(output.stderr.contains(if hard { "2 hard links" } else { "a symbolic link" }), "{}", output.stderr);
        assert_eq!(fs::read_to_string(&shell).unwrap(), "# mine\n");
    }
}

#[test]
fn layers_and_blobs_that_are_links_are_made_again() {
    let Some(world) = used() else { return };
    let elsewhere = world.path().join("elsewhere");
    for place in world.stored("layers").iter().flat_map(|name| [name.clone(), format!("{name}/fs")]) {
        let path = world.store().join("layers").join(place);
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert_eq!(run(&world).ok(), "shared amd64");
        assert!(fs::symlink_metadata(&path).unwrap().is_dir(), "{} is a link", path.display());
        hermes::testing::fs::remove::path(&elsewhere).unwrap();
    }
}

#[test]
fn locks_and_settings_of_another_user_are_refused() {
    let Some(world) = used() else { return };
    let lock = world.image_lock(TINY);
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&world.locks()), 0o700);
    chmod(&world.locks(), 0o777);
    let before = everything(&world.locks());
    run(&world).output().refused(125, &["cannot read the lockfile", "other users can write to it", "ls -la"]);
    let _ = world.import(&tiny("next"), "test.invalid/next:1");
    let next = || world.hermes(["run", "--image", "test.invalid/next:1", "--", "tool"]).output();
    next().refused(125, &["other users can write to it"]);
    assert_eq!(everything(&world.locks()), before);
    chmod(&world.locks(), 0o755);
    chmod(&lock, 0o646);
    run(&world).output().refused(125, &["cannot read the lockfile", "mode is 0646"]);
    chmod(&lock, 0o600);
    assert_eq!(run(&world).ok(), "shared amd64");
    world.configure("max-concurrent = 2\n");
    let config = world.path().join("config/hermes/config.toml");
    chmod(&config, 0o666);
    run(&world).output().refused(125, &["cannot read", "config.toml", "other users can write to it", "chmod go-w"]);
    chmod(&config, 0o644);
    // By a link, as those have it who keep such files elsewhere.
    let dotfile = world.path().join("home/dotfile");
    fs::rename(&config, &dotfile).unwrap();
    symlink(&dotfile, &config).unwrap();
    assert_eq!(run(&world).ok(), "shared amd64");
    if !other_users() {
        return;
    }
    give_away(&dotfile);
    run(&world).output().refused(125, &["config.toml", "belongs to user"]);
    fs::remove_file(&config).unwrap();
    chmod(&lock, 0o644);
    give_away(&lock);
    run(&world).output().refused(125, &["tiny:1.lock", "belongs to user"]);
    fs::remove_file(&lock).unwrap();
    chmod(&world.locks(), 0o777);
    give_away(&world.locks());
    run(&world).output().refused(125, &["cannot", "the lock", "belongs to user"]);
    assert_eq!(
        fs::read_dir(world.locks())
            .unwrap()
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.as_encoded_bytes().ends_with(b".lock")
            })
            .count(),
        0
    );
}

#[test]
fn emulators_that_others_can_change_are_refused() {
    let Some(world) = used().filter(|_| emulation()) else { return };
    let qemu = world.path().join("bin/qemu-aarch64-static");
    fs::create_dir(qemu.parent().unwrap()).unwrap();
    fs::write(&qemu, emulator("own")).unwrap();
    chmod(&qemu, 0o777);
    let _ = world.import(&tiny("foreign"), "test.invalid/foreign:1");
    let run = |path: &str| {
        let words = ["run", "-p", "arm64", "--image", "test.invalid/foreign:1", "--", "tool"];
        world.hermes(words).env("PATH", path).output()
    };
    let bin = qemu.parent().unwrap().to_str().unwrap();
    let parts = ["cannot read the emulator", "other users can write to it", "sha256"];
    run(bin).refused(125, &parts);
    world.configure(&format!("[emulator]\nlinux-aarch64 = '{}'\n", qemu.display()));
    run("/no/where").refused(125, &parts);
    let doctor = world.hermes(["doctor", "--json"]).output();
    let report: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let finding =
        |name: &str| report["findings"].as_array().unwrap().iter().find(|found| found["name"] == name).cloned();
    let found = finding("emulator for linux-aarch64").unwrap();
    assert!(found["ok"] == false && found["detail"].as_str().unwrap().contains("other users can write"), "{found}");
    if other_users() {
        chmod(&qemu, 0o755);
        give_away(&qemu);
        run("/no/where").refused(125, &["cannot read the emulator", "belongs to user"]);
        fs::remove_file(&qemu).unwrap();
        fs::write(&qemu, emulator("own")).unwrap();
    }
    chmod(&qemu, 0o755);
    assert_eq!(run("/no/where").code(), 7);
}

#[test]
fn the_doctor_says_who_can_move_the_store_away() {
    let world = TestContext::empty();
    let place = |store: &Path| {
        let output = world.hermes(["doctor", "--json"]).env("HERMES_STORE", store).output();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let all = report["findings"].as_array().unwrap();
        all.iter().find(|found| found["name"] == "place of the store").unwrap().clone()
    };
    assert_eq!(place(world.store())["ok"], true);
    let shared = world.path().join("shared");
    fs::create_dir(&shared).unwrap();
    chmod(&shared, 0o777);
    let found = place(&shared.join("store"));
    let detail = found["detail"].as_str().unwrap();
    assert!(found["ok"] == false && found["needed"] == false && detail.contains("can rename the store"), "{found}");
    chmod(&shared, 0o1777);
    assert_eq!(place(&shared.join("store"))["ok"], true);
}

/// Whether the user has a group without other members, as Debian and Fedora make one for each user.
pub fn private_group() -> bool {
    let id = |option: &str| crate::support::run("id", &[option], Path::new("/")).trim().to_owned();
    let private = if id("-un") == id("-gn") { Ok(()) } else { Err(format!("the group is {}", id("-gn"))) };
    require("private-group", private)
}

#[test]
fn a_group_of_ones_own_may_write() {
    let Some(world) = TestContext::sandbox() else { return };
    if !private_group() {
        return;
    }
    let _ = world.import(&tiny("shared"), TINY);
    world.configure("max-concurrent = 2\n");
    chmod(&world.path().join("config/hermes/config.toml"), 0o664);
    fs::create_dir_all(world.locks()).unwrap();
    chmod(&world.locks(), 0o775);
    let run = || run(&world).under(&["sh", "-c", "umask 002; exec \"$@\"", "sh"]).output();
    assert_eq!(run().ok(), "shared amd64");
    chmod(&world.image_lock(TINY), 0o664);
    assert_eq!(run().ok(), "shared amd64");
    // A store in a directory that was made before.
    let store = world.path().join("other");
    fs::create_dir(&store).unwrap();
    chmod(&store, 0o775);
    world.hermes(["images"]).env("HERMES_STORE", &store).ok();
    assert_eq!(fs::metadata(&store).unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn a_site_store_is_its_owners() {
    let Some(world) = TestContext::sandbox() else { return };
    let site = TestContext::empty();
    let _ = site.import(&tiny("shared"), TINY);
    let run = || run(&world).env("HERMES_SITE_STORE", site.store()).output();
    let offline = |why: &[&str]| {
        let output = world.hermes(["--offline", "run", "--image", TINY, "--", "tool"]);
        output.env("HERMES_SITE_STORE", site.store()).output().refused(4, why);
    };
    // Others could make its names mean something else.
    chmod(site.store(), 0o777);
    offline(&["skipping site store", "other users can write to it"]);
    chmod(site.store(), 0o755);
    chmod(&site.store().join("refs"), 0o777);
    offline(&["skipping site store", "refs cannot be used in a store"]);
    chmod(&site.store().join("refs"), 0o755);
    let reference = file_in(&site, "refs");
    let kept = site.path().join("kept");
    fs::rename(&reference, &kept).unwrap();
    symlink(&kept, &reference).unwrap();
    offline(&["cannot use site store", "a symbolic link"]);
    fs::rename(&kept, &reference).unwrap();
    if other_users() {
        // Somebody else's, on purpose.
        chmod_all(site.store(), 0o755);
        give_away(site.store());
        let before = everything(site.store());
        assert_eq!(run().ok(), "shared amd64");
        assert_eq!(everything(site.store()), before);
        // In it, only the owner's files count.
        fs::remove_file(world.image_lock(TINY)).unwrap();
        hermes::testing::fs::remove::path(world.store()).unwrap();
        let in_range = |script: &str| Run::new("true").under(&[&RANGE[..], &[script, "sh"]].concat()).ok();
        in_range(&format!("chown -h 2:2 '{}'", reference.display()));
        offline(&["belongs to user"]);
        in_range(&format!("chmod -R 777 '{}'", site.store().display()));
    } else {
        assert_eq!(run().ok(), "shared amd64");
    }
}
