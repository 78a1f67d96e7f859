//! The context of a test: a home, configuration, locks, a working directory and a store for hermes.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

use super::elf::tiny;
use super::image::Content;
use super::process::{Output, Run};
use super::real_registry::{self, RealRegistry};
use super::{made, require, which};

/// Debian for amd64 and arm64 (with gcc, make), arm/v5 and 386.
pub const DEBIAN: &str = "docker.io/library/buildpack-deps:bookworm";
/// Debian for amd64, in one layer.
pub const MIN: &str = "docker.io/library/debian:bookworm";
/// Debian for arm64 and arm/v5 with compilers and build systems.
pub const FOREIGN: &str = "docker.io/library/gcc:12";
/// Debian for amd64 with cross compilers for these, shells and text tools.
pub const NATIVE: &str = "docker.io/hermes/native:bookworm";
/// Its image for arm64 of Debian 13.
pub const TRIXIE: &str = "docker.io/library/gcc:14";
/// The native tools for that.
pub const NATIVE_TRIXIE: &str = "docker.io/hermes/native:trixie";
/// Debian for amd64 with a compiler for aarch64.
pub const CROSS: &str = "docker.io/dockcross/linux-arm64-lts:latest";

/// Replaces the catalogue's default toolchain in every context, by one with the image of the fixtures; a test that removes it gets the
/// catalogue's.
pub const DEFAULT_TOOLCHAIN: &str = "config/hermes/toolchains/debian.toml";

/// Where programs of the host are.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

pub struct TestContext {
    dir: tempfile::TempDir,
    store: PathBuf,
    host: String,
}

impl TestContext {
    /// One whose store is empty.
    pub fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        Self::with_store(dir, store)
    }

    /// One in memory, with an empty store, where sandboxes can be had: for what is done a hundred times over,
    /// since every unpacked layer waits for the whole disk. `None` elsewhere.
    pub fn in_memory() -> Option<Self> {
        if !sandboxes() {
            return None;
        }
        let dir = tempfile::tempdir_in("/dev/shm").map_err(|error| error.to_string());
        require("shm", dir.as_ref().map(drop).map_err(Clone::clone)).then_some(())?;
        dir.ok().map(|dir| {
            let store = dir.path().join("store");
            Self::with_store(dir, store)
        })
    }

    fn with_store(dir: tempfile::TempDir, store: PathBuf) -> Self {
        for name in ["home", "config/hermes/toolchains", "work"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        // Foreign images are run by the host's QEMU: the one of the catalogue is in a registry that no test asks.
        fs::write(dir.path().join(DEFAULT_TOOLCHAIN), without_emulator()).unwrap();
        Self { dir, store, host: std::env::var("HERMES_TEST_HOST").unwrap_or_default() }
    }

    /// The same on a host that lacks things: one of [`super::kernel::HOSTS`], or words of `tests/old_kernel.c`.
    /// `HERMES_TEST_HOST` says it for all contexts.
    pub fn on(self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self }
    }

    /// One whose store is empty and where sandboxes can be had. `None` elsewhere.
    pub fn sandbox() -> Option<Self> {
        sandboxes().then(Self::empty)
    }

    /// One with this store, which other tests have too: a test may add to it, but not take away.
    pub fn sharing(store: &Path) -> Self {
        Self::with_store(tempfile::tempdir().unwrap(), store.to_owned())
    }

    /// One whose store has the fixtures, and is shared: a test may add to it, but not take away.
    /// `None` where the fixtures or sandboxes are not available.
    pub fn fixtures() -> Option<Self> {
        static STORE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        if !sandboxes() {
            return None;
        }
        let store = STORE.get_or_init(fixture_store).clone();
        let dir = tempfile::tempdir().unwrap();
        require("fixtures", store.as_ref().map(drop).map_err(Clone::clone))
            .then(|| Self::with_store(dir, store.unwrap_or_default()))
    }

    /// One whose store has the small Debian for itself. `None` where this machine lacks it or sandboxes.
    pub fn with_debian() -> Option<Self> {
        let world = Self::sandbox()?;
        let fixtures = fixtures();
        if !require("fixtures", fixtures.as_ref().map(drop).map_err(Clone::clone)) {
            return None;
        }
        world.hermes(["import"]).args([fixtures.unwrap().join("images/min")]).ok();
        Some(world)
    }

    /// One with an empty store, and a registry that has the tiny image as `lib/tiny:1`: its program prints `text`.
    /// `None` where sandboxes or the registry are not available.
    pub fn with_registry(text: &str) -> Option<(Self, RealRegistry)> {
        let world = Self::sandbox()?;
        real_registry::available().then(|| {
            let registry = RealRegistry::start(world.path(), None);
            registry.push("lib/tiny", &tiny(text));
            (world, registry)
        })
    }

    /// One whose store has foreign images with compilers, and native tools for them.
    /// `None` where the images or emulation are not available.
    pub fn native() -> Option<Self> {
        static STORE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let images = [(FOREIGN, "arm64"), (FOREIGN, "arm/v5"), (NATIVE, "amd64")];
        Self::with_native_tools(|| STORE.get_or_init(|| unpacked("native", &["foreign", "native"], &images)).clone())
    }

    /// The same of Debian 13.
    pub fn native_trixie() -> Option<Self> {
        static STORE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let images = [(TRIXIE, "arm64"), (NATIVE_TRIXIE, "amd64")];
        Self::with_native_tools(|| {
            STORE.get_or_init(|| unpacked("trixie", &["trixie", "native-trixie"], &images)).clone()
        })
    }

    fn with_native_tools(store: impl FnOnce() -> Result<PathBuf, String>) -> Option<Self> {
        if !emulation() {
            return None;
        }
        let store = store();
        let dir = tempfile::tempdir().unwrap();
        require("native-tools", store.as_ref().map(drop).map_err(Clone::clone))
            .then(|| Self::with_store(dir, store.unwrap_or_default()))
    }

    /// The same where foreign programs run.
    pub fn foreign() -> Option<Self> {
        emulation().then(Self::fixtures).flatten()
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn store(&self) -> &Path {
        &self.store
    }

    /// The directory hermes is started in.
    pub fn work(&self) -> PathBuf {
        self.path().join("work")
    }

    /// The directory of remembered locks.
    pub fn locks(&self) -> PathBuf {
        self.path().join("state/hermes/locks")
    }

    /// The remembered lock of an image, which is named in full.
    pub fn image_lock(&self, image: &str) -> PathBuf {
        self.locks().join(format!("{}.lock", image.replace('/', "%2f")))
    }

    pub fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.work().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.work().join(path)).unwrap()
    }

    /// Writes the user's `config.toml`.
    pub fn configure(&self, text: &str) {
        fs::write(self.path().join("config/hermes/config.toml"), text).unwrap();
    }

    pub fn hermes<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Run {
        let mut run = Run::new(program()).args(words).dir(&self.work());
        run.command.env_clear().env("PATH", PATH).env("HOME", self.path().join("home"));
        for (name, path) in [("CONFIG", "config"), ("DATA", "data"), ("STATE", "state"), ("CACHE", "cache")] {
            run.command.env(format!("XDG_{name}_HOME"), self.path().join(path));
        }
        let run = run.env("HERMES_STORE", &self.store);
        if self.host.is_empty() {
            return run;
        }
        run.under(&super::kernel::words(&self.host).iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// `hermes run OPTIONS -- sh -c SCRIPT` in the small Debian.
    pub fn sh(&self, options: &[&str], script: &str) -> Run {
        self.hermes([&["run", "--image", MIN], options, &["--", "sh", "-c", script]].concat())
    }

    /// `hermes … --json`, read.
    #[track_caller]
    pub fn json(&self, words: &[&str]) -> Value {
        let text = self.hermes([words, &["--json"]].concat()).ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// Imports a hand-made image under `name`.
    #[track_caller]
    pub fn import(&self, content: &Content, name: &str) -> Output {
        let layout = tempfile::tempdir_in(self.path()).unwrap();
        content.write_layout(layout.path());
        let output = self.hermes(["import", "--name", name]).args([layout.path()]).output();
        output.exits(0);
        output
    }

    /// The lines of the store's records, oldest first; other tests may have written some.
    pub fn records(&self) -> String {
        let files = self.stored("records").into_iter().filter(|name| name.contains('.'));
        files.map(|name| fs::read_to_string(self.store.join("records").join(name)).unwrap()).collect()
    }

    /// The last of them.
    pub fn last_record(&self) -> Value {
        serde_json::from_str(self.records().lines().last().unwrap()).unwrap()
    }

    /// The one that has `text` in it.
    pub fn record_with(&self, text: &str) -> Value {
        serde_json::from_str(self.records().lines().find(|line| line.contains(text)).unwrap()).unwrap()
    }

    /// Names of what lies in a directory of the store, sorted.
    pub fn stored(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.store.join(directory)) else { return vec![] };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// The program that is tested: what cargo built for the tests, or the one in `HERMES_TEST_PROGRAM`.
pub fn program() -> PathBuf {
    std::env::var_os("HERMES_TEST_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_hermes").into(), PathBuf::from)
}

/// The toolchain debian-image but for its emulator, and without native tools, which would come from the host's archive.
fn without_emulator() -> String {
    let mut definition: toml::Table = include_str!("../../../toolchains/debian-image.toml").parse().unwrap();
    definition.remove("emulator").unwrap();
    definition.insert("native".to_owned(), false.into());
    definition.to_string()
}

/// `hermes doctor` of this host, run once for each program and boot: whether each step works, by its name.
fn finding(name: &str) -> Result<(), String> {
    static REPORT: OnceLock<Value> = OnceLock::new();
    let report = REPORT.get_or_init(|| {
        let file = fs::metadata(program()).unwrap();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let host = std::env::var("HERMES_TEST_HOST").unwrap_or_default();
        let key = format!("{} {:?} {boot} {host}", program().display(), file.modified().unwrap());
        let made = made::once("doctor", key.as_bytes(), |directory| {
            let output = TestContext::empty().hermes(["doctor", "--json"]).output();
            fs::write(directory.join("report"), &output.stdout).map_err(|error| error.to_string())
        });
        let text = fs::read(made.unwrap().join("report")).unwrap();
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text)))
    });
    let all = report["findings"].as_array().unwrap();
    let found = all.iter().find(|finding| finding["name"] == name).unwrap_or_else(|| panic!("no finding {name}"));
    if found["ok"] == true { Ok(()) } else { Err(found["detail"].as_str().unwrap().to_owned()) }
}

/// Whether sandboxes can be had here.
pub fn sandboxes() -> bool {
    let ordinary =
        || if rustix::process::getuid().is_root() { Err("these tests are an ordinary user's".into()) } else { Ok(()) };
    require("user", ordinary())
        && require("userns", finding("user namespace").and(finding("network namespace")).and(finding("/proc")))
        && (std::env::var("HERMES_TEST_HOST").is_ok() || require("overlay", finding("overlay")))
}

/// Whether foreign programs can be run here.
pub fn emulation() -> bool {
    sandboxes()
        && require("emulation", finding("private binfmt_misc").or_else(|_| finding("emulation by ptrace")))
        && require("qemu", finding("emulator for linux-aarch64").and(finding("emulator for linux-armv7")))
}

/// Whether a cgroup was delegated to these tests: `scripts/test` sees to it where it can.
pub fn cgroup() -> bool {
    sandboxes() && require("cgroup", finding("limits by cgroup"))
}

/// A program of the host that only tests need.
pub fn tool(name: &str) -> bool {
    require(name, which(name).map(drop))
}

/// Where `scripts/fixtures` put its images.
pub fn fixtures() -> Result<PathBuf, String> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fixtures");
    let path = std::env::var_os("HERMES_FIXTURES").map_or(default, PathBuf::from);
    let there = path.join("images/debian/index.json").exists();
    if there { Ok(path) } else { Err(format!("nothing in {}; run scripts/fixtures", path.display())) }
}

/// The store with the fixtures, unpacked: made once and kept below `target/tmp`, since that takes
/// longer than all tests. It is made again when the fixtures change. What must be unpacked by this
/// very hermes is pulled by a test of its own.
fn fixture_store() -> Result<PathBuf, String> {
    let platforms =
        [(DEBIAN, "amd64"), (DEBIAN, "386"), (DEBIAN, "arm64"), (DEBIAN, "arm/v5"), (MIN, "amd64"), (CROSS, "amd64")];
    unpacked("store", &["debian", "min", "cross"], &platforms)
}

/// Such a store of the fixtures' `images`, for these platforms of what they are.
fn unpacked(name: &str, images: &[&str], platforms: &[(&str, &str)]) -> Result<PathBuf, String> {
    let fixtures = fixtures()?;
    let images: Vec<_> = images.iter().map(|image| fixtures.join("images").join(image)).collect();
    let mut indexes = Vec::new();
    for image in &images {
        let index = fs::read(image.join("index.json"));
        indexes.extend(index.map_err(|error| format!("{}: {error}; run scripts/fixtures", image.display()))?);
    }
    made::once(name, &indexes, |store| {
        let world = TestContext::sharing(store);
        for image in &images {
            world.hermes(["import"]).args([image]).ok();
        }
        for (image, platform) in platforms {
            // Unpacks what was imported. Where there is no emulator the foreign ones are not needed.
            let output = world.hermes(["pull", "--image", image, "--platform", platform]).output();
            assert!(output.code() == 0 || output.stderr.contains("emulator"), "{}", output.stderr);
        }
        Ok(())
    })
}
