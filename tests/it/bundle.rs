//! `hermes bundle`: writing everything that a lock names to one file, and loading it without a network.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use hermes::testing::digest::Digest;
use serde_json::Value;

use crate::support::context::{TestContext, emulation, tool};
use crate::support::elf::tiny;
use crate::support::fake_registry::{FakeRegistry, Reply, ranged};
use crate::support::image::{Codec, Content, layer};
use crate::support::process::Output;
use crate::support::real_registry::{self, RealRegistry};
use crate::support::{require, run, which};

/// A project with locked images for two platforms and a real QEMU, in front of a real registry.
pub struct Project {
    world: TestContext,
    registry: Option<RealRegistry>,
}

impl Project {
    pub fn new() -> Option<Self> {
        let world = TestContext::sandbox()?;
        let qemu = which("qemu-aarch64-static").map(drop);
        if !emulation() || !real_registry::available() || !require("qemu", qemu) {
            return None;
        }
        let registry = RealRegistry::start(world.path(), None);
        registry.push("lib/tiny", &tiny("word"));
        let qemu = fs::read(which("qemu-aarch64-static").unwrap()).unwrap();
        let mut content = Content::default();
        let image = content.image(("linux", "amd64", None), &[layer(Codec::Zstd, &[("usr/bin/qemu-aarch64", &qemu)])]);
        registry.push("lib/qemu", &content.tag("1", &image));
        let host = registry.host();
        let definition = format!(
            "[emulator]\nimage = '{host}/lib/qemu:1'\n[platform.linux-x86_64]\nimage = '{host}/lib/tiny:1'\n[platform.linux-aarch64]\nimage = '{host}/lib/tiny:1'\n"
        );
        world.write("../config/hermes/toolchains/own.toml", &definition);
        world.write("hermes.toml", "toolchain = 'own'\n");
        let project = Self { world, registry: Some(registry) };
        project.hermes("store", &["fetch", "-p", "amd64", "-p", "arm64"]).ok();
        Some(project)
    }

    /// The registry's, as references name it.
    pub fn host(&self) -> &str {
        self.registry.as_ref().unwrap().host()
    }

    pub fn lock(&self) -> String {
        self.world.read("hermes.lock")
    }

    pub fn hermes(&self, store: &str, words: &[&str]) -> Output {
        self.world.hermes(words).env("HERMES_STORE", self.path(store)).env("PATH", "/no/where").output()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.path().join(name)
    }

    /// Makes a bundle of this name.
    fn bundle(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        self.hermes("store", &["bundle", "create", path.to_str().unwrap()]).ok();
        fs::read(path).unwrap()
    }

    /// Loads these bytes into a new store, from which nothing may remain where that fails.
    fn load(&self, bytes: &[u8]) -> Output {
        let (file, store) = (self.path("spoilt"), self.path("fresh"));
        let _ = fs::remove_dir_all(&store);
        fs::write(&file, bytes).unwrap();
        let output = self.hermes("fresh", &["bundle", "load", file.to_str().unwrap()]);
        if output.code() != 0 {
            for directory in ["blobs/sha256", "refs", "layers", "tmp", "gcroots"] {
                let left = fs::read_dir(store.join(directory)).map_or(0, Iterator::count);
                assert_eq!(left, 0, "{directory} after {}", output.stderr);
            }
        }
        output
    }
}

/// The members of a tar: name, where it begins, and content.
pub fn members(bytes: &[u8]) -> Vec<(String, usize, Vec<u8>)> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let (name, at) = (entry.path().unwrap().to_str().unwrap().to_owned(), entry.raw_header_position());
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (name, usize::try_from(at).unwrap(), content)
    });
    entries.collect()
}

#[test]
fn a_build_without_a_network() {
    let Some(mut project) = Project::new() else { return };
    let lock = project.lock();
    assert!(lock.contains("[emulator.\"linux/arm64\"]") && lock.contains(".\"linux/amd64\"]"), "{lock}");
    let run_arm = ["run", "-p", "arm64", "--", "tool"];
    assert_eq!(project.hermes("store", &run_arm).ok(), "word arm64");
    let bytes = project.bundle("bundle.tar");
    let again = project.world.hermes(["bundle", "create", "-"]).env("HERMES_STORE", project.path("store")).output();
    assert!(again.exits(0).stdout == bytes, "not the same bytes on standard output");
    // From here on there is no registry.
    project.registry = None;
    let listed =
        project.hermes("far", &["--json", "bundle", "load", project.path("bundle.tar").to_str().unwrap()]).ok();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let kinds: Vec<_> = listed["parts"].as_array().unwrap().iter().map(|part| part["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["image", "image", "image", "emulator", "lock"]);
    for (platform, word) in [("arm64", "word arm64"), ("amd64", "word amd64")] {
        let words = ["--locked", "--offline", "run", "-p", platform, "--", "tool"];
        let output = project.hermes("far", &words);
        assert_eq!((output.ok().as_str(), output.stderr.as_str()), (word, ""));
    }
    assert_eq!(project.lock(), lock);
    // What the lock names stays there, and nothing of it is damaged.
    project.hermes("far", &["gc"]).ok();
    project.hermes("far", &["verify"]).ok();
    let from_far = project.path("again.tar");
    project.hermes("far", &["--offline", "bundle", "create", from_far.to_str().unwrap()]).ok();
    assert!(fs::read(from_far).unwrap() == bytes, "not the same bytes from the store it was loaded into");
    // Through a pipe.
    let piped = project.world.hermes(["bundle", "load", "-"]).env("HERMES_STORE", project.path("piped")).input(&bytes);
    piped.output().ok();
    assert_eq!(project.hermes("piped", &[&["--offline"], &run_arm[..]].concat()).ok(), "word arm64");
}

#[test]
fn what_is_missing_is_fetched_or_named() {
    let Some(project) = Project::new() else { return };
    let bytes = project.bundle("bundle.tar");
    let (elsewhere, file) = (project.path("elsewhere"), project.path("e.tar"));
    let file = file.to_str().unwrap();
    let offline = project.hermes("elsewhere", &["--offline", "bundle", "create", file]);
    offline
        .refused(4, &["the manifest of", "lib/tiny:1 for linux-aarch64", "the emulator for linux-aarch64", "hint: "]);
    assert!(!Path::new(file).exists());
    project.hermes("elsewhere", &["bundle", "create", file]).ok();
    assert!(fs::read(file).unwrap() == bytes, "not the same bytes from what was fetched");
    // Blobs of layers that are unpacked.
    let blobs = fs::read_dir(elsewhere.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    let biggest = blobs.filter(|path| fs::read(path).unwrap().starts_with(&[0x1f, 0x8b])).max().unwrap();
    fs::remove_file(&biggest).unwrap();
    let hex = biggest.file_name().unwrap().to_str().unwrap()[..12].to_owned();
    project.hermes("elsewhere", &["--offline", "bundle", "create", file]).refused(4, &["a layer of", &hex]);
    project.hermes("elsewhere", &["bundle", "create", file]).ok();
    assert!(fs::read(file).unwrap() == bytes && biggest.exists());
    // Of one platform.
    project.hermes("store", &["bundle", "create", "--platform", "amd64", file]).ok();
    let small = fs::read(file).unwrap();
    assert!(
        small.len() < bytes.len() && !members(&small).iter().any(|(_, _, content)| content.starts_with(b"\x7fELF"))
    );
    let output = project.load(&small);
    assert!(output.exits(0).stderr.contains("lib/tiny:1 for linux-aarch64"), "{}", output.stderr);
    assert_eq!(
        project.hermes("fresh", &["--offline", "--locked", "run", "-p", "amd64", "--", "tool"]).ok(),
        "word amd64"
    );
    // Of nothing.
    project
        .hermes("store", &["bundle", "create", "--platform", "386", file])
        .refused(1, &["hermes.lock contains no image to bundle"]);
    assert!(fs::read(file).unwrap() == small, "what was there is gone");
}

#[test]
fn sources_too() {
    let Some(mut project) = Project::new() else { return };
    let archive = {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(6);
        tar.append_data(&mut header, "p-1.0/hello", &b"hello\n"[..]).unwrap();
        tar.into_inner().unwrap()
    };
    let bytes = archive.clone();
    let fake = FakeRegistry::start(move |seen, _| ranged(seen, Reply::new(200, &bytes)));
    let url = format!("http://{}/p-1.0.tar", fake.host());
    project.world.write("hermes.toml", &format!("toolchain = 'own'\n[source.one]\nurl = '{url}'\n"));
    project.hermes("store", &["source", "fetch"]).ok();
    let bundle = project.bundle("bundle.tar");
    assert!(members(&bundle).iter().any(|(_, _, content)| *content == archive));
    // Where only the source is missing.
    let blob = project.path("store/blobs/sha256").join(Digest::of(&archive).hex());
    fs::remove_file(&blob).unwrap();
    let file = project.path("again.tar");
    let create = ["bundle", "create", file.to_str().unwrap()];
    project.hermes("store", &[&["--offline"], &create[..]].concat()).refused(4, &["the source one"]);
    project.hermes("store", &create).ok();
    assert!(fs::read(&file).unwrap() == bundle);
    project.registry = None;
    drop(fake);
    project.hermes("far", &["bundle", "load", file.to_str().unwrap()]).ok();
    project.hermes("far", &["gc"]).ok();
    let run = ["--offline", "--locked", "run", "-p", "arm64", "--", "tool"];
    assert_eq!(project.hermes("far", &run).ok(), "word arm64");
    project.hermes("far", &["--offline", "--locked", "source", "fetch"]).ok();
    let document: Value =
        serde_json::from_str(&project.hermes("far", &["log", "show", "--format", "spdx"]).ok()).unwrap();
    let packages = document["packages"].as_array().unwrap();
    let source = packages.iter().find(|package| package["name"] == "one").unwrap();
    assert_eq!(source["downloadLocation"], url);
    assert_eq!(source["checksums"][0]["checksumValue"], Digest::of(&archive).hex());
}

#[test]
fn no_byte_can_be_another() {
    let Some(project) = Project::new() else { return };
    let bytes = project.bundle("bundle.tar");
    let all = members(&bytes);
    project.load(&bytes).exits(0);
    let flip = |at: usize, expected: &str| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x01;
        project.load(&bytes).refused(3, &[expected]);
    };
    for (name, at, content) in &all {
        for offset in [0, 100, 130, 300, 511] {
            flip(at + offset, if *at == 0 { "is not a bundle" } else { "is damaged: " });
        }
        let expected = match content.get(..4) {
            Some(b"\x7fELF") => "is damaged: the emulator for linux-aarch64, ",
            Some([0x1f, 0x8b, ..]) => "is damaged: a layer of ",
            Some(b"# Wr") => "is damaged: the blob ",
            _ => "",
        };
        if !content.is_empty() {
            flip(at + 512 + content.len() / 2, expected);
            flip(at + 512 + content.len() - 1, expected);
        }
        if content.len() % 512 != 0 {
            flip(at + 512 + content.len(), &format!("invalid padding after {name}"));
        }
    }
    let index = &all[1];
    assert_eq!(index.0, "index.json");
    for at in (0..index.2.len()).step_by(97) {
        flip(index.1 + 512 + at, "");
    }
    for at in [bytes.len() - 1, bytes.len() - 1024] {
        flip(at, "is damaged: ");
    }
    for length in [0, 100, 512, 700, bytes.len() / 2, bytes.len() - 512, bytes.len() - 1] {
        project.load(&bytes[..length]).refused(3, &["spoilt is"]);
    }
    project.load(&[&bytes[..], b"x"].concat()).refused(3, &["data follows its end"]);
}

/// A bundle with the same members, changed by `change`, with the digests made good.
pub fn forged(bytes: &[u8], change: impl Fn(&str) -> String) -> Vec<u8> {
    let mut members: BTreeMap<_, _> = members(bytes).into_iter().map(|(name, _, content)| (name, content)).collect();
    let hex = |bytes: &[u8]| Digest::of(bytes).hex();
    let lock = members.values().find(|content| content.starts_with(b"# Written by hermes")).unwrap().clone();
    let mut renamed = (lock.clone(), change(str::from_utf8(&lock).unwrap()).into_bytes());
    // From the lock to the manifest that names it, and to the index.
    for _ in 0..2 {
        let (old, new) = &renamed;
        members.remove(&format!("blobs/sha256/{}", hex(old))).unwrap();
        members.insert(format!("blobs/sha256/{}", hex(new)), new.clone());
        let (from, to) = (hex(old), hex(new));
        let size = |length: usize| format!("\"size\":{length}");
        let names = |content: &&Vec<u8>| content.starts_with(b"{") && String::from_utf8_lossy(content).contains(&from);
        let holder = members.values().find(names).unwrap().clone();
        let text = String::from_utf8(holder.clone()).unwrap();
        let (head, tail) = text.split_at(text.find(&from).unwrap());
        let tail = tail.replacen(&from, &to, 1).replacen(&size(old.len()), &size(new.len()), 1);
        renamed = (holder, format!("{head}{tail}").into_bytes());
    }
    members.insert("index.json".into(), renamed.1);
    let mut archive = tar::Builder::new(Vec::new());
    let mut append = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        let is_directory = name.ends_with('/');
        header.set_entry_type(if is_directory { tar::EntryType::Directory } else { tar::EntryType::Regular });
        header.set_mode(if is_directory { 0o755 } else { 0o644 });
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, content).unwrap();
    };
    for name in ["oci-layout", "index.json", "blobs/", "blobs/sha256/"] {
        append(name, &members.remove(name).unwrap_or_default());
    }
    for (name, content) in &members {
        append(name, content);
    }
    archive.into_inner().unwrap()
}

#[test]
fn strangers_and_newer_bundles() {
    let Some(project) = Project::new() else { return };
    let bytes = project.bundle("bundle.tar");
    assert!(forged(&bytes, str::to_owned) == bytes, "the forger does not work");
    let newer = String::from_utf8_lossy(&bytes).find("vnd.hermes.bundle.version\":\"1\"").unwrap() + 28;
    let mut other = bytes.clone();
    other[newer] = b'7';
    project.load(&other).refused(3, &["has version 7; this hermes reads version 1", "hint: use the version"]);
    let version = forged(&bytes, |lock| lock.replacen("version = 2", "version = 9", 1));
    project.load(&version).refused(3, &["the lockfile in the bundle", "version 9"]);
    // A lock can neither ask for more than content, nor name content that is not there.
    let wider = forged(&bytes, |lock| lock.replacen("version = 2\n", "version = 2\nvolumes = [\"/:/host\"]\n", 1));
    project.load(&wider).refused(3, &["the lockfile in the bundle", "volumes"]);
    let emulator = |lock: &str| lock.find("[emulator").map(|at| lock[at..].find("sha256:").unwrap() + at + 7).unwrap();
    let absent = forged(&bytes, |lock| {
        let at = emulator(lock);
        format!("{}{}{}", &lock[..at], Digest::of(b"other").hex(), &lock[at + 64..])
    });
    project.load(&absent).refused(3, &["is damaged: its index.json does not match its lockfile"]);
    // What is no bundle.
    project.load(b"").refused(3, &["is not a bundle"]);
    project.load(&[b'x'; 4096]).refused(3, &["is not a bundle", "hint: make one with"]);
    let layout = project.path("layout.tar");
    let image = format!("{}/lib/tiny:1", project.host());
    project.hermes("store", &["pull", &image]).ok();
    project.hermes("store", &["export", &image, layout.to_str().unwrap()]).ok();
    project.load(&fs::read(&layout).unwrap()).refused(3, &["without a lockfile: use 'hermes import'"]);
    project.hermes("fresh", &["bundle", "load", "/no/where"]).refused(1, &["cannot read /no/where"]);
    // On the other hand its images can be imported, and other tools read it.
    let file = project.path("bundle.tar");
    let imported = project.hermes("imported", &["import", file.to_str().unwrap()]).ok();
    assert_eq!(imported.lines().count(), 2, "{imported}");
    let from_import = project.hermes("imported", &["--offline", "run", "-p", "amd64", "--image", &image, "--", "tool"]);
    assert_eq!(from_import.ok(), "word amd64");
    if tool("skopeo") {
        let reference = format!("oci-archive:{}:{image}", file.display());
        let raw = run("skopeo", &["inspect", "--raw", &reference], project.world.path());
        assert!(imported.contains(&Digest::of(raw.as_bytes()).to_string()), "{imported}");
        let lock = format!("oci-archive:{}:hermes.lock", file.display());
        let raw = run("skopeo", &["inspect", "--raw", &lock], project.world.path());
        assert!(raw.contains("application/vnd.hermes.lock.v1"), "{raw}");
    }
}

#[test]
fn whose_lock_it_is() {
    let Some(project) = Project::new() else { return };
    let lock = project.lock();
    let bundle = project.path("bundle.tar");
    project.bundle("bundle.tar");
    let bundle = bundle.to_str().unwrap();
    let load = |store: &str, more: &[&str]| project.hermes(store, &[&["bundle", "load", bundle][..], more].concat());
    // The project's own lock differs: it is kept, and the entries that it lacks are reported.
    let hex = Digest::of(b"another").hex();
    let at = lock.find("digest = \"sha256:").unwrap() + 17;
    let another = format!("{}{hex}{}", &lock[..at], &lock[at + 64..]);
    project.world.write("hermes.lock", &another);
    load("one", &["--write-lock"])
        .refused(1, &["hermes.lock exists and differs from the lockfile in the bundle", "hint: omit --write-lock"]);
    assert_eq!(fs::read_dir(project.path("one/blobs/sha256")).unwrap().count(), 0);
    let told = load("one", &[]);
    assert!(told.exits(0).stderr.contains("which is neither in the bundle nor in the store"), "{}", told.stderr);
    assert_eq!(project.lock(), another);
    // None.
    fs::remove_file(project.world.work().join("hermes.lock")).unwrap();
    let told = load("two", &[]);
    assert!(told.exits(0).stderr.contains("write the lockfile of the bundle with --write-lock"), "{}", told.stderr);
    assert!(!project.world.work().join("hermes.lock").exists());
    load("two", &["--write-lock"]).ok();
    assert_eq!(project.lock(), lock);
    load("two", &["--write-lock"]).ok();
    assert_eq!(
        project.hermes("two", &["--locked", "--offline", "run", "-p", "arm64", "--", "tool"]).ok(),
        "word arm64"
    );
    // No project.
    fs::remove_file(project.world.work().join("hermes.toml")).unwrap();
    load("three", &["--write-lock"]).refused(2, &["no project in this directory", "--lock FILE"]);
    project.hermes("two", &["bundle", "create", "x.tar"]).refused(2, &["no project in this directory"]);
    project.hermes("two", &["bundle", "create", "x.tar", "--lock", "hermes.lock"]).ok();
}
