//! `hermes.toml`, and toolchains of users: whatever the bytes, an error that can be shown, or a project.
#![no_main]

use std::path::Path;

use hermes::testing::digest::Digest;
use hermes::testing::fs::Opened;
use hermes::testing::lock::{Build, Source};
use hermes::testing::toolchain::Project;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match Project::parse(data, Opened::directory(Path::new("/")).unwrap()) {
        Ok(project) => {
            assert!(project.sources.keys().all(|name| Source::is_name(name)));
            let build = Build::new(&project.build, Digest::of(b""));
            assert!(build.uid != 0 && build.nproc != Some(0) && build.work.starts_with('/'));
        }
        Err(error) => drop(error.to_string()),
    }
});
