//! `hermes import`: an OCI image layout or what `docker save` writes, as a tar, plain or compressed. Whatever it is, every blob
//! that comes into the store is what its name says, and a name is set only for an image that is whole.
#![no_main]

use std::fs;

use hermes::testing::digest::Digest;
use hermes::testing::progress::Silent;
use hermes::testing::store::Store;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    hermes_fuzz::mutate_tar(data, 0, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| {
    let around = tempfile::tempdir_in("/dev/shm").unwrap();
    let archive = around.path().join("image.tar");
    fs::write(&archive, data).unwrap();
    let store = Store::open(&around.path().join("store")).unwrap();
    let imported = store.import(&archive, None, &Silent);
    let blobs = around.path().join("store/blobs/sha256");
    for blob in fs::read_dir(&blobs).unwrap() {
        let blob = blob.unwrap();
        assert_eq!(blob.file_name().to_str(), Some(Digest::of(&fs::read(blob.path()).unwrap()).hex().as_str()));
    }
    match imported {
        Ok(images) => assert!(!images.is_empty()),
        Err(_) => assert!(store.refs().unwrap().is_empty(), "a name of an image that was refused"),
    }
});
