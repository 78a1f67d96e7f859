//! Patches, applied to a small tree: whatever the patch, nothing outside of the tree changes.
#![no_main]

use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::sync::LazyLock;

use hermes::testing::layer::Limits;
use hermes::testing::source;
use libfuzzer_sys::fuzz_target;

/// A tar with a file, a program, an empty file and a link that leads out of it.
static ARCHIVE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, mode: u32, content: &str| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content.as_bytes()).unwrap();
    };
    add("text", 0o644, "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n");
    add("d/program", 0o755, "#!/bin/sh\necho one\necho two");
    add("d/empty", 0o644, "");
    let mut link = tar::Header::new_ustar();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    tar.append_link(&mut link, "d/link", "../text").unwrap();
    tar.into_inner().unwrap()
});

fuzz_target!(|data: &[u8]| {
    let around = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::write(around.path().join("text"), "canary").unwrap();
    let tree = around.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let mut archive: File = tempfile::tempfile_in("/dev/shm").unwrap();
    archive.write_all(&ARCHIVE).unwrap();
    archive.rewind().unwrap();
    if let Ok(unpacked) = source::unpack(&mut archive, 0, &[data], &tree, &Limits::default()) {
        assert_eq!(hermes::testing::fs::source_digest::of_tree(&tree).unwrap(), unpacked.digest);
    }
    assert_eq!(fs::read(around.path().join("text")).unwrap(), b"canary");
    assert_eq!(fs::read_dir(around.path()).unwrap().count(), 2, "something appeared beside the tree");
});
