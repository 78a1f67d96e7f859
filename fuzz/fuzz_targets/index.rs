//! Image indexes, as registries and image layouts have them.
#![no_main]

use hermes::testing::oci::{self, Document};
use hermes::testing::platform::Platform;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some((kind, json)) = data.split_first() else { return };
    let kinds = [None, Some(oci::INDEX), Some(oci::DOCKER_INDEX), Some(oci::MANIFEST), Some("text/plain")];
    let content_type = kinds[usize::from(*kind) % kinds.len()];
    let Ok(Document::Index(entries)) = Document::parse(json, content_type) else { return };
    assert_ne!(content_type, Some(oci::MANIFEST));
    // Strings of fields that hermes does not know are passed over, and may be no valid text.
    let Ok(value) = serde_json::from_slice::<Value>(json) else { return };
    for key in ["config", "layers"] {
        assert!(value.get(key).is_none_or(Value::is_null), "a manifest was taken for an index");
    }
    assert_eq!(value["manifests"].as_array().map(Vec::len), Some(entries.len()));
    for entry in &entries {
        if let Some(platform) = entry.known_platform() {
            // Its one name leads back to it.
            assert_eq!(platform.name().parse::<Platform>().ok(), Some(platform));
        }
        let again: oci::Descriptor = serde_json::from_str(&serde_json::to_string(entry).unwrap()).unwrap();
        assert_eq!(again, *entry);
    }
});
