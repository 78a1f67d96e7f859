//! apk's database, out of an image.
#![no_main]

use hermes::testing::packages::Kind;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| hermes_fuzz::package_database("lib/apk/db/installed", Kind::Apk, data));
