//! `hermes.lock`: what is read is written in one form, which means the same.
#![no_main]

use std::path::Path;

use hermes::testing::lock;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    let path = Path::new("hermes.lock");
    let Ok(read) = lock::parse(text, path) else { return };
    let written = lock::render(&read);
    let again = lock::parse(&written, path).expect("what hermes writes it reads");
    assert_eq!(again, read);
    assert_eq!(lock::render(&again), written);
    assert!(lock::differences(&read, &again).is_empty());
});
