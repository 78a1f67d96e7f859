//! `hermes rebuild --check`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::context::{DEBIAN, MIN, TestContext};
use crate::support::image::{Codec, Content, Layer, layer};
use crate::support::process::{LIMIT, Output, Run};
use crate::support::real_registry::RealRegistry;
use crate::support::require;

/// A context whose `work` is a project beside which builds can count: `/counter` inside.
fn counting() -> Option<TestContext> {
    let world = TestContext::fixtures()?;
    fs::create_dir(world.path().join("counter")).unwrap();
    Some(world)
}

fn rebuild(world: &TestContext, options: &[&str], command: &[&str]) -> Run {
    let counter = format!("{}:/counter", world.path().join("counter").display());
    world.hermes([&["rebuild", "--check", "--image", MIN, "-v", &counter], options, &["--"], command].concat())
}

fn sh(world: &TestContext, options: &[&str], script: &str) -> Run {
    rebuild(world, options, &["sh", "-ec", script])
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", output.text(), output.stderr))
}

/// Writes to `FILE` what number of build it is.
fn counted(file: &str) -> String {
    format!("echo x >>/counter/n; wc -l </counter/n >{file}")
}

/// What is in the store's `tmp/`, of whatever process; other tests may be at work there, so only what is ours by name.
fn kept(world: &TestContext) -> Vec<String> {
    world.stored("tmp").into_iter().filter(|name| name.starts_with("rebuild-")).collect()
}

#[test]
fn the_same_twice() {
    let Some(world) = counting() else { return };
    world.write("src/input", "input");
    fs::set_permissions(world.work().join("src/input"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("/etc/passwd", world.work().join("link")).unwrap();
    let before = fs::metadata(world.work().join("src/input")).unwrap();
    let mark = world.path().display();
    let script = format!(
        "test {mark}; test $(pwd) = /work; test $(stat -c %a:%Y src/input) = $WAS; mkdir out; cp src/input out/; \
         ln -s input out/link; echo >>src/input; echo built"
    );
    let was = format!("WAS=640:{}", before.mtime());
    let output = sh(&world, &["--json", "-e", &was], &script).output();
    let found = json(output.exits(0));
    assert_eq!((&found["compared"], &found["same"], &found["differing"]), (&3.into(), &true.into(), &0.into()));
    assert_eq!(found["files"].as_array().unwrap().len(), 0);
    assert_eq!(found["builds"][0]["tree"], Value::Null);
    // What the builds print is no data, and the project is as it was.
    assert_eq!(output.stderr.matches("\nbuilt\n").count(), 2, "{}", output.stderr);
    assert!(output.stderr.contains("twice: "), "{}", output.stderr);
    assert!(!world.work().join("out").exists());
    assert_eq!(world.read("src/input"), "input");
    // A run each is on record.
    let text = world.records();
    assert_eq!(text.lines().filter(|line| line.contains(&format!("test {mark};"))).count(), 2);
}

#[test]
fn what_differs_is_shown_and_kept() {
    let Some(world) = counting() else { return };
    let before = kept(&world);
    let script = format!(
        "{}; echo same >equal; echo same >same; cp number bad$(printf '\\033')name; chmod $((4 + $(cat number)))00 same",
        counted("number")
    );
    let output = sh(&world, &[], &script).output();
    let text = output.exits(1).text();
    assert!(text.contains("VERDICT  PRODUCT"), "{text}");
    assert!(text.contains("line 1: '1' / '2'"), "{text}");
    assert!(text.contains("mode 0500 / 0600"), "{text}");
    assert!(text.contains("4 compared: 1 the same, 0 the same but for compiler marks, 3 different"), "{text}");
    assert!(text.contains("bad\\u{1b}name") && !text.contains('\x1b'), "{text:?}");
    let trees: Vec<PathBuf> =
        text.lines().filter_map(|line| line.split_once(", in ")).map(|(_, path)| path.into()).collect();
    assert_eq!(trees.len(), 2, "{text}");
    let numbers: Vec<_> = trees.iter().map(|tree| fs::read_to_string(tree.join("number")).unwrap()).collect();
    assert_eq!(numbers, ["1\n", "2\n"]);
    let new: Vec<_> = kept(&world).into_iter().filter(|name| !before.contains(name)).collect();
    assert!(new.contains(&trees[0].parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned()), "{new:?}");
    // The next process does not clear it away: it is the user's for a week.
    world.hermes(["gc", "--dry-run"]).ok();
    assert!(trees.iter().all(|tree| tree.join("number").exists()));
    fs::remove_dir_all(trees[0].parent().unwrap()).unwrap();
}

#[test]
fn only_what_was_named_is_compared() {
    let Some(world) = counting() else { return };
    let script = format!("{}; mkdir -p out/lib; echo same >out/lib/file", counted("number"));
    let output = sh(&world, &["--output", "out", "--json"], &script).output();
    assert_eq!(json(output.exits(0))["compared"], 1);
    fs::remove_file(world.path().join("counter/n")).unwrap();
    let output = sh(&world, &["--output", "out", "--output", "number", "--json", "--keep", "trees"], &script).output();
    let found = json(output.exits(1));
    assert_eq!((&found["compared"], &found["files"][0]["path"]), (&2.into(), &"number".into()));
    assert_eq!(found["files"][0]["details"][0]["what"], "line");
    // Where the user wanted them, and not in one another.
    assert_eq!(world.read("trees/first/number"), "1\n");
    assert_eq!(world.read("trees/second/number"), "2\n");
    assert!(!world.work().join("trees/first/trees").exists());

    sh(&world, &["--keep", "trees"], "true").output().refused(2, &["cannot keep the trees", "does not exist yet"]);
    sh(&world, &["--output", "none"], "echo >made").output().refused(2, &["neither build created none"]);
    sh(&world, &["--output", "../out"], "true").output().refused(2, &["is outside the project"]);
    sh(&world, &["--output", "/etc"], "true").output().refused(2, &["is outside the project"]);
    sh(&world, &[], "echo >/tmp/elsewhere").output().refused(2, &["a file in the project", "/work"]);
}

#[test]
fn trees_are_kept_on_another_file_system() {
    let Some(world) = counting() else { return };
    let Ok(shm) = tempfile::tempdir_in("/dev/shm") else {
        require("shm", Err("no /dev/shm".into()));
        return;
    };
    let place = shm.path().join("trees");
    let script = format!("{}; mkdir -p out; ln number out/again; ln -s number link", counted("number"));
    sh(&world, &["--output", "./out/", "--keep", place.to_str().unwrap()], &script).output().exits(1);
    for (side, number) in [("first", "1\n"), ("second", "2\n")] {
        assert_eq!(fs::read_to_string(place.join(side).join("link")).unwrap(), number);
        assert_eq!(fs::metadata(place.join(side).join("out/again")).unwrap().nlink(), 2);
    }
}

#[test]
fn what_was_not_built_is_not_compared() {
    let Some(world) = counting() else { return };
    world.write("of-this-test", "");
    sh(&world, &[], "exit 7").output().refused(2, &["the first build failed: exit code 7"]);
    let second = format!("{}; test $(cat number) = 1", counted("number"));
    sh(&world, &[], &second).output().refused(2, &["the second build failed: exit code 1"]);
    sh(&world, &["--timeout", "200ms"], "sleep 60")
        .output()
        .refused(2, &["the first build failed: exit code 124", "timed out", "--timeout"]);
    rebuild(&world, &[], &["no-such-program"]).output().refused(2, &["no-such-program"]);
    sh(&world, &["--explain"], "true").output().refused(2, &["--explain cannot be used with rebuild"]);
    sh(&world, &["--isolation", "landlock"], "true").output().refused(2, &["--isolation landlock cannot be used with"]);
    sh(&world, &["--vary", "accel", "--accel", "off"], "true").output().refused(2, &["--accel conflicts with --vary"]);
    sh(&world, &["--vary", "weather"], "true").output().exits(2);
    world.hermes(["rebuild", "--image", MIN, "--", "true"]).output().exits(2);
    let offline = ["--offline", "rebuild", "--check", "--image", "test.invalid/none:1", "--", "true"];
    world.hermes(offline).output().refused(4, &["--offline"]);
    let is_ours = |name: &String| world.store().join("tmp").join(name).join("first/of-this-test").exists();
    assert!(!kept(&world).iter().any(is_ours), "nothing is kept of what was not compared");
}

#[test]
fn another_image_is_no_check() {
    let Some(world) = counting() else { return };
    // Debian with a file more, locked in its place by the first build.
    let inspected = world.json(&["inspect", MIN]);
    let blob = |digest: &Value| -> Value {
        let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
        serde_json::from_slice(&fs::read(world.store().join("blobs/sha256").join(hex)).unwrap()).unwrap()
    };
    let manifest = blob(&inspected["manifest"]["digest"]);
    let diff_id = blob(&manifest["config"]["digest"])["rootfs"]["diff_ids"][0].as_str().unwrap().parse().unwrap();
    let debian = Layer::known(serde_json::from_value(manifest["layers"][0].clone()).unwrap(), diff_id);
    let mut content = Content::default();
    let more = layer(Codec::Gzip, &[("usr/share/more", b"more")]);
    let other = content.image(("linux", "amd64", None), &[debian, more]);
    let name = "test.invalid/rebuild/other:1";
    let _ = world.import(&content.tag("1", &other), name);
    for (image, lock) in [(MIN, "one.lock"), (name, "other.lock")] {
        world.hermes(["--lock", lock, "run", "--image", image, "--", "true"]).ok();
    }
    let other = world.read("other.lock").replace(name, MIN);
    fs::write(world.path().join("counter/other.lock"), other).unwrap();
    fs::rename(world.work().join("one.lock"), world.path().join("counter/used.lock")).unwrap();
    let lock = world.path().join("counter/used.lock");
    let script = "echo >made; cat /counter/other.lock >/counter/used.lock";
    let words = ["--lock", lock.to_str().unwrap()];
    sh(&world, &words, script).output().refused(3, &["differ in the image", "--locked"]);
    fs::remove_file(world.work().join("other.lock")).unwrap();
}

#[test]
fn the_project_is_what_is_mounted_at_work() {
    let Some(world) = counting() else { return };
    let project = world.path().join("project");
    fs::create_dir_all(project.join("sub")).unwrap();
    fs::write(project.join("sub/input"), "here").unwrap();
    let volume = format!("{}:/work", project.display());
    let output = sh(&world, &["-v", &volume, "--json"], "cp sub/input made; rm sub/input").output();
    assert_eq!(json(output.exits(0))["compared"], 1);
    assert!(project.join("sub/input").exists() && !project.join("made").exists());
}

#[test]
fn a_hostile_build_hangs_nothing_and_reaches_nothing() {
    let Some(world) = counting() else { return };
    fs::write(world.path().join("secret"), "outside").unwrap();
    let script = format!(
        "{}; mkfifo fifo; ln -s loop loop; ln -s {} out; ln -s /etc/shadow shadow; truncate -s 1T hole; mkdir locked; \
         touch locked/in; chmod 0 locked; printf '\\177ELF\\002\\001\\001' >elf; head -c 1000000 /dev/zero >>elf; cat number >>elf; \
         printf '!<arch>\\n' >ar; cat number >>ar; rm number",
        counted("number"),
        world.path().join("secret").display()
    );
    let output = sh(&world, &["--json"], &script).output();
    let found = json(output.exits(1));
    let said = |path: &str| {
        let files = found["files"].as_array().unwrap();
        files
            .iter()
            .find(|file| file["path"] == path)
            .map(|file| file["details"][0]["what"].as_str().unwrap().to_owned())
    };
    assert_eq!(said("elf").as_deref(), Some("content"));
    assert_eq!(said("ar").as_deref(), Some("line"));
    assert_eq!(said("locked").as_deref(), Some("unread"), "what cannot be read is not the same");
    assert_eq!((&found["compared"], &found["files"].as_array().unwrap().len()), (&8.into(), &3));
    let place = PathBuf::from(found["builds"][0]["tree"].as_str().unwrap());
    hermes::testing::fs::remove::path(place.parent().unwrap()).unwrap();
}

#[test]
fn compiled_twice_in_the_same_way() {
    let Some(world) = TestContext::fixtures() else { return };
    world.write("f.c", "int f(void) { return NUMBER; }\nconst char *when = __DATE__;\n");
    let makefile = "all: libf.a libf.so\nf.o: f.c\n\techo x >>/counter/n\n\t$(CC) -g -fPIC -DNUMBER=`wc -l </counter/n` -c f.c\n\
                    libf.a: f.o\n\tar rcsD $@ f.o\nlibf.so: f.o\n\t$(CC) -shared -o $@ f.o\n";
    world.write("Makefile", makefile);
    fs::create_dir(world.path().join("counter")).unwrap();
    let counter = format!("{}:/counter", world.path().join("counter").display());
    let words =
        ["rebuild", "--check", "--image", DEBIAN, "-v", &counter, "--json", "--keep", "trees", "--", "make", "-s"];
    let output = world.hermes(words).output();
    let found = json(output.exits(1));
    let details = |path: &str| {
        let files = found["files"].as_array().unwrap();
        let file = files.iter().find(|file| file["path"] == path).unwrap_or_else(|| panic!("{path}: {found}"));
        file["details"].as_array().unwrap().clone()
    };
    assert_eq!((&found["compared"], &found["differing"]), (&3.into(), &3.into()));
    assert!(details("f.o").iter().any(|detail| detail["section"] == ".text"), "{found}");
    assert!(
        details("libf.a").iter().any(|detail| detail["member"] == "f.o" && detail["section"] == ".text"),
        "{found}"
    );
    assert!(details("libf.so").iter().any(|detail| detail["what"] == "build-id"), "{found}");
    // Time stamps are kept, so that make rebuilds nothing in a tree that is built.
    let words = ["run", "--image", DEBIAN, "--", "make", "-C", "trees/first", "-q"];
    world.hermes(words).ok();
    let project = format!("{}:/work", world.work().join("trees/first").display());
    let words =
        ["rebuild", "--check", "--image", DEBIAN, "-v", &project, "--", "sh", "-c", "make -q && echo >up-to-date"];
    assert!(world.hermes(words).ok().starts_with("1 compared: 1 the same"));
}

#[test]
fn compilers_of_two_packages() {
    let Some(world) = TestContext::fixtures() else { return };
    world.write("f.c", "int f(void) { return 1; }\n");
    fs::create_dir(world.path().join("counter")).unwrap();
    let counter = format!("{}:/counter", world.path().join("counter").display());
    let script = "echo x >>/counter/n; printf 'GCC: (package %s) 12.2.0\\0' $(wc -l </counter/n) >/tmp/comment; \
                  gcc -g -c f.c; objcopy --update-section .comment=/tmp/comment f.o; ar rcsD libf.a f.o";
    let words = ["rebuild", "--check", "--image", DEBIAN, "-v", &counter, "--keep", "trees", "--", "sh", "-ec", script];
    let output = world.hermes(words).output();
    // Both were to be built with the same one.
    let text = output.exits(1).text();
    assert!(
        text.contains("compiler-marks  f.o      .comment 'GCC: (package 1) 12.2.0' / 'GCC: (package 2) 12.2.0'"),
        "{text}"
    );
    assert!(text.contains("compiler-marks  libf.a   f.o: .comment"), "{text}");
    assert!(text.contains("2 compared: 0 the same, 2 the same but for compiler marks, 0 different"), "{text}");
}

#[test]
fn from_an_empty_store() {
    let Some(world) = TestContext::sandbox() else { return };
    let Some(registry) = RealRegistry::of_fixtures(false) else { return };
    world.configure(&format!("[registry.\"docker.io\"]\nmirrors = [\"{}\"]\n", registry.host()));
    world.write("input", "input");
    let words = ["rebuild", "--check", "--image", MIN, "--keep", "trees", "--", "cp", "input", "output"];
    let output = world.hermes(words).output();
    assert!(output.exits(0).text().starts_with("1 compared: 1 the same"), "{}", output.text());
    // What was fetched came before what was copied.
    assert_eq!(output.stderr.matches("twice: ").count(), 1, "{}", output.stderr);
    assert_eq!(world.read("trees/second/output"), "input");
    assert!(world.stored("tmp").is_empty(), "{:?}", world.stored("tmp"));
}

#[test]
fn an_emulated_build() {
    let Some(world) = TestContext::foreign() else { return };
    world.write("f.c", "int f(void) { return 1; }\n");
    let words = ["rebuild", "--check", "--image", DEBIAN, "-p", "arm64", "--json", "--", "gcc", "-g", "-c", "f.c"];
    let output = world.hermes(words).output();
    assert_eq!(json(output.exits(0))["identical"], 1);
}

#[test]
fn what_a_killed_rebuild_left_is_cleared_away() {
    let Some(world) = counting() else { return };
    world.write("of-the-killed-one", "");
    let running = sh(&world, &[], "touch /counter/ready; sleep 60").start();
    let limit = Instant::now() + LIMIT;
    while !world.path().join("counter/ready").exists() {
        assert!(Instant::now() < limit);
        std::thread::sleep(Duration::from_millis(5));
    }
    let copies = || {
        let trees = world.stored("tmp").into_iter().map(|name| world.store().join("tmp").join(name).join("first"));
        trees.filter(|tree| tree.join("of-the-killed-one").exists()).count()
    };
    assert_eq!(copies(), 1);
    running.signal(Signal::KILL);
    let _ = running.wait();
    fs::remove_file(world.work().join("of-the-killed-one")).unwrap();
    sh(&world, &[], "echo >made").ok();
    assert_eq!(copies(), 0);
}
