//! A root composed of real packages of Debian 12, through every verb: the packages of the fixture `base` (`scripts/fixtures base`)
//! and one that is made here, in an archive that the tests sign.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hermes::testing::digest::Digest;
use rustix::process::Signal;
use serde_json::Value;

use crate::bundle;
use crate::spdx;
use crate::support::archive::{Archive, Package};
use crate::support::context::{self, TestContext, sandboxes};
use crate::support::fake_registry::FakeRegistry;
use crate::support::fsck::{assert_consistent, assert_no_orphans};
use crate::support::process::{LIMIT, Output, Run, Running};
use crate::support::real_registry::{self, RealRegistry};
use crate::support::{made, require};

/// What a run without a network and without changes of the lock needs before its command.
const WARM: [&str; 3] = ["--locked", "--offline", "run"];
/// Asks for the signed documents of the lock.
const WHY: [&str; 4] = ["packages", "--offline", "--why", "libc6"];

/// The fixture. `None` where it or sandboxes are not available.
fn fixture() -> Option<PathBuf> {
    if !sandboxes() {
        return None;
    }
    let base = context::fixtures().map(|fixtures| fixtures.join("base"));
    let base = base.and_then(|base| if base.join("base").is_file() { Ok(base) } else { Err("no fixture base".into()) });
    require("debian-base", base.as_ref().map(drop).map_err(Clone::clone)).then(|| base.unwrap())
}

/// A project whose toolchain has make and a package `tool`, with its archive served.
struct World {
    context: TestContext,
    archive: Archive,
    server: FakeRegistry,
}

impl World {
    /// One in this context, with this version of `tool`.
    fn new(context: TestContext, fixture: &Path, version: &str) -> Self {
        let archive = Archive::with_base(fixture, vec![Package::new("tool", version, "")]);
        let server = archive.serve();
        fs::write(context.work().join("archive.pgp"), archive.key.public()).unwrap();
        context.write(
            "hermes.toml",
            &format!(
                "toolchain = 'own'\n[toolchains.own.debian]\nsuites = ['stable']\nsigned-by = 'archive.pgp'\n\
                 packages = ['make', 'tool']\nmirrors = ['http://{}/debian']\n[toolchains.own.platform.linux-x86_64]\n",
                server.host()
            ),
        );
        Self { context, archive, server }
    }

    fn lock(&self) -> toml::Table {
        self.context.read("hermes.lock").parse().unwrap()
    }

    /// Number of requests so far.
    fn asked(&self) -> usize {
        self.server.seen().len()
    }
}

/// A project with a lock, in a context of its own.
struct Locked {
    context: TestContext,
    shared: PathBuf,
}

impl Locked {
    /// One whose store is empty.
    fn empty() -> Option<Self> {
        Self::with(|_| TestContext::empty())
    }

    /// One whose store has the root, and is shared.
    fn shared() -> Option<Self> {
        Self::with(|shared| TestContext::sharing(&shared.join("store")))
    }

    /// One whose store has the root, and is its own: other tests work in the shared one at the same time.
    fn copied() -> Option<Self> {
        let locked = Self::empty()?;
        hermes::testing::fs::remove::path(locked.context.store()).unwrap();
        // Without `tmp`, where another test may be composing.
        let copy =
            "mkdir -m 700 $1 $1/tmp && cd $0 && find . -mindepth 1 -maxdepth 1 ! -name tmp -exec cp -a -t $1 {} +";
        let stores = [locked.store().into_os_string(), locked.context.store().into()];
        Run::new("sh").args(["-c".into(), copy.into()].into_iter().chain(stores)).ok();
        Some(locked)
    }

    fn with(context: impl FnOnce(&Path) -> TestContext) -> Option<Self> {
        let fixture = fixture()?;
        let shared = shared(&fixture);
        let context = context(&shared);
        for name in ["hermes.toml", "hermes.lock", "archive.pgp"] {
            fs::copy(shared.join(name), context.work().join(name)).unwrap();
        }
        Some(Self { context, shared })
    }

    fn store(&self) -> PathBuf {
        self.shared.join("store")
    }

    fn root(&self) -> toml::Table {
        root(&self.context.read("hermes.lock").parse().unwrap())
    }

    /// Digests of the packages.
    fn debs(&self) -> BTreeSet<String> {
        let root = self.root();
        let lines = ["base", "deb"].into_iter().flat_map(|key| root[key].as_array().unwrap());
        let is_digest = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let words = lines.map(|line| line.as_str().unwrap().split([' ', ':']).find(is_digest).unwrap().to_owned());
        words.collect()
    }

    /// It works, and composes nothing.
    #[track_caller]
    fn works(&self) {
        is_make(&warm(&self.context).output());
    }
}

/// A run that needs no network and leaves the lock as it is.
fn warm(context: &TestContext) -> Run {
    context.hermes([&WARM[..], &["--", "make", "--version"]].concat())
}

/// It was make of Debian 12, in a root that was there.
#[track_caller]
fn is_make(output: &Output) {
    assert!(output.ok().starts_with("GNU Make 4.3\n"), "{}", output.text());
    assert!(!output.stderr.contains("composing"), "{}", output.stderr);
}

/// The lock's table of the root.
fn root(lock: &toml::Table) -> toml::Table {
    lock["root"]["own"]["linux/amd64"].as_table().unwrap().clone()
}

/// The directory with a store that has the root, and the files of its project. Locked and composed once for each build of hermes.
fn shared(fixture: &Path) -> PathBuf {
    let index = ["base", "packages"].map(|name| fs::read(fixture.join(name)).unwrap()).concat();
    let program = context::program();
    let built = fs::metadata(&program).unwrap().modified().unwrap();
    let key = [format!("{} {built:?}", program.display()).as_bytes(), &index].concat();
    let made = made::newest("composed", &key, |directory| {
        let world = World::new(TestContext::sharing(&directory.join("store")), fixture, "1");
        let said = world.context.hermes(["lock"]).output();
        said.exits(0);
        assert!(said.stderr.contains("composing own of "), "{}", said.stderr);
        let asked = world.asked();
        // The lock is written by the first command, so that the next one asks nobody.
        is_make(&world.context.hermes(["run", "--", "make", "--version"]).output());
        assert_eq!(world.asked(), asked);
        assert_no_orphans(world.context.store(), "after the composition");
        for name in ["hermes.toml", "hermes.lock", "archive.pgp"] {
            fs::copy(world.context.work().join(name), directory.join(name)).unwrap();
        }
        Ok(())
    });
    made.unwrap()
}

#[test]
fn a_root_is_composed_once() {
    let Some(locked) = Locked::shared() else { return };
    locked.works();
    let root = locked.root();
    for key in ["manifest", "config", "layer", "tree", "chain-id"] {
        assert!(root.contains_key(key), "{key}: {root}");
    }
    assert_eq!(locked.context.hermes(WHY).ok(), "base-files -> mawk -> libc6");
    assert_eq!(locked.context.hermes(["packages", "--offline", "--why", "tool"]).ok(), "tool");
    // Another project with the same packages finds the root by its packages.
    let world = World::new(TestContext::sharing(&locked.store()), &fixture().unwrap(), "1");
    is_make(&world.context.hermes(["run", "--", "make", "--version"]).output());
    assert_eq!(self::root(&world.lock()), root);
    assert_eq!(world.server.count("/pool/"), 0);
    // The archive has nothing new.
    world.context.hermes(["lock", "--check"]).ok();
}

/// A machine that has nothing but the project, and mirrors that no longer serve a release.
#[test]
fn the_lock_alone_makes_the_same_root() {
    let Some(locked) = Locked::empty() else { return };
    let world = World::new(locked.context, &fixture().unwrap(), "1");
    let lock = world.context.read("hermes.lock");
    world.archive.remove("dists/stable/InRelease");
    let output = world.context.hermes(["fetch"]).output();
    output.exits(0);
    assert!(output.stderr.contains("composing own of "), "{}", output.stderr);
    is_make(&warm(&world.context).output());
    assert_eq!(world.context.read("hermes.lock"), lock);
    // Only what the lock names was asked for, and each once.
    let seen: Vec<_> = world.server.seen().into_iter().map(|seen| seen.path).collect();
    let wanted = |path: &String| path.starts_with("/debian/pool/") || path.contains("/by-hash/SHA256/");
    assert!(seen.iter().all(wanted), "{seen:?}");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "{seen:?}");
    let records = world.context.json(&["log", "show"]);
    assert_eq!(records["manifest"].as_str(), root(&world.lock())["manifest"]["digest"].as_str(), "{records}");
    assert_no_orphans(world.context.store(), "after the composition");
}

#[test]
fn a_bundle_is_enough() {
    let Some(locked) = Locked::shared() else { return };
    let bundle = locked.context.path().join("bundle.tar");
    locked.context.hermes(["--offline", "bundle", "create"]).args([&bundle]).ok();
    let far = Locked::empty().unwrap();
    warm(&far.context).output().exits(4);
    far.context.hermes(["--offline", "bundle", "load"]).args([&bundle]).ok();
    far.works();
    // The signed documents are there, too.
    assert_eq!(far.context.hermes(WHY).ok(), "base-files -> mawk -> libc6");
}

#[test]
fn a_bundle_of_packages_is_composed_and_compared() {
    let Some(locked) = Locked::shared() else { return };
    let file = locked.context.path().join("bundle.tar");
    let create = ["--offline", "--json", "bundle", "create", "--packages"];
    let made = locked.context.hermes(create).args([&file]).ok();
    let made: Value = serde_json::from_str(&made).unwrap();
    let kinds: Vec<_> = made["parts"].as_array().unwrap().iter().map(|part| part["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["archive", "packages", "lock"]);
    let bytes = fs::read(&file).unwrap();
    locked.context.hermes(create).args([&file]).ok();
    assert!(fs::read(&file).unwrap() == bytes, "not the same bytes");
    let far = Locked::empty().unwrap();
    let load = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        far.context.hermes(["--offline", "bundle", "load"]).args([&file]).output()
    };
    // A changed byte of a package.
    let (_, at, content) = bundle::members(&bytes).into_iter().max_by_key(|(_, _, content)| content.len()).unwrap();
    let mut changed = bytes.clone();
    changed[at + 512 + content.len() / 2] ^= 1;
    load(&changed).refused(3, &["is damaged: the package "]);
    assert_eq!(far.context.stored("blobs/sha256"), [""; 0]);
    // A lock that expects another image of these packages.
    let manifest = far.root()["manifest"]["digest"].as_str().unwrap().to_owned();
    let other = Digest::of(b"another manifest").to_string();
    let forged = bundle::forged(&bytes, |lock| lock.replace(&manifest, &other));
    load(&forged).refused(3, &["was composed to the image", &manifest, &other]);
    // The good one. What was composed before is used.
    load(&bytes).exits(0);
    far.works();
    assert_eq!(far.context.hermes(WHY).ok(), "base-files -> mawk -> libc6");
    assert_no_orphans(far.context.store(), "after the composition");
}

/// A project whose packages are composed to another image than the locked one: exit code 3. `change` gets the archive, the lock
/// and the digest of the locked manifest, and gives another lock.
#[track_caller]
fn composes_another(change: impl FnOnce(&Archive, &str, &str) -> String) {
    let Some(locked) = Locked::empty() else { return };
    let world = World::new(locked.context, &fixture().unwrap(), "1");
    let manifest = root(&world.lock())["manifest"]["digest"].as_str().unwrap().to_owned();
    let lock = change(&world.archive, &world.context.read("hermes.lock"), &manifest);
    world.context.write("hermes.lock", &lock);
    let locked = root(&world.lock())["manifest"]["digest"].as_str().unwrap().to_owned();
    let words = ["was composed to the image", &locked, "hint: ", "hermes lock --update"];
    world.context.hermes(["fetch"]).output().refused(3, &words);
    assert_eq!(world.context.read("hermes.lock"), lock);
}

#[test]
fn a_lock_with_another_image_of_its_packages_is_refused() {
    composes_another(|_, lock, manifest| lock.replace(manifest, &Digest::of(b"another manifest").to_string()));
}

#[test]
fn a_lock_with_another_package_than_its_image_has_is_refused() {
    composes_another(|archive, lock, _| {
        let (old, text) = (archive.packages[0].deb(), &b"tool 1\n"[..]);
        let at = old.windows(text.len()).position(|window| window == text).unwrap();
        let mut new = old.clone();
        new[at + 5] = b'7';
        archive.set(&archive.packages[0].path(), &new);
        lock.replace(&Digest::of(&old).hex(), &Digest::of(&new).hex())
    });
}

/// A machine that has nothing but the project, and a repository with copies of what the lock names. No archive can be reached.
#[test]
fn a_repository_is_enough() {
    if !real_registry::available() {
        return;
    }
    let Some(locked) = Locked::shared() else { return };
    let registry = RealRegistry::start(locked.context.path(), None);
    let target = format!("oci://{}/site/debs", registry.host());
    locked.context.hermes(["mirror", &target]).ok();
    let far = Locked::empty().unwrap();
    far.context.configure(&format!("[debian]\nmirrors = ['{target}']\n"));
    let lock = far.context.read("hermes.lock");
    let output = far.context.hermes(["--locked", "fetch"]).output();
    output.exits(0);
    assert!(output.stderr.contains("composing own of "), "{}", output.stderr);
    far.works();
    assert_eq!(far.context.read("hermes.lock"), lock);
    assert_eq!(far.context.hermes(WHY).ok(), "base-files -> mawk -> libc6");
}

#[test]
fn a_site_store_is_enough() {
    let Some(locked) = Locked::empty() else { return };
    let site = locked.store();
    is_make(&warm(&locked.context).env("HERMES_SITE_STORE", site).output());
    let why = locked.context.hermes(WHY).env("HERMES_SITE_STORE", locked.store()).output();
    assert_eq!(why.ok(), "base-files -> mawk -> libc6");
    // All of it is now here.
    locked.works();
    assert_eq!(locked.context.hermes(WHY).ok(), why.text());
}

#[test]
fn an_exported_root_is_enough() {
    let Some(locked) = Locked::shared() else { return };
    let images = locked.context.json(&["images"]);
    let name = images[0]["reference"].as_str().unwrap();
    assert!(name.starts_with("packages.hermes.invalid/own:"), "{name}");
    let file = locked.context.path().join("root.tar");
    locked.context.hermes(["--offline", "export", name]).args([&file]).ok();
    let far = Locked::empty().unwrap();
    far.context.hermes(["--offline", "import"]).args([&file]).ok();
    far.works();
}

#[test]
fn the_collector_keeps_what_locked_roots_need() {
    let Some(locked) = Locked::copied() else { return };
    let packages = locked.debs();
    locked.works();
    // What the tests of mirrors leave in the store that all share: the empty configuration of artifacts.
    let _ = fs::remove_file(locked.context.store().join("blobs/sha256").join(Digest::of(b"{}").hex()));
    let before: BTreeSet<_> = locked.context.stored("blobs/sha256").into_iter().collect();
    let layers = locked.context.stored("layers");
    assert!(!before.is_disjoint(&packages), "packages are there until the collection");
    locked.context.hermes(["gc"]).ok();
    let after: BTreeSet<_> = locked.context.stored("blobs/sha256").into_iter().collect();
    assert_eq!(locked.context.stored("layers"), layers);
    assert_eq!(
        before.difference(&after).cloned().collect::<BTreeSet<_>>(),
        packages,
        "packages are freed, and only these"
    );
    locked.works();
    assert_eq!(locked.context.hermes(WHY).ok(), "base-files -> mawk -> libc6");
}

#[test]
fn a_run_is_recorded_and_rebuilt() {
    let Some(locked) = Locked::shared() else { return };
    locked.context.write(
        "Makefile",
        "all:\n\tmkdir -p out\n\tcat /usr/share/tool >out/tool\n\tcat /etc/debian_version >out/version\n",
    );
    locked.context.hermes([&WARM[..], &["--output", "out", "--", "make"]].concat()).ok();
    let record = locked.context.json(&["log", "show"]);
    let root = locked.root();
    assert_eq!(record["manifest"].as_str(), root["manifest"]["digest"].as_str(), "{record}");
    fs::remove_dir_all(locked.context.work().join("out")).unwrap();
    // The lock that the record has is enough.
    fs::remove_file(locked.context.work().join("hermes.lock")).unwrap();
    let id = record["id"].as_str().unwrap().trim_start_matches("sha256:");
    let found = locked.context.json(&["--offline", "rebuild", "--check", id]);
    assert_eq!((&found["same"], &found["compared"]), (&Value::Bool(true), &Value::from(2)), "{found}");
}

#[test]
fn documents_name_the_packages() {
    let Some(locked) = Locked::shared() else { return };
    locked.works();
    let wanted = locked.debs().len();
    let listed = locked.context.json(&["--offline", "packages"]);
    assert_eq!(listed["packages"].as_array().unwrap().len(), wanted);
    if !spdx::validator() {
        return;
    }
    let document = locked.context.hermes(["--offline", "packages", "--format", "spdx"]).ok();
    let document: Value = serde_json::from_str(&document).unwrap();
    let packages = spdx::checked(&document);
    assert_eq!(packages.len(), wanted + 1, "the packages, and the root");
    let make = packages.values().find(|package| package["name"] == "make").unwrap();
    assert_eq!(make["externalRefs"][0]["referenceLocator"], "pkg:deb/debian/make@4.3-4.1?arch=amd64&distro=debian-12");
    let contains = "packages.hermes.invalid/own:latest CONTAINS make";
    let relationships = spdx::relationships(&document, &packages);
    assert!(relationships.iter().any(|one| one == contains), "{relationships:?}");
    let document = locked.context.hermes(["log", "show", "--format", "spdx"]).ok();
    let packages = spdx::checked(&serde_json::from_str(&document).unwrap());
    assert!(packages.values().any(|package| package["name"] == "packages.hermes.invalid/own:latest"), "{document}");
}

#[test]
fn a_lock_of_packages_alone_gets_the_image_that_is_composed() {
    let Some(locked) = Locked::shared() else { return };
    let whole = locked.context.read("hermes.lock");
    let mut lock: toml::Table = whole.parse().unwrap();
    let root = lock["root"]["own"]["linux/amd64"].as_table_mut().unwrap();
    for key in ["manifest", "config", "layer", "tree", "chain-id"] {
        root.remove(key).unwrap();
    }
    locked.context.write("hermes.lock", &lock.to_string());
    locked.context.hermes(["--offline", "lock"]).ok();
    assert_eq!(locked.context.read("hermes.lock"), whole);
}

#[test]
fn apt_knows_the_archive_in_a_run_with_the_hosts_network() {
    let Some(locked) = Locked::shared() else { return };
    let world = World::new(TestContext::sharing(&locked.store()), &fixture().unwrap(), "1");
    let sources = |options: &[&str]| {
        let script = "cat /etc/apt/sources.list.d/*; apt-get --print-uris update";
        world.context.hermes([&["run"], options, &["--", "sh", "-c", script]].concat()).output().text()
    };
    let text = sources(&["--root", "--net", "host"]);
    let address = format!("http://{}/debian", world.server.host());
    for part in [
        &format!("URIs: {address}\nSuites: stable\nComponents: main\n"),
        &format!("'{address}/dists/stable/InRelease'"),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Nothing of it is in other runs.
    for options in [&["--root"][..], &["--net", "host"]] {
        let text = sources(options);
        assert!(!text.contains("http") && !text.contains("Suites"), "{options:?}: {text}");
    }
}

#[test]
fn a_root_is_verified_by_composing_it_again() {
    let Some(locked) = Locked::copied() else { return };
    let verify =
        |words: &[&str]| locked.context.hermes([&["--offline", "verify", "--compose"], words].concat()).output();
    let found = verify(&[]);
    assert_eq!(found.ok(), "own for linux-x86_64: composed again, with the same bytes");
    verify(&["other"]).refused(2, &["no root of packages of the toolchain 'other'"]);
    // A lock whose image is another one.
    let text = locked.context.read("hermes.lock");
    let manifest = locked.root()["manifest"]["digest"].as_str().unwrap().to_owned();
    let other = format!("sha256:{}", "0".repeat(64));
    locked.context.write("hermes.lock", &text.replace(&manifest, &other));
    let found = verify(&["own"]);
    found.exits(3);
    assert!(found.text().contains(&format!("composed to {manifest}, not to {other}")), "{}", found.text());
    assert_no_orphans(locked.context.store(), "after the comparison");
}

#[test]
fn toolchains_share_the_base_of_their_roots() {
    let Some(locked) = Locked::shared() else { return };
    let layers = |root: &toml::Table| {
        let layers = root["layer"].as_array().unwrap().iter();
        layers.map(|layer| layer["diff-id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = layers(&locked.root());
    let world = World::new(TestContext::sharing(&locked.store()), &fixture().unwrap(), "1");
    let text = world.context.read("hermes.toml").replace("['make', 'tool']", "['tool']");
    world.context.write("hermes.toml", &text);
    world.context.hermes(["lock"]).ok();
    let second = layers(&root(&world.lock()));
    assert_eq!((first.len(), second.len(), &first[0]), (2, 2, &second[0]));
    assert_ne!(first[1], second[1]);
    // The base was taken from the store: its packages were not even asked for.
    assert_eq!(world.server.count("/pool/"), 0);
}

/// Waits until it is so, while the command runs.
#[track_caller]
fn until(running: &Running, what: &str, is_so: impl Fn() -> bool) {
    let limit = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < limit, "{what}: pid {:?} goes on without", running.pid());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a root below `tmp` of the store has begun to be configured.
fn is_configured(context: &TestContext) -> bool {
    let status = |name: String| context.store().join("tmp").join(name).join("root/var/lib/dpkg/status");
    context.stored("tmp").into_iter().any(|name| fs::metadata(status(name)).is_ok_and(|file| file.len() > 0))
}

#[test]
fn a_killed_lock_leaves_a_store_that_works() {
    let Some(locked) = Locked::empty() else { return };
    let Locked { context, shared } = locked;
    fs::rename(context.work().join("hermes.lock"), context.work().join("good.lock")).unwrap();
    // The archive has a newer version of one package.
    let world = World::new(context, &fixture().unwrap(), "2");
    let context = &world.context;
    let moments: [(&str, &dyn Fn() -> bool); 3] = [
        ("when some packages are there", &|| context.stored("blobs/sha256").len() >= 10),
        ("when the base is configured", &|| is_configured(context)),
        ("when the base is a layer", &|| !context.stored("layers").is_empty()),
    ];
    for (when, is_so) in moments {
        let running = context.hermes(["lock"]).start();
        until(&running, when, is_so);
        running.signal(Signal::KILL);
        // Nothing that it started holds its output.
        assert_eq!(running.wait().code(), -9, "{when}");
        assert_consistent(context.store(), when);
        assert!(!context.work().join("hermes.lock").exists(), "{when}");
    }
    context.hermes(["lock"]).ok();
    assert_consistent(context.store(), "at the end");
    assert_no_orphans(context.store(), "at the end");
    is_make(&warm(context).output());
    // What a killed one has downloaded stays, but for what it was at.
    let mut paths: Vec<_> =
        world.server.seen().into_iter().filter(|seen| seen.range().is_none()).map(|seen| seen.path).collect();
    paths.retain(|path| path.contains("/pool/"));
    let once: BTreeSet<_> = paths.iter().collect();
    assert!(paths.len() < once.len() + 10, "{paths:?}");

    // The package that differs is found; the other root comes from a site store.
    let bisect = |script: &str| {
        let words = ["--offline", "bisect", "good.lock", "hermes.lock", "--", "grep", "-q", script, "/usr/share/tool"];
        context.hermes(words).env("HERMES_SITE_STORE", shared.join("store")).output()
    };
    let found = bisect("tool 1").ok();
    assert!(found.contains("packages of own for linux-x86_64") && found.contains("1 -> 2"), "{found}");
    bisect("tool 2").exits(1);
}
