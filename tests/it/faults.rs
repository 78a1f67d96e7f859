//! Full, broken and read-only disks, and resource limits: the error names each with its remedy, and the store works
//! again once the fault is gone.

use std::fs;
use std::path::Path;

use crate::support::context::{TestContext, tool};
use crate::support::elf::{Machine, program, tiny};
use crate::support::fake_registry::{FakeRegistry, Reply};
use crate::support::fsck::{assert_consistent, assert_no_orphans};
use crate::support::image::{Codec, Content, layer, noise};
use crate::support::process::{Output, Run};

/// What can become of a call, and which calls it is tried on.
const FAULTS: [(&str, &str, &[&str]); 6] = [
    (
        "ENOSPC",
        "No space left on device",
        &["write", "mkdir", "mkdirat", "openat", "rename", "renameat", "syncfs", "fdatasync"],
    ),
    ("EDQUOT", "Disk quota exceeded", &["write", "mkdir", "mkdirat", "openat", "linkat"]),
    (
        "EIO",
        "Input/output error",
        &["read", "write", "mkdirat", "rename", "syncfs", "fdatasync", "utimensat", "fchmod"],
    ),
    ("EMFILE", "Too many open files", &["openat"]),
    ("ENFILE", "Too many open files in system", &["openat"]),
    ("EROFS", "Read-only file system", &["openat", "mkdir", "mkdirat", "rename", "renameat", "symlinkat", "unlink"]),
];
/// Of the calls of one kind that a command makes on its store, so many fail, one at a time.
const SPREAD: usize = 5;

const NAME: &str = "test.invalid/faults:1";

/// A command, to be run again and again on the same store.
struct Victim<'a> {
    world: &'a TestContext,
    /// Makes the store what it is before.
    before: &'a dyn Fn(),
    command: &'a dyn Fn() -> Run,
    /// The exit code of a failure.
    code: i32,
    /// Looks whether it did what it should.
    after: &'a dyn Fn(&str),
    /// Calls that it does not make in the same order each time: another than was meant would fail.
    unsteady: &'a [&'a str],
}

impl Victim<'_> {
    /// Lets calls on the store fail; how often that was, and how often it was the command's end.
    fn fail_everywhere(&self) -> (usize, usize) {
        let (mut tries, mut failures) = (0, 0);
        for (error, text, calls) in FAULTS {
            for call in calls.iter().filter(|call| !self.unsteady.contains(call)) {
                let points = self.calls_on_the_store(call);
                let last = points.len().min(SPREAD);
                for point in 0..last {
                    let nth = points[point * points.len() / last];
                    let when = format!("{error} of {call} {nth}");
                    (self.before)();
                    let what = format!("error={error}:when={nth}");
                    let output = (self.command)().inject(false, call, &what).output();
                    tries += 1;
                    failures += usize::from(output.code() != 0);
                    if output.code() != 0 {
                        named(&output, self.code, text, &when);
                    }
                    assert_consistent(self.world.store(), &when);
                    (self.command)().ok();
                    (self.after)(&when);
                    assert_consistent(self.world.store(), &when);
                    assert_no_orphans(self.world.store(), &when);
                }
            }
        }
        (tries, failures)
    }

    /// Which calls of the first thread are about the store: their numbers among all of that kind.
    fn calls_on_the_store(&self, call: &str) -> Vec<usize> {
        (self.before)();
        let log = self.world.path().join("trace");
        let words =
            ["strace", "-qq", "-y", "-e", "signal=none", "-e", &format!("trace={call}"), "-o", log.to_str().unwrap()];
        (self.command)().under(&words).ok();
        let store = self.world.store().to_str().unwrap();
        let text = fs::read_to_string(&log).unwrap();
        let lines = text.lines().filter(|line| line.starts_with(&format!("{call}("))).enumerate();
        lines.filter(|(_, line)| line.contains(store)).map(|(number, _)| number + 1).collect()
    }
}

/// It failed in order, and said why and what to do.
#[track_caller]
fn named(output: &Output, code: i32, text: &str, when: &str) {
    assert_eq!(output.code(), code, "{when}: {}", output.stderr);
    for part in ["error: ", text, "hint: "] {
        assert!(output.stderr.contains(part), "{when}: no {part:?} in {}", output.stderr);
    }
    assert!(!output.stderr.contains("panicked"), "{when}: {}", output.stderr);
}

fn world() -> Option<TestContext> {
    tool("strace").then(TestContext::in_memory).flatten()
}

fn image() -> Content {
    let files =
        [("bin/tool", &program(Machine::Amd64, "works\n", 0)[..]), ("etc/file", b"file\n"), ("noise", &noise(30_000))];
    let mut content = Content::default();
    let manifest = content.image(("linux", "amd64", None), &[layer(Codec::Gzip, &files)]);
    content.tag("1", &manifest)
}

fn empty(world: &TestContext) {
    for name in ["store", "state"] {
        hermes::testing::fs::remove::path(&world.path().join(name)).unwrap();
    }
}

fn works(world: &TestContext, name: &str, when: &str) {
    assert_eq!(world.hermes(["run", "--quiet", "--image", name, "--", "tool"]).ok(), "works", "{when}");
}

#[expect(clippy::print_stdout, reason = "how much was tried is worth knowing")]
fn covered(what: &str, (tries, failures): (usize, usize), least: usize) {
    println!("{what}: {tries} calls failed, {failures} times it did too");
    assert!(tries >= least && failures >= least / 2, "{what}: {tries} and {failures}");
}

#[test]
fn import() {
    let Some(world) = world() else { return };
    let layout = world.path().join("layout");
    image().write_layout(&layout);
    let victim = Victim {
        world: &world,
        before: &|| empty(&world),
        command: &|| world.hermes(["import", "--quiet", "--name", NAME]).args([&layout]),
        code: 1,
        after: &|when| works(&world, NAME, when),
        unsteady: &[],
    };
    covered("import", victim.fail_everywhere(), 60);
}

#[test]
fn first_run() {
    let Some(world) = world() else { return };
    let victim = Victim {
        world: &world,
        before: &|| {
            empty(&world);
            let _ = world.import(&image(), NAME);
        },
        command: &|| world.hermes(["run", "--quiet", "--image", NAME, "--", "tool"]),
        code: 125,
        after: &|when| works(&world, NAME, when),
        unsteady: &[],
    };
    covered("run", victim.fail_everywhere(), 60);
}

#[test]
fn pull() {
    let Some(world) = world() else { return };
    let fake = FakeRegistry::serve(image(), |_, _, reply| reply);
    let name = format!("{}/lib/faults:1", fake.host());
    let victim = Victim {
        world: &world,
        before: &|| empty(&world),
        command: &|| world.hermes(["pull", "--quiet", &name]),
        code: 1,
        after: &|when| works(&world, &name, when),
        // Threads are woken by writing to a descriptor.
        unsteady: &["read", "write"],
    };
    covered("pull", victim.fail_everywhere(), 40);
}

#[test]
fn the_threads_of_a_pull() {
    let Some(world) = world() else { return };
    let content = image();
    let blob = content.blobs.iter().find(|(_, bytes)| !bytes.starts_with(b"{")).unwrap().0.hex();
    let fake = FakeRegistry::serve(content, |_, _, reply| reply);
    let name = format!("{}/lib/faults:1", fake.host());
    let store = world.store();
    let partial = store.join("partial").join(blob);
    for (path, call, error, text) in [
        (partial.clone(), "openat", "EROFS", "Read-only file system"),
        (partial.clone(), "openat", "EMFILE", "Too many open files"),
        (partial.clone(), "write", "ENOSPC", "No space left on device"),
        (partial.clone(), "write", "EDQUOT", "Disk quota exceeded"),
        (partial.clone(), "write", "EIO", "Input/output error"),
        (partial.clone(), "fchmod", "EIO", "Input/output error"),
        (partial, "rename", "ENOSPC", "No space left on device"),
    ] {
        empty(&world);
        let when = format!("{error} of {call} on {}", path.display());
        let run = world.hermes(["pull", "--quiet", &name]);
        let only =
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "signal=none", "-e", &format!("trace={call}"), "-P"];
        let inject = format!("inject={call}:error={error}");
        let output = run.under(&[&only[..], &[path.to_str().unwrap(), "-e", &inject]].concat()).output();
        assert_ne!(output.code(), 0, "{when}: nothing failed");
        named(&output, 1, text, &when);
        assert_consistent(store, &when);
        works(&world, &name, &when);
        assert_consistent(store, &when);
        let _ = world.import(&tiny("next"), NAME);
        assert_no_orphans(store, &when);
    }
}

/// Runs `run` where `script` has prepared the mounts, in a namespace of its own; `$0` is the store.
fn mounted(run: Run, script: &str, store: &Path) -> Output {
    let script = format!("{script} && \"$@\"");
    run.under(&["unshare", "-Urm", "sh", "-c", &script, store.to_str().unwrap()]).output()
}

#[test]
fn a_disk_without_inodes() {
    let Some(world) = TestContext::in_memory() else { return };
    let files: Vec<_> = (0..40).map(|n| format!("etc/{n}")).collect();
    let tool = program(Machine::Amd64, "works\n", 0);
    let mut files: Vec<(&str, &[u8])> = files.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    files.push(("bin/tool", &tool));
    let mut content = Content::default();
    let manifest = content.image(("linux", "amd64", None), &[layer(Codec::Gzip, &files)]);
    let fake = FakeRegistry::serve(content.tag("1", &manifest), |_, _, reply| reply);
    let image = format!("{}/lib/faults:1", fake.host());
    fs::create_dir(world.store()).unwrap();
    let try_with = |inodes: usize| {
        let script = format!("mount -t tmpfs -o nr_inodes={inodes} tmpfs \"$0\"");
        mounted(world.hermes(["run", "--image", &image, "--", "tool"]), &script, world.store())
    };
    for inodes in [3, 8, 12, 16, 20, 40, 60] {
        named(&try_with(inodes), 125, "No space left on device", &format!("{inodes} inodes"));
    }
    assert_eq!(try_with(100).ok(), "works");
}

#[test]
fn a_store_on_a_read_only_disk() {
    let Some(world) = TestContext::in_memory() else { return };
    let _ = world.import(&image(), NAME);
    let read_only = |words: &[&str]| {
        let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\"";
        mounted(world.hermes(words), script, world.store())
    };
    let run = ["run", "--image", NAME, "--", "tool"];
    named(&read_only(&run), 125, "Read-only file system", "first run");
    works(&world, NAME, "");
    let output = read_only(&run);
    assert_eq!(output.ok(), "works");
    assert!(output.stderr.contains("cannot record this run"), "{}", output.stderr);
    let fake = FakeRegistry::serve(tiny("new"), |_, _, reply| reply);
    let new = format!("{}/lib/new:1", fake.host());
    let layout = world.path().join("layout");
    tiny("new").write_layout(&layout);
    for words in [&["pull", &new][..], &["rm", NAME], &["import", "--name", "a.b/c:1", layout.to_str().unwrap()]] {
        named(&read_only(words), 1, "Read-only file system", words[0]);
    }
    assert_eq!(read_only(&["images"]).exits(0).text().lines().count(), 2);
    works(&world, NAME, "afterwards");
}

#[test]
fn a_store_that_may_not_be_written() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(world) = TestContext::in_memory() else { return };
    let _ = world.import(&image(), NAME);
    let fake = FakeRegistry::serve(tiny("new"), |_, _, reply| reply);
    let new = format!("{}/lib/new:1", fake.host());
    let all = |mode| {
        for directory in ["", "records", "tmp", "trash", "partial", "refs", "layers", "blobs", "blobs/sha256"] {
            fs::set_permissions(world.store().join(directory), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    all(0o500);
    let outputs = [
        (125, world.hermes(["run", "--image", NAME, "--", "tool"]).output()),
        (1, world.hermes(["pull", &new]).output()),
        (1, world.hermes(["rm", NAME]).output()),
    ];
    all(0o700);
    for (code, output) in outputs {
        named(&output, code, "Permission denied", "no permission");
    }
    works(&world, NAME, "afterwards");
}

#[test]
fn few_descriptors() {
    let Some(world) = TestContext::in_memory() else { return };
    let mut content = Content::default();
    let tool = program(Machine::Amd64, "works\n", 0);
    let mut layers = vec![layer(Codec::Gzip, &[("bin/tool", &tool)])];
    layers.extend((0..3).map(|n| layer(Codec::Zstd, &[(&format!("layer/{n}/a/b/c/d"), &noise(50_000))])));
    let manifest = content.image(("linux", "amd64", None), &layers);
    let fake = FakeRegistry::serve(content.tag("1", &manifest), |_, _, reply| reply);
    let name = format!("{}/lib/faults:1", fake.host());
    for limit in [8, 12, 16, 20, 24, 28, 32, 48, 64, 128] {
        empty(&world);
        let limit_word = format!("--nofile={limit}");
        let output = world.hermes(["pull", &name]).under(&["prlimit", &limit_word]).output();
        if limit >= 64 {
            output.ok();
        } else if output.code() != 0 {
            named(&output, 1, "Too many open files", &limit_word);
        }
        assert_consistent(world.store(), &limit_word);
        works(&world, &name, &limit_word);
    }
}

#[test]
fn files_that_may_not_grow() {
    let Some(world) = TestContext::in_memory() else { return };
    let fake = FakeRegistry::serve(image(), |_, _, reply| reply);
    let name = format!("{}/lib/faults:1", fake.host());
    for limit in ["0", "100", "1000", "20000"] {
        empty(&world);
        let limit_word = format!("--fsize={limit}");
        let output = world.hermes(["pull", &name]).under(&["prlimit", &limit_word]).output();
        named(&output, 1, "File too large", &limit_word);
        assert_consistent(world.store(), &limit_word);
    }
    works(&world, &name, "afterwards");
    // What is there runs, although its record is longer than that; the signal is the command's own affair.
    let output = world.hermes(["run", "--image", &name, "--", "tool"]).under(&["prlimit", "--fsize=300"]).output();
    assert_eq!(output.ok(), "works");
    assert!(output.stderr.contains("cannot record this run"), "{}", output.stderr);
    if let Some(debian) = TestContext::fixtures() {
        let text = debian.sh(&["--quiet"], "grep SigIgn /proc/self/status").ok();
        let ignored = u64::from_str_radix(text.split_whitespace().last().unwrap(), 16).unwrap();
        // SIGPIPE and SIGXFSZ, of which signal 1 has the lowest bit.
        assert_eq!(ignored & (1 << 12 | 1 << 24), 0, "{text}");
    }
}

/// An image of one layer, which is said to have `size` bytes.
fn one_layer(size: Option<u64>, bytes: &[u8]) -> (Content, String) {
    let mut content = Content::default();
    let layer = layer(Codec::Plain, &[("big", bytes)]);
    let digest = layer.descriptor().digest;
    let manifest = content.image(("linux", "amd64", None), &[layer]);
    let Some(size) = size else { return (content.tag("1", &manifest), digest.to_string()) };
    let (media_type, bytes) = content.manifests.remove(&manifest.digest).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    json["layers"][0]["size"] = size.into();
    let manifest = content.manifest(&media_type, json.to_string().into_bytes());
    (content.tag("1", &manifest), digest.to_string())
}

#[test]
fn a_layer_larger_than_the_disk_is_not_begun() {
    let world = TestContext::empty();
    let (content, layer) = one_layer(Some(1 << 60), b"small");
    let fake = FakeRegistry::serve(content, |_, _, reply| reply);
    let output = world.hermes(["pull", &format!("{}/lib/faults:1", fake.host())]).output();
    output.refused(1, &["cannot download 1152921504606846976 bytes", "has space for only", "hermes gc"]);
    assert_eq!((fake.count("/manifests/"), fake.count(&layer)), (1, 0));
    assert_eq!((world.stored("partial"), world.stored("tmp")), (vec![], vec![]));
    // A source whose server says so; a digest would be asked for elsewhere.
    let fake = FakeRegistry::start(|_, _| Reply::new(200, b"x").header("content-length", "1152921504606846976"));
    world.write("hermes.toml", &format!("[source.big]\nurl = 'http://{}/big.tar'\n", fake.host()));
    world.hermes(["source", "fetch"]).output().refused(1, &["has space for only"]);
    assert_eq!((fake.count("/big.tar"), world.stored("tmp")), (1, vec![]));
}

#[test]
fn a_full_disk_keeps_no_part_of_a_layer() {
    let Some(world) = TestContext::in_memory() else { return };
    // The blob has room, but not beside what is unpacked of it.
    let (content, _) = one_layer(None, &noise(6_000_000));
    let fake = FakeRegistry::serve(content, |_, _, reply| reply);
    let image = format!("{}/lib/faults:1", fake.host());
    fs::create_dir(world.store()).unwrap();
    let script =
        "mount -t tmpfs -o size=8m tmpfs \"$0\" && { \"$@\"; code=$?; ls -A \"$0/partial\" \"$0/tmp\"; exit $code; }";
    let output = mounted(world.hermes(["pull", "--quiet", &image]), script, world.store());
    named(&output, 1, "No space left on device", "8 MB");
    let left: Vec<_> =
        output.text().lines().filter(|line| !line.is_empty() && !line.ends_with(':')).map(str::to_owned).collect();
    assert_eq!(left, Vec::<String>::new());
}
