//! Permissions: images whose files nobody may read, and a umask of the caller that forbids everything.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use crate::support::context::TestContext;
use crate::support::elf::{Machine, program};
use crate::support::fake_registry::FakeRegistry;
use crate::support::fsck::{assert_consistent, assert_no_orphans};
use crate::support::image::{Codec, Content, Layer, layer, pack};

const NAME: &str = "test.invalid/modes:1";

/// A layer of directories and files that nobody may touch, with `u` set on some.
fn locked() -> Layer {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind, mode, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content).unwrap();
    };
    add("locked/", tar::EntryType::Directory, 0, b"");
    add("locked/in/", tar::EntryType::Directory, 0, b"");
    add("locked/in/file", tar::EntryType::Regular, 0, b"secret\n");
    add("locked/in/deep/er/file", tar::EntryType::Regular, 0o000, b"");
    add("group/", tar::EntryType::Directory, 0o2070, b"");
    add("group/file", tar::EntryType::Regular, 0o4040, b"");
    add("open/", tar::EntryType::Directory, 0o1777, b"");
    add("open/file", tar::EntryType::Regular, 0o6777, b"");
    // Another in its place, so that it is taken away while it is locked.
    add("locked", tar::EntryType::Regular, 0, b"now a file\n");
    add("other/", tar::EntryType::Directory, 0, b"");
    add("other/file", tar::EntryType::Regular, 0, b"");
    pack(Codec::Gzip, tar.into_inner().unwrap())
}

fn image() -> Content {
    let tool = layer(Codec::Zstd, &[("bin/tool", &program(Machine::Amd64, "free\n", 0)), ("implied/by/path", b"")]);
    let mut content = Content::default();
    let manifest = content.image(("linux", "amd64", None), &[locked(), tool]);
    content.tag("1", &manifest)
}

/// Every path below `root`, with its type and mode.
fn tree(root: &Path, at: &Path, found: &mut BTreeMap<String, String>) {
    let metadata = fs::symlink_metadata(at).unwrap();
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => "directory",
        kind if kind.is_char_device() => "whiteout",
        kind if kind.is_symlink() => "symlink",
        _ => "file",
    };
    let name = at.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    found.insert(name, format!("{kind} {:o}", metadata.permissions().mode() & 0o7777));
    if metadata.is_dir() {
        for entry in fs::read_dir(at).unwrap() {
            tree(root, &entry.unwrap().path(), found);
        }
    }
}

#[test]
fn the_callers_umask_changes_nothing() {
    let Some(world) = TestContext::in_memory() else { return };
    let fake = FakeRegistry::serve(image(), |_, _, reply| reply);
    let name = format!("{}/lib/modes:1", fake.host());
    let mut trees = Vec::new();
    for umask in ["022", "000", "077", "0777"] {
        for directory in ["store", "state"] {
            hermes::testing::fs::remove::path(&world.path().join(directory)).unwrap();
        }
        let run = |words: &[&str]| {
            let script = format!("umask {umask}; exec \"$@\"");
            world.hermes(words).under(&["sh", "-c", &script, "sh"]).output()
        };
        run(&["pull", "--quiet", &name]).ok();
        for _ in 0..2 {
            assert_eq!(run(&["run", "--quiet", "--image", &name, "--", "tool"]).ok(), "free", "umask {umask}");
        }
        assert_consistent(world.store(), umask);
        assert_no_orphans(world.store(), umask);
        let mut found = BTreeMap::new();
        tree(world.store(), world.store(), &mut found);
        // A lock beside a file is made as files are, by the umask.
        found.remove(".index.json.flock").unwrap();
        assert_eq!(found[""], "directory 700");
        assert!(found.values().all(|mode| !mode.ends_with("666")), "anyone may write: {found:?}");
        trees.push((umask, found));
    }
    let (_, first) = &trees[0];
    assert!(first.len() > 30, "{first:?}");
    for (umask, found) in &trees[1..] {
        assert_eq!(found, first, "umask {umask}");
    }
}

#[test]
fn what_forbids_everything_is_unpacked_run_and_removed() {
    let Some(world) = TestContext::in_memory() else { return };
    let _ = world.import(&image(), NAME);
    let run = || world.hermes(["run", "--quiet", "--image", NAME, "--", "tool"]).ok();
    assert_eq!(run(), "free");
    assert_consistent(world.store(), "unpacked");
    let layer = world.store().join("layers").join(locked().diff_id().hex()).join("fs");
    for (path, mode) in [("locked", 0o600), ("group", 0o770), ("group/file", 0o640), ("open", 0o1777), ("other", 0o700)]
    {
        let found = fs::metadata(layer.join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, mode, "{path}");
    }
    // Worse than it may come: nothing in it can be entered by its owner any more.
    let mut all = BTreeMap::new();
    tree(world.store(), &world.store().join("layers"), &mut all);
    for path in all.keys().rev().filter(|path| path.contains("/fs")) {
        fs::set_permissions(world.store().join(path), fs::Permissions::from_mode(0o000)).unwrap();
    }
    world.hermes(["rm", NAME]).ok();
    for directory in ["layers", "blobs/sha256", "refs", "tmp", "trash"] {
        assert_eq!(world.stored(directory), [""; 0], "{directory}");
    }
}
