//! Archives of sources, zip and tar in each compression, as they come from strangers: nothing appears beside the tree, and
//! the digest of the tree is what the same archive gives again.
#![no_main]

use std::fs::File;
use std::io::{Seek as _, Write as _};

use hermes::testing::fs::source_digest;
use hermes::testing::layer::Limits;
use hermes::testing::source;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let around = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut archive: File = tempfile::tempfile_in("/dev/shm").unwrap();
    archive.write_all(data).unwrap();
    archive.rewind().unwrap();
    let Ok(strip) = source::strip_of(&mut archive, &Limits::default()) else { return };
    let mut digests = Vec::new();
    for name in ["one", "other"] {
        let tree = around.path().join(name);
        std::fs::create_dir(&tree).unwrap();
        match source::unpack(&mut archive, strip, &[] as &[&[u8]], &tree, &Limits::default()) {
            Ok(unpacked) => {
                assert_eq!(source_digest::of_tree(&tree).unwrap(), unpacked.digest, "the tree is not what was counted");
                digests.push(unpacked);
            }
            Err(_) => assert!(name == "one" || digests.is_empty(), "the second time it is refused"),
        }
        hermes::testing::fs::remove::path(&tree).unwrap();
    }
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(std::fs::read_dir(around.path()).unwrap().next().is_none(), "something appeared beside the tree");
});
