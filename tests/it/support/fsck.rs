//! Checks that a store is consistent, from its files alone and without the code that wrote them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hermes::testing::digest::Digest;
use hermes::testing::layer::{Kind, Toc};
use hermes::testing::oci::{Descriptor, Document};
use hermes::testing::store::{DIRECTORIES, FILES};
use serde_json::Value;

/// Panics unless all that counts in the store is whole: blobs have the content of their name, layers what their
/// table of contents says, names what they mean. `when` is for the message.
#[track_caller]
pub fn assert_consistent(store: &Path, when: &str) {
    if !store.exists() {
        return;
    }
    for name in list(store) {
        assert!(DIRECTORIES.iter().chain(&FILES).any(|known| name == *known), "{when}: {name} in the store");
    }
    assert_eq!(fs::metadata(store).unwrap().permissions().mode() & 0o77, 0, "{when}: others may enter the store");
    for name in list(&store.join("blobs/sha256")) {
        let path = store.join("blobs/sha256").join(&name);
        assert_eq!(Digest::of(&fs::read(&path).unwrap()).hex(), name, "{when}: a blob is not what its name says");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o222, 0, "{when}: a blob can be written");
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    for name in list(&store.join("layers")) {
        let layer = store.join("layers").join(name);
        let done = fs::read_to_string(layer.join("done"));
        let done = done.unwrap_or_else(|error| panic!("{when}: a layer that is not done: {error}"));
        assert!(done.is_empty() || done == boot.trim(), "{when}: a layer done in boot {done}");
        assert_layer(&layer, when);
    }
    for name in list(&store.join("sources")) {
        let source = store.join("sources").join(name);
        let done = fs::read_to_string(source.join("done"));
        let done = done.unwrap_or_else(|error| panic!("{when}: a source that is not done: {error}"));
        assert!(done.is_empty() || done == boot.trim(), "{when}: a source done in boot {done}");
        let tree = hermes::testing::fs::source_digest::of_tree(&source.join("fs")).unwrap();
        assert_eq!(fs::read_to_string(source.join("tree")).unwrap(), tree.hex(), "{when}: a source is not what it was");
    }
    for name in list(&store.join("refs")) {
        let value: Value = serde_json::from_slice(&fs::read(store.join("refs").join(name)).unwrap()).unwrap();
        assert!(value["name"].is_string(), "{when}: {value}");
        let top: Descriptor = serde_json::from_value(value["target"].clone()).unwrap();
        let bytes = fs::read(store.join("blobs/sha256").join(top.digest.hex()));
        let bytes = bytes.unwrap_or_else(|error| panic!("{when}: what a name means is not there: {error}"));
        Document::parse(&bytes, Some(&top.media_type)).unwrap();
    }
    for name in list(&store.join("gcroots")) {
        let path = fs::read_to_string(store.join("gcroots").join(name)).unwrap();
        assert!(path.starts_with('/'), "{when}: gcroots: {path}");
    }
    if let Ok(bytes) = fs::read(store.join("index.json")) {
        let index = Document::parse(&bytes, None);
        assert!(matches!(index, Ok(Document::Index(_))), "{when}: index.json is {index:?}");
    }
    if let Ok(version) = fs::read_to_string(store.join("VERSION")) {
        assert_eq!(version, "1\n", "{when}");
    }
}

/// Panics where something of a dead process lies about.
#[track_caller]
pub fn assert_no_orphans(store: &Path, when: &str) {
    for directory in ["tmp", "trash", "partial"] {
        assert_eq!(list(&store.join(directory)), [""; 0], "{when}: left in {directory}");
    }
}

fn assert_layer(layer: &Path, when: &str) {
    let toc = Toc::read(File::open(layer.join("toc")).unwrap()).unwrap();
    let root = layer.join("fs");
    let mut there = BTreeSet::new();
    walk(&root, &root, &mut there);
    for entry in &toc.entries {
        let path = root.join(std::ffi::OsStr::from_bytes(&entry.path));
        if matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice | Kind::Fifo) {
            continue;
        }
        assert!(there.remove(&entry.path), "{when}: {} is not in its layer", path.display());
        if entry.kind == Kind::File {
            let digest = Digest::of(&fs::read(&path).unwrap());
            assert_eq!(Some(digest), entry.digest, "{when}: {}", path.display());
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
                u32::from(entry.mode & 0o777) | 0o600
            );
        }
    }
    assert!(there.is_empty(), "{when}: {there:?} in {}", layer.display());
}

fn walk(root: &Path, at: &Path, found: &mut BTreeSet<Vec<u8>>) {
    found.insert(at.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec());
    if fs::symlink_metadata(at).unwrap().is_dir() {
        for entry in fs::read_dir(at).unwrap() {
            walk(root, &entry.unwrap().path(), found);
        }
    }
}

fn list(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return vec![] };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
