//! rpm's database in a hash of Berkeley DB, out of an image.
#![no_main]

use hermes::testing::packages::Kind;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| hermes_fuzz::package_database("var/lib/rpm/Packages", Kind::Rpm, data));
