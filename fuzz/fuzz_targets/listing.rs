//! Listings of trees, kept in the store and named by records: what is read is written in one form, which means the same.
#![no_main]

use hermes::testing::compare::Listing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(listing) = Listing::parse(text) else { return };
    let written = listing.render();
    assert_eq!(Listing::parse(&written).expect("what hermes writes it reads").render(), written);
});
