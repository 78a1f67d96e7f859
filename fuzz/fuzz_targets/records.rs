//! Records of runs: every line is read or counted as torn, and its id finds it again.
#![no_main]

use std::fs;

use hermes::testing::record::{self, RecordError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::write(directory.path().join("2026-01.jsonl"), data).unwrap();
    let mut entries = record::entries(directory.path()).unwrap();
    let found: Vec<_> = entries.by_ref().map(Result::unwrap).collect();
    let lines = data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64;
    assert_eq!(found.len() as u64 + entries.torn(), lines);
    for entry in found.iter().take(3) {
        match record::find(directory.path(), &entry.id.hex()) {
            Ok(again) => assert_eq!(again.id, entry.id),
            Err(RecordError::Ambiguous { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
});
