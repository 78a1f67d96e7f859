//! Clearsigned documents and keyrings: nothing is accepted that the test keys have not signed.
#![no_main]

use hermes::testing::debian::{Keyring, verify};
use libfuzzer_sys::fuzz_target;

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("../../src/debian/testdata/", $name)).as_slice()
    };
}

/// The fingerprints of the keys in a file.
fn fingerprints(keyring: &Keyring) -> Vec<String> {
    keyring.keys().map(|key| key.fingerprint().to_string()).collect()
}

fuzz_target!(|data: &[u8]| {
    let own = Keyring::parse(&[file!("ed25519-key-extended.asc"), file!("rsa-key-armored.asc")].concat()).unwrap();
    if let Ok(signed) = verify(data, &own) {
        let known = [file!("ed25519.asc"), file!("odd.asc")].map(|document| verify(document, &own).unwrap().text);
        assert!(known.contains(&signed.text), "{}", signed.text);
        assert!(!signed.signers.is_empty());
        assert!(signed.signers.iter().all(|signer| fingerprints(&own).contains(&signer.fingerprint.to_string())));
    }
    if let Ok(keyring) = Keyring::parse(data) {
        assert!(keyring.keys().next().is_some());
        for document in [file!("ed25519.asc"), file!("both.asc")] {
            for signer in verify(document, &keyring).map(|signed| signed.signers).unwrap_or_default() {
                assert!(fingerprints(&own).contains(&signer.fingerprint.to_string()), "{signer:?}");
            }
        }
    }
});
