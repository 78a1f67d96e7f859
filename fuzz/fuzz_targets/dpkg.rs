//! dpkg's `status`, out of an image, and the compilers that it has.
#![no_main]

use hermes::testing::emulation::native::ImageCompilers;
use hermes::testing::packages::Kind;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    hermes_fuzz::package_database("var/lib/dpkg/status", Kind::Deb, data);
    let _ = ImageCompilers::of(data);
});
