//! Products that are compared: two files that begin as ELF, and two archives (`ar`). Equal bytes are never different, and
//! different ones never the same. Programs that could be foreign, and their interpreters.
#![no_main]

use std::fs;

use hermes::testing::compare::{Product, compare};
use hermes::testing::emulation;
use hermes::testing::platform::Platform;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for platform in [Platform::Amd64, Platform::Arm64, Platform::ArmV7, Platform::S390x] {
        if emulation::is_program(platform, data) {
            assert!(data.starts_with(b"\x7fELF"));
        }
    }
    if let Some(interpreter) = emulation::interpreter(data) {
        assert!(!interpreter.contains(&0));
    }
    let end = data.iter().position(|byte| *byte == 0xff).unwrap_or(data.len() / 2);
    let around = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut roots = Vec::new();
    for (name, content) in [("one", &data[..end]), ("other", &data[end..])] {
        let root = around.path().join(name);
        fs::create_dir(&root).unwrap();
        fs::write(root.join("file"), content).unwrap();
        fs::write(root.join("whole"), data).unwrap();
        roots.push(root);
    }
    let products = [Product::open(&roots[0], None).unwrap(), Product::open(&roots[1], None).unwrap()];
    let found = compare([&products[0], &products[1]], &[]).unwrap();
    let same = data[..end] == data[end..];
    assert_eq!(found.files.is_empty(), same, "{:?}", found.files);
});
