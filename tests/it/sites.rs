//! Site stores: read-only stores that are searched before the network.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::support::context::TestContext;
use crate::support::elf::tiny;
use crate::support::fake_registry::FakeRegistry;
use crate::support::process::Output;

const TINY: &str = "test.invalid/tiny:1";

/// A store that has this image, shared by whoever owns it.
fn site(name: &str) -> TestContext {
    let site = TestContext::empty();
    let _ = site.import(&tiny("shared"), name);
    fs::set_permissions(site.store(), fs::Permissions::from_mode(0o755)).unwrap();
    site
}

fn run(world: &TestContext, site: &Path, name: &str, options: &[&str]) -> Output {
    let words = [options, &["run", "--image", name, "--", "tool"]].concat();
    world.hermes(words).env("HERMES_SITE_STORE", site).output()
}

/// Everything below a directory: path, time of change, length.
pub fn everything(directory: &Path) -> Vec<(PathBuf, i64, i64, u64)> {
    let mut all = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        all.push((path, meta.ctime(), meta.ctime_nsec(), meta.len()));
    }
    all.sort();
    all
}

/// The blob of a layer in a store.
fn layer(world: &TestContext, name: &str, at: usize) -> PathBuf {
    let digest = world.json(&["inspect", name])["layers"][at]["blob"]["digest"].as_str().unwrap().to_owned();
    world.store().join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn an_image_of_a_site_store_runs_offline() {
    let Some(world) = TestContext::sandbox() else { return };
    let site = site(TINY);
    let before = everything(site.store());
    run(&world, Path::new("/nowhere"), TINY, &["--offline"])
        .refused(4, &["is not on this machine", "skipping site store ", "/nowhere"]);
    world.configure(&format!("store.site = ['/nowhere/else', '{}']", site.store().display()));
    let run = || world.hermes(["--offline", "run", "--image", TINY, "--", "tool"]).output();
    assert_eq!(run().ok(), "shared amd64");
    assert_eq!(everything(site.store()), before, "something was written there");
    // Layers were unpacked out of it, documents copied; the image is now here like any other.
    assert_eq!(
        (world.stored("layers").len(), world.stored("blobs/sha256").len(), world.stored("refs").len()),
        (2, 3, 1)
    );
    fs::rename(site.store(), site.path().join("gone")).unwrap();
    let output = run();
    assert_eq!((output.ok().as_str(), output.stderr.as_str()), ("shared amd64", ""));
    world.hermes(["rm", TINY]).ok();
    assert_eq!((world.stored("layers"), world.stored("blobs/sha256")), (vec![], vec![]));
}

#[test]
fn what_is_readable_needs_no_more_than_entry() {
    let site = site(TINY);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let at = |name: &str| site.store().join(name);
    for name in ["blobs", "blobs/sha256", "refs"] {
        assert_eq!(mode(&at(name)), 0o755, "{name}");
        for entry in fs::read_dir(at(name)).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
            assert_eq!(mode(&entry) & 0o444, 0o444, "{}", entry.display());
        }
    }
    assert_eq!((mode(&at("VERSION")), mode(&at("layers"))), (0o644, 0o700));
}

#[test]
fn a_site_store_that_lies_is_passed_over() {
    let Some(_) = TestContext::sandbox() else { return };
    let registry = FakeRegistry::serve(tiny("shared"), |_, _, reply| reply);
    let name = format!("{}/lib/tiny:1", registry.host());
    // The damaged layer, then the damaged manifest, comes from the registry instead.
    let site = site(&name);
    let config = site.json(&["inspect", &name])["manifest"]["digest"].as_str().unwrap().to_owned();
    let manifest = site.store().join("blobs/sha256").join(config.trim_start_matches("sha256:"));
    for blob in [layer(&site, &name, 1), manifest] {
        flip(&blob);
        let world = TestContext::empty();
        let output = run(&world, site.store(), &name, &["--offline"]);
        output.refused(4, &["cannot use site store", "is not on this machine"]);
        assert_eq!(world.stored("refs"), Vec::<String>::new());
        let before = registry.count("/blobs/");
        let output = run(&world, site.store(), &name, &[]);
        assert_eq!(output.ok(), "shared amd64");
        assert!(output.stderr.contains("cannot use site store"), "{}", output.stderr);
        assert!(registry.count("/blobs/") > before, "nothing was asked of the registry");
        // The next run has all it needs here.
        assert_eq!(run(&world, site.store(), &name, &["--offline"]).ok(), "shared amd64");
    }
    // One that is of another version, or not for us to read, is a note.
    let world = TestContext::empty();
    fs::write(site.store().join("VERSION"), "2\n").unwrap();
    let output = run(&world, site.store(), &name, &[]);
    assert!(output.ok() == "shared amd64" && output.stderr.contains("version '2'"), "{}", output.stderr);
    let world = TestContext::empty();
    fs::set_permissions(site.store(), fs::Permissions::from_mode(0o000)).unwrap();
    let output = run(&world, site.store(), &name, &[]);
    assert!(output.ok() == "shared amd64" && output.stderr.contains("Permission denied"), "{}", output.stderr);
    fs::set_permissions(site.store(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_pull_takes_layers_from_a_site_store() {
    let Some(world) = TestContext::sandbox() else { return };
    let registry = FakeRegistry::serve(tiny("shared"), |_, _, reply| reply);
    let name = format!("{}/lib/tiny:1", registry.host());
    let site = site(TINY);
    let pull = || world.hermes(["pull", &name]).env("HERMES_SITE_STORE", site.store()).output();
    pull().exits(0);
    assert_eq!(registry.count("/blobs/"), 1, "the config only");
    assert_eq!(run(&world, Path::new(""), &name, &["--offline"]).ok(), "shared amd64");
}
