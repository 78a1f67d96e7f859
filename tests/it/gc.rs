//! `gc`, `rm` and `df`: only what no image, lock or lease refers to is removed.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::OFlags;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::context::{MIN, TestContext, tool};
use crate::support::elf::tiny;
use crate::support::fake_registry::FakeRegistry;
use crate::support::process::{LIMIT, Running};

const A: &str = "test.invalid/a:1";
const B: &str = "test.invalid/b:1";

/// A run that goes on until there is a file `go`, and then reads its root.
fn waiting(world: &TestContext) -> Running {
    let script =
        "echo started; while [ ! -e go ]; do sleep 0.02; done; cat /etc/debian_version; find /usr -type f | wc -l";
    let running = world.sh(&[], script).start();
    running.until("started");
    running
}

/// Lets it go on, and waits for its end, which must be a good one.
fn let_go(world: &TestContext, run: Running) {
    let go = world.write("go", "");
    run.wait().ok();
    fs::remove_file(go).unwrap();
}

/// Every path of the store, with what tells whether it was changed.
fn listing(store: &Path) -> Vec<(PathBuf, u64, SystemTime)> {
    let mut all = Vec::new();
    let mut waiting = vec![store.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            all.push((entry.path(), meta.len(), meta.modified().unwrap()));
            if meta.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    all.sort();
    all
}

fn verified(world: &TestContext) {
    let text = world.hermes(["verify"]).ok();
    assert!(text.ends_with("no corruption found"), "{text}");
}

/// Says that the layers of an image were last used so many days ago.
fn age(world: &TestContext, image: &str, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
    let json = world.json(&["inspect", image]);
    for layer in json["layers"].as_array().unwrap() {
        let hex = layer["diff-id"].as_str().unwrap().trim_start_matches("sha256:");
        File::open(world.store().join("layers").join(hex)).unwrap().set_modified(then).unwrap();
    }
    for name in world.stored("refs") {
        let path = world.store().join("refs").join(name);
        if fs::read_to_string(&path).unwrap().contains(image) {
            File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
        }
    }
}

#[test]
fn what_a_run_uses_stays_until_its_end() {
    let Some(world) = TestContext::with_debian() else { return };
    let run = waiting(&world);
    assert_eq!(world.stored("leases").len(), 2, "the gate, and the run's");
    // Neither a budget nor the removal of its name takes it away.
    let removed = world.hermes(["rm", MIN]).ok();
    assert!(removed.contains("with 0 blobs and 0 layers") && removed.contains("a hermes that is running"), "{removed}");
    let output = world.hermes(["gc", "--keep-bytes", "0"]).output();
    let text = output.exits(1).text();
    assert!(text.contains("over the limit, kept for\n  a hermes that is running"), "{text}");
    world.write("go", "");
    let output = run.wait();
    let text = output.exits(0).text();
    assert!(text.lines().last().unwrap().parse::<u32>().unwrap() > 1000, "{text}");
    assert_eq!(world.stored("leases"), [".flock"]);
    // Then it goes.
    world.hermes(["gc"]).ok();
    for directory in ["blobs/sha256", "layers", "tmp", "trash"] {
        assert_eq!(world.stored(directory), [""; 0], "{directory}");
    }
}

#[test]
fn the_lease_of_a_killed_run_is_known_to_be_dead() {
    let Some(world) = TestContext::with_debian() else { return };
    let run = waiting(&world);
    run.signal(Signal::KILL);
    run.wait().exits(-9);
    world.hermes(["rm", MIN]).ok();
    world.hermes(["gc", "--keep-bytes", "0"]).ok();
    assert_eq!((world.stored("leases"), world.stored("layers")), (vec![".flock".to_owned()], vec![]));
}

/// A run that had to fetch executes itself again: the second program takes over the lease of the first.
#[test]
fn a_lease_outlives_the_start_anew_after_fetching() {
    let Some(world) = TestContext::sandbox() else { return };
    let registry = FakeRegistry::serve(tiny("a"), |_, _, reply| reply);
    let image = format!("{}/lib/tiny:1", registry.host());
    // Into a full pipe, so that it does not end before it was looked at.
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    let mut full = 0;
    while let Ok(written) = writer.write(&[b'-'; 4096]) {
        full += written;
    }
    rustix::fs::fcntl_setfl(&writer, OFlags::empty()).unwrap();
    let mut run = world.hermes(["run", "--image", &image, "--", "tool"]);
    let mut child = run.command.stdout(writer).spawn().unwrap();
    drop(run);
    let leases = || {
        let names = world.stored("leases").into_iter().filter(|name| name != ".flock");
        let mut paths: Vec<_> = names.map(|name| world.store().join("leases").join(name)).collect();
        paths.sort_by_key(|path| fs::metadata(path).unwrap().modified().unwrap());
        paths
    };
    let limit = Instant::now() + LIMIT;
    while leases().len() < 2 {
        assert!(Instant::now() < limit, "there is no second lease");
        std::thread::sleep(Duration::from_millis(2));
    }
    let first = leases().remove(0);
    assert!(File::open(&first).unwrap().try_lock().is_err(), "the first program's lease is nobody's");
    let mut text = Vec::new();
    reader.read_to_end(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(&text[full..], b"a amd64\n");
    assert_eq!(leases(), [first]);
    world.hermes(["gc"]).ok();
    assert_eq!(world.stored("leases"), [".flock"]);
}

#[test]
fn lock_files_keep_what_they_name() {
    let Some(world) = TestContext::sandbox() else { return };
    let _ = (world.import(&tiny("a"), A), world.import(&tiny("b"), B));
    let lock = world.work().join("project.lock");
    let run = |image: &str| {
        world.hermes(["--offline", "--lock"]).args([&lock]).args(["run", "--image", image, "--", "tool"]).output()
    };
    assert_eq!(run(A).ok(), "a amd64");
    assert_eq!(world.hermes(["--offline", "run", "--image", B, "--", "tool"]).ok(), "b amd64");
    let removed = world.hermes(["rm", A]).ok();
    assert!(removed.contains("shared content is kept for") && removed.contains("project.lock"), "{removed}");
    // What hermes remembered for itself goes with the name.
    let removed = world.json(&["rm", B]);
    assert_eq!(removed[0]["kept-for"], serde_json::json!([lock]), "the base layer is shared");
    world.hermes(["gc"]).ok();
    assert_eq!(run(A).ok(), "a amd64");
    let layers = world.stored("layers").len();
    assert_eq!(layers, 2);

    // What a lock needs that cannot be read is not known.
    let good = fs::read(&lock).unwrap();
    fs::write(&lock, "version = 1\nversion = 1\n").unwrap();
    let refused = world.hermes(["gc"]).output();
    refused.refused(1, &["project.lock needs in the store", "hermes gc --forget"]);
    assert!(world.hermes(["df"]).ok().contains("'hermes gc' would fail"));
    assert_eq!(world.stored("layers").len(), layers);
    fs::write(&lock, good).unwrap();
    world.hermes(["gc"]).ok();
    assert_eq!(world.stored("layers").len(), layers);
    assert!(world.hermes(["df"]).ok().contains("project.lock"));

    // Forgotten by wish, it is remembered with the next use; one that is gone is forgotten.
    let forget = |more: &[&str]| world.hermes([&["gc", "--forget", "./project.lock"], more].concat()).output();
    let text = forget(&["--dry-run"]).ok();
    assert!(text.contains("WOULD REMOVE") && text.contains("unpacked layers           2"), "{text}");
    assert_eq!(world.stored("layers").len(), layers);
    // Also one that cannot be read.
    let good = fs::read(&lock).unwrap();
    fs::write(&lock, "no lock").unwrap();
    forget(&[]).ok();
    fs::write(&lock, good).unwrap();
    assert_eq!(world.stored("layers"), [""; 0]);
    forget(&[]).refused(1, &["keeps no images for the lockfile", "hermes df"]);
    let _ = world.import(&tiny("a"), A);
    assert_eq!(run(A).ok(), "a amd64");
    world.hermes(["rm", A]).ok();
    assert_eq!(world.stored("layers").len(), layers);
    let locks = world.stored("gcroots").len();
    fs::remove_file(&lock).unwrap();
    world.hermes(["gc"]).ok();
    assert_eq!((world.stored("layers"), world.stored("gcroots").len()), (vec![], locks - 1));
}

#[test]
fn a_budget_takes_the_least_recently_used_first() {
    let Some(world) = TestContext::sandbox() else { return };
    let _ = (world.import(&tiny("a"), A), world.import(&tiny("b"), B));
    for image in [A, B] {
        world.hermes(["pull", "--image", image]).ok();
    }
    // Named by nothing but themselves.
    fs::remove_dir_all(world.locks()).unwrap();
    age(&world, A, 3);
    age(&world, B, 2);
    let left = |json: &Value| json["left"]["inodes"].as_u64().unwrap();
    let all = left(&world.json(&["gc", "--dry-run"]));
    let gc = |inodes: u64, dry: &[&str]| world.json(&[&["gc", "--max-inodes", &inodes.to_string()], dry].concat());
    // A dry run says the same as what is then done, and changes nothing.
    let before = listing(world.store());
    let dry = gc(all - 1, &["--dry-run"]);
    assert_eq!(listing(world.store()), before);
    let mut done = gc(all - 1, &[]);
    done["dry-run"] = true.into();
    assert_eq!(dry, done);
    // One layer of the older image went; it comes back without a network.
    assert_eq!((&done["layers"]["count"], done["images"].as_array().unwrap().len()), (&1.into(), 0));
    assert_eq!(world.hermes(["--offline", "run", "--image", B, "--", "tool"]).ok(), "b amd64");
    assert_eq!(world.hermes(["--offline", "run", "--image", A, "--", "tool"]).ok(), "a amd64");
    fs::remove_dir_all(world.locks()).unwrap();
    age(&world, A, 1);
    age(&world, B, 2);
    // All layers, and then an image.
    let blobs = world.stored("blobs/sha256").len() as u64;
    let done = gc(blobs - 1, &[]);
    assert_eq!((&done["layers"]["count"], &done["images"]), (&3.into(), &serde_json::json!([B])));
    assert_eq!(world.hermes(["--offline", "run", "--image", A, "--", "tool"]).ok(), "a amd64");
    world.hermes(["--offline", "run", "--image", B, "--", "tool"]).output().exits(4);
    // What a lock file names is packed, but not removed.
    let output = world.hermes(["gc", "--keep-bytes", "0"]).output();
    let text = output.exits(1).text();
    assert!(text.contains("over the limit, kept for") && text.contains("a:1.lock"), "{text}");
    assert_eq!(world.stored("layers"), [""; 0]);
    assert_eq!(world.hermes(["--offline", "run", "--image", A, "--", "tool"]).ok(), "a amd64");
    verified(&world);
    world.hermes(["gc", "--keep-bytes", "1.5Q"]).output().exits(2);
}

#[test]
fn litter_is_collected_and_told_of() {
    let Some(world) = TestContext::sandbox() else { return };
    let _ = world.import(&tiny("a"), A);
    let (old, new, used) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
    for name in [&old, &new, &used] {
        fs::write(world.store().join("partial").join(name), vec![1; 10_000]).unwrap();
    }
    let then = SystemTime::now() - Duration::from_secs(8 * 24 * 3600);
    let file = File::options().write(true).open(world.store().join("partial").join(&old)).unwrap();
    file.set_modified(then).unwrap();
    // Somebody fetches the rest.
    let writer = File::options().write(true).open(world.store().join("partial").join(&used)).unwrap();
    writer.lock().unwrap();
    fs::create_dir(world.store().join("trash/0123456789ab-1-x")).unwrap();
    File::open(world.store().join("trash/0123456789ab-1-x")).unwrap().set_modified(then).unwrap();
    // Merged trees that belong to no image.
    fs::create_dir_all(world.store().join("roots").join(&old).join("fs")).unwrap();
    let text = world.hermes(["gc", "-n"]).ok();
    for part in ["WOULD REMOVE", "interrupted downloads           2", "left by crashes                 1", "would free"]
    {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let json = world.json(&["gc"]);
    let counts = ["blobs", "layers", "trees", "partial", "litter"].map(|part| json[part]["count"].as_u64().unwrap());
    assert_eq!(counts, [0, 0, 1, 2, 1], "{json}");
    assert_eq!((world.stored("partial"), world.stored("trash"), world.stored("roots")), (vec![used], vec![], vec![]));
    let text = world.hermes(["gc"]).ok();
    assert!(text.starts_with("freed 0 B in 0 files; "), "{text}");
}

#[test]
fn df_tells_where_the_room_goes() {
    let Some(world) = TestContext::sandbox() else { return };
    let _ = (world.import(&tiny("a"), A), world.import(&tiny("b"), B));
    assert_eq!(world.hermes(["run", "--image", A, "--", "tool"]).ok(), "a amd64");
    let json = world.json(&["df"]);
    assert_eq!(json["layers"]["count"], 2);
    assert_eq!(json["blobs"]["count"].as_u64(), Some(world.stored("blobs/sha256").len() as u64));
    let total: u64 = ["blobs", "layers", "records"].iter().map(|part| json[part]["bytes"].as_u64().unwrap()).sum();
    assert_eq!(json["total"]["bytes"], total, "{json}");
    // Both have the base layer; only one has its own layer unpacked.
    let images = json["images"].as_array().unwrap();
    let of = |at: usize, key: &str| images[at][key].as_u64().unwrap();
    assert_eq!((images[0]["reference"].as_str(), images[1]["reference"].as_str()), (Some(A), Some(B)));
    assert!(of(0, "bytes") - of(0, "unique-bytes") >= 200_000, "{json}");
    assert!(of(0, "unique-bytes") > of(1, "unique-bytes"), "{json}");
    assert_eq!(json["garbage"]["count"], 0);
    let text = world.hermes(["df"]).ok();
    for part in ["unpacked layers", "LAST USED", A, "a:1.lock", "'hermes gc' would free nothing"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    // What it says gc would free, gc frees.
    fs::remove_dir_all(world.locks()).unwrap();
    let hex = fs::read_dir(world.store().join("refs")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(hex).unwrap();
    let (df, gc) = (world.json(&["df"]), world.json(&["gc"]));
    let freed: u64 = ["blobs", "layers"].iter().map(|part| gc[part]["bytes"].as_u64().unwrap()).sum();
    assert!(freed > 0 && df["garbage"]["bytes"] == freed, "{df} {gc}");
}

#[test]
fn without_locks_nothing_is_collected() {
    let Some(world) = TestContext::sandbox() else { return };
    if !tool("strace") {
        return;
    }
    let _ = world.import(&tiny("a"), A);
    let without =
        |words: &[&str]| world.hermes(words).strace(&world.path().join("trace"), "inject=flock:error=ENOLCK").output();
    without(&["gc"]).refused(1, &["does not support locks (flock)", "leases", "HERMES_STORE"]);
    assert_eq!(without(&["run", "--image", A, "--", "tool"]).ok(), "a amd64");
    assert_eq!(world.stored("leases"), [".flock"]);
    // One image at a time goes all the same.
    without(&["rm", A]).ok();
    assert_eq!(world.stored("layers"), [""; 0]);
}

#[test]
fn without_a_place_for_a_lease_everything_is_kept() {
    let Some(world) = TestContext::with_debian() else { return };
    let (leases, gate) = (world.store().join("leases"), world.store().join("leases/.flock"));
    let_go(&world, waiting(&world));
    let modes = |directory, file| {
        fs::set_permissions(&leases, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&gate, fs::Permissions::from_mode(file)).unwrap();
        fs::set_permissions(&leases, fs::Permissions::from_mode(directory)).unwrap();
    };
    let free = || File::open(&gate).unwrap().try_lock().is_ok();
    // As on a disk without room, and as on a read-only file system.
    for file in [0o644, 0o444] {
        modes(0o555, file);
        let run = waiting(&world);
        assert!(world.stored("leases") == [".flock"] && !free(), "{file:o}");
        let_go(&world, run);
        assert!(free(), "{file:o}");
    }
    // Where there is nothing to lock either, it runs all the same.
    modes(0o555, 0o000);
    let_go(&world, waiting(&world));
    modes(0o755, 0o644);
}

/// Runs and pulls of several images, while another removes all it can, again and again.
#[test]
fn gc_takes_nothing_from_those_who_work() {
    let Some(world) = TestContext::sandbox() else { return };
    let registries = ["a", "b", "c"].map(|word| FakeRegistry::serve(tiny(word), |_, _, reply| reply));
    let images = registries.each_ref().map(|registry| format!("{}/lib/tiny:1", registry.host()));
    let (done, collected) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let (world, images, done, collected) = (&world, &images, &done, &collected);
        let workers: Vec<_> = (0..10)
            .map(|worker: usize| {
                scope.spawn(move || {
                    for round in 0..5 {
                        let at = (worker + round) % 3;
                        if worker >= 8 {
                            world.hermes(["pull", &images[at]]).ok();
                            continue;
                        }
                        // A lock file of its own that comes and goes.
                        let lock = world.work().join(format!("{worker}.lock"));
                        let run = world.hermes(["--lock"]).args([&lock]);
                        let text = run.args(["run", "--image", &images[at], "--", "tool"]).ok();
                        assert_eq!(text, format!("{} amd64", ["a", "b", "c"][at]));
                        if round % 2 == 0 {
                            fs::remove_file(lock).unwrap();
                        }
                    }
                })
            })
            .collect();
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                let output = world.hermes(["gc", "--json", "--keep-bytes", "0"]).output();
                assert!(matches!(output.code(), 0 | 1) && !output.stderr.contains("error"), "{}", output.stderr);
                let json: Value = serde_json::from_slice(&output.stdout).unwrap();
                let count = json["layers"]["count"].as_u64().unwrap() + json["blobs"]["count"].as_u64().unwrap();
                collected.fetch_add(usize::try_from(count).unwrap(), Ordering::Relaxed);
            }
        });
        let ended: Vec<_> = workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok));
    });
    assert!(collected.into_inner() > 0, "gc never found anything to do");
    verified(&world);
    for (image, word) in images.iter().zip(["a", "b", "c"]) {
        assert_eq!(world.hermes(["run", "--image", image, "--", "tool"]).ok(), format!("{word} amd64"));
    }
    verified(&world);
}

#[test]
fn killed_at_any_moment_gc_leaves_a_store_that_works() {
    let Some(world) = TestContext::sandbox() else { return };
    let _ = world.import(&tiny("a"), A);
    let run = || assert_eq!(world.hermes(["--offline", "run", "--image", A, "--", "tool"]).ok(), "a amd64");
    let gc = || world.hermes(["gc", "--keep-bytes", "0"]);
    run();
    let clock = Instant::now();
    gc().output().exits(1);
    let whole = clock.elapsed();
    for round in 1..=20 {
        run();
        let gc = gc().start();
        std::thread::sleep(whole * round / 20);
        gc.signal(Signal::KILL);
        let _ = gc.wait();
        // What is there is whole, and what is not comes back.
        verified(&world);
    }
    run();
    world.hermes(["gc"]).ok();
    assert_eq!((world.stored("trash"), world.stored("tmp")), (vec![], vec![]));
}
