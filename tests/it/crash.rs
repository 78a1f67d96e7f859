//! SIGKILL before every system call that changes something: the store is consistent at each of these moments, and the
//! same command succeeds afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::context::{TestContext, tool};
use crate::support::elf::{Machine, program};
use crate::support::fake_registry::FakeRegistry;
use crate::support::fsck::{assert_consistent, assert_no_orphans};
use crate::support::image::{Codec, Content, Layer, layer, noise, pack};
use crate::support::process::{Output, Run};

/// Calls that change a file system, or say when.
const CHANGES: &str = "rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,\
    mknod,mknodat,openat,write,pwrite64,copy_file_range,fsync,fdatasync,syncfs,utimensat,chmod,fchmod,fchmodat,chown,\
    fchown,fchownat,flock,ftruncate,fsetxattr";
/// Of these there are many, most of them harmless, so that only some are ends.
const FREQUENT: [&str; 2] = ["openat", "write"];
const SPREAD: usize = 10;

const NAME: &str = "test.invalid/crash:1";

/// A command that is killed, again and again.
struct Victim<'a> {
    world: &'a TestContext,
    /// What `store` and `state` of the context are before.
    before: Option<PathBuf>,
    command: &'a dyn Fn() -> Run,
    /// What is done afterwards, and must succeed.
    after: &'a dyn Fn(&str),
    /// Whether its threads and children are killed at their calls too, or only the first thread.
    all: bool,
}

impl Victim<'_> {
    /// Kills it everywhere; how often that was.
    fn kill_everywhere(&self) -> usize {
        self.restore();
        let mut ends = 0;
        for (call, most) in self.calls() {
            let last = if FREQUENT.contains(&call.as_str()) { most.min(SPREAD) } else { most };
            for point in 1..=last {
                let nth = 1 + (point - 1) * most / last;
                let when = format!("killed before {call} {nth} of {most}");
                self.restore();
                let output = (self.command)().inject(self.all, &call, &format!("signal=KILL:when={nth}")).output();
                // Threads do not share their work in the same way each time.
                if output.code() == 0 {
                    continue;
                }
                assert!(output.code() == -9 || self.all, "{when}: {output:?}");
                ends += 1;
                assert_consistent(self.world.store(), &when);
                (self.after)(&when);
                assert_consistent(self.world.store(), &format!("{when}, and done again"));
            }
        }
        ends
    }

    /// How often a thread of the command makes each of the calls, at most.
    fn calls(&self) -> BTreeMap<String, usize> {
        let log = self.world.path().join("trace");
        let run = (self.command)();
        let words =
            ["strace", "-qq", "-e", "signal=none", "-e", &format!("trace={CHANGES}"), "-o", log.to_str().unwrap()];
        let run = if self.all { run.under(&[&words[..], &["-f"]].concat()) } else { run.under(&words) };
        run.ok();
        let mut threads: BTreeMap<(String, String), usize> = BTreeMap::new();
        for line in fs::read_to_string(&log).unwrap().lines() {
            let (thread, line) = line.split_once(' ').filter(|_| self.all).unwrap_or(("", line));
            let call = line.trim_start().split('(').next().unwrap();
            if call.bytes().all(|c| c.is_ascii_alphanumeric()) {
                *threads.entry((call.to_owned(), thread.to_owned())).or_default() += 1;
            }
        }
        let mut most = BTreeMap::new();
        for ((call, _), count) in threads {
            let known = most.entry(call).or_insert(0);
            *known = count.max(*known);
        }
        most
    }

    fn restore(&self) {
        for name in ["store", "state"] {
            let path = self.world.path().join(name);
            hermes::testing::fs::remove::path(&path).unwrap();
            if let Some(before) = self.before.as_ref().map(|before| before.join(name)).filter(|path| path.exists()) {
                copy(&before, &path);
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    Run::new("cp").args(["-a".as_ref(), from.as_os_str(), to.as_os_str()]).ok();
}

/// Keeps what `store` and `state` of the context are now.
fn keep(world: &TestContext) -> PathBuf {
    let kept = world.path().join("kept");
    fs::create_dir(&kept).unwrap();
    for name in ["store", "state"].iter().filter(|name| world.path().join(name).exists()) {
        copy(&world.path().join(name), &kept.join(name));
    }
    kept
}

fn world() -> Option<TestContext> {
    tool("strace").then(TestContext::in_memory).flatten()
}

/// A layer with everything that is made on disk in a way of its own.
fn rich(codec: Codec) -> Layer {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind, target: Option<&str>, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind == tar::EntryType::Directory { 0o755 } else { 0o644 });
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        match target {
            Some(target) => tar.append_link(&mut header, path, target).unwrap(),
            None => tar.append_data(&mut header, path, content).unwrap(),
        }
    };
    add("rich/", tar::EntryType::Directory, None, b"");
    add("rich/file", tar::EntryType::Regular, None, &noise(5000));
    add("rich/link", tar::EntryType::Link, Some("rich/file"), b"");
    add("rich/symlink", tar::EntryType::Symlink, Some("file"), b"");
    add("rich/.wh.gone", tar::EntryType::Regular, None, b"");
    add("opaque/.wh..wh..opq", tar::EntryType::Regular, None, b"");
    // Taken back again by an entry of the same path.
    add("rich/file", tar::EntryType::Regular, None, b"other");
    pack(codec, tar.into_inner().unwrap())
}

fn image(layers: &[Layer]) -> Content {
    let mut content = Content::default();
    let manifest = content.image(("linux", "amd64", None), layers);
    let index = content.index(&[manifest]);
    content.tag("1", &index)
}

fn layers() -> [Layer; 3] {
    let tool = program(Machine::Amd64, "alive\n", 0);
    [rich(Codec::Gzip), layer(Codec::Zstd, &[("bin/tool", &tool)]), layer(Codec::Plain, &[("etc/plain", b"plain\n")])]
}

fn run(world: &TestContext, image: &str) -> Output {
    world.hermes(["--offline", "run", "--quiet", "--image", image, "--", "tool"]).output()
}

#[expect(clippy::print_stdout, reason = "how much was tried is worth knowing")]
fn covered(what: &str, ends: usize, least: usize) {
    println!("killed {what} {ends} times");
    assert!(ends >= least, "{what} was killed {ends} times only");
}

#[test]
fn pull() {
    let Some(world) = world() else { return };
    let fake = FakeRegistry::serve(image(&layers()), |_, _, reply| reply);
    let image = format!("{}/lib/crash:1", fake.host());
    let command = || world.hermes(["pull", "--quiet", &image]);
    let after = |when: &str| {
        command().ok();
        assert_no_orphans(world.store(), when);
        assert_eq!(run(&world, &image).ok(), "alive", "{when}");
    };
    let cold = Victim { world: &world, before: None, command: &command, after: &after, all: false };
    covered("pull's first thread", cold.kill_everywhere(), 40);

    // Where only layers are missing, it is the threads that change something first.
    command().ok();
    for name in ["layers", "refs"] {
        hermes::testing::fs::remove::path(&world.store().join(name)).unwrap();
        fs::create_dir(world.store().join(name)).unwrap();
    }
    for layer in layers() {
        fs::remove_file(world.store().join("blobs/sha256").join(layer.descriptor().digest.hex())).unwrap();
    }
    let before = Some(keep(&world));
    let layers = Victim { before, all: true, ..cold };
    covered("pull's threads", layers.kill_everywhere(), 30);
}

#[test]
fn import() {
    let Some(world) = world() else { return };
    let layout = world.path().join("layout");
    image(&layers()).write_layout(&layout);
    let archive = world.path().join("archive.tar.gz");
    Run::new("tar").args(["-czf".as_ref(), archive.as_os_str(), "-C".as_ref(), layout.as_os_str(), ".".as_ref()]).ok();
    for source in [layout, archive] {
        let command = || world.hermes(["import", "--quiet", "--name", NAME]).args([&source]);
        let after = |when: &str| {
            command().ok();
            assert_no_orphans(world.store(), when);
            assert_eq!(run(&world, NAME).ok(), "alive", "{when}");
        };
        let victim = Victim { world: &world, before: None, command: &command, after: &after, all: false };
        covered("import", victim.kill_everywhere(), 40);
    }
}

#[test]
fn first_run() {
    // One layer is unpacked by the first thread, several are by others.
    for all in [false, true] {
        let Some(world) = world() else { return };
        let [rich, tool, plain] = layers();
        let content = if all { image(&[rich, tool, plain]) } else { image(&[with_tool(rich)]) };
        let _ = world.import(&content, NAME);
        let before = Some(keep(&world));
        let command = || world.hermes(["run", "--quiet", "--image", NAME, "--", "tool"]);
        let after = |when: &str| {
            assert_eq!(command().ok(), "alive", "{when}");
            assert_no_orphans(world.store(), when);
        };
        let victim = Victim { world: &world, before, command: &command, after: &after, all };
        covered("run", victim.kill_everywhere(), 30);
    }
}

/// A layer with the files of `layer` and the program.
fn with_tool(layer: Layer) -> Layer {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    let bytes = program(Machine::Amd64, "alive\n", 0);
    header.set_mode(0o755);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, "bin/tool", bytes.as_slice()).unwrap();
    let mut all = tar.into_inner().unwrap();
    all.truncate(all.len() - 1024);
    all.extend(layer.tar);
    pack(Codec::Gzip, all)
}

#[test]
fn rm() {
    let Some(world) = world() else { return };
    let content = image(&layers());
    let _ = world.import(&content, NAME);
    run(&world, NAME).ok();
    let before = Some(keep(&world));
    let after = |when: &str| {
        // The name went first: where it is gone what it meant may still be there, whole, for who has a lock on it.
        let again = world.hermes(["rm", NAME]).output();
        if again.code() == 0 {
            run(&world, NAME).refused(4, &["is not on this machine"]);
        } else {
            again.refused(1, &["there is no image"]);
        }
        let _ = world.import(&content, NAME);
        assert_eq!(run(&world, NAME).ok(), "alive", "{when}");
        assert_no_orphans(world.store(), when);
        world.hermes(["rm", NAME]).ok();
        assert_no_orphans(world.store(), when);
        for directory in ["blobs/sha256", "layers", "refs"] {
            assert_eq!(world.stored(directory), [""; 0], "{when}: left in {directory}");
        }
    };
    let victim = Victim { world: &world, before, command: &|| world.hermes(["rm", NAME]), after: &after, all: false };
    covered("rm", victim.kill_everywhere(), 30);
}

#[test]
fn login() {
    let Some(world) = world() else { return };
    let fake = FakeRegistry::start(|seen, _| {
        let allowed = seen.header("authorization").is_some();
        let reply = crate::support::fake_registry::Reply::new(if allowed { 200 } else { 401 }, b"{}");
        reply.header("www-authenticate", "Basic realm=\"test\"")
    });
    let host = fake.host();
    let directory = world.path().join("home/.docker");
    let file = directory.join("config.json");
    for older in [None, Some(r#"{"auths":{"quay.io":{"auth":"b2xkOm9sZA=="}}}"#)] {
        let reset = || {
            hermes::testing::fs::remove::path(&directory).unwrap();
            if let Some(older) = older {
                fs::create_dir(&directory).unwrap();
                fs::write(&file, older).unwrap();
            }
        };
        let command = || {
            reset();
            world.hermes(["login", &host, "-u", "me", "--password-stdin"]).input(b"secret\n")
        };
        let after = |when: &str| {
            let old: Option<Value> = fs::read(&file).ok().map(|bytes| serde_json::from_slice(&bytes).expect(when));
            assert_eq!(old.is_none(), older.is_none() && !file.exists(), "{when}");
            world.hermes(["login", &host, "-u", "me", "--password-stdin"]).input(b"secret\n").output().ok();
            let new: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            assert_eq!(new["auths"][&host]["auth"], "bWU6c2VjcmV0", "{when}");
            assert_eq!(new["auths"]["quay.io"].is_object(), older.is_some(), "{when}");
            let left: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(left, ["config.json"], "{when}");
        };
        let victim = Victim { world: &world, before: None, command: &command, after: &after, all: false };
        covered("login", victim.kill_everywhere(), 10);
    }
}

#[test]
fn fetching_a_source() {
    let Some(world) = world() else { return };
    let mut tar = tar::Builder::new(Vec::new());
    for name in ["p/a", "p/sub/b"] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(2);
        tar.append_data(&mut header, name, &b"x\n"[..]).unwrap();
    }
    let archive = world.path().join("p.tar");
    fs::write(&archive, tar.into_inner().unwrap()).unwrap();
    world.write("fix.patch", "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x\n+y\n");
    let toml = format!("[source.p]\nurl = 'file://{}'\npatches = ['fix.patch']\n", archive.display());
    world.write("hermes.toml", &toml);
    let command = || {
        let _ = fs::remove_file(world.work().join("hermes.lock"));
        world.hermes(["--offline", "--allow-project", "source", "fetch"])
    };
    let after = |when: &str| {
        world.hermes(["--offline", "--allow-project", "source", "fetch"]).ok();
        let rows = world.json(&["source", "list"]);
        assert_eq!(rows[0]["state"], "unpacked", "{when}");
        world.hermes(["gc"]).ok();
        assert_no_orphans(world.store(), when);
        let left = fs::read_dir(world.work())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with(".hermes-"));
        assert_eq!(left.count(), 0, "{when}");
    };
    let victim = Victim { world: &world, before: None, command: &command, after: &after, all: true };
    covered("source fetch", victim.kill_everywhere(), 30);
}
