//! Bundles: what is accepted holds all that its lock names, by its digest; loading what was refused changes nothing.
#![no_main]

use std::fs;

use hermes::testing::progress::Silent;
use hermes::testing::store::Store;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    hermes_fuzz::mutate_tar(data, 0, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| {
    let around = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = around.path().join("bundle");
    fs::write(&file, data).unwrap();
    let store = Store::open(&around.path().join("store")).unwrap();
    if let Ok(staged) = store.stage_bundle(&file, &Silent) {
        let mut lease = store.lease();
        staged.publish(&store, &mut lease).unwrap();
        assert!(
            store.lacking(staged.lock(), staged.form()).unwrap().is_empty(),
            "a bundle that lacks what its lock names"
        );
    } else {
        let blobs = around.path().join("store/blobs/sha256");
        assert_eq!(fs::read_dir(blobs).unwrap().count(), 0, "a blob of a bundle that was refused");
    }
});
