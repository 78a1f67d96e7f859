//! Image manifests: what is taken for one is one to any reader, and nothing else besides.
#![no_main]

use hermes::testing::oci::{self, Document};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some((kind, json)) = data.split_first() else { return };
    let kinds = [None, Some(oci::MANIFEST), Some(oci::DOCKER_MANIFEST), Some(oci::INDEX), Some("text/plain")];
    let content_type = kinds[usize::from(*kind) % kinds.len()];
    let Ok(Document::Manifest(manifest)) = Document::parse(json, content_type) else { return };
    assert!(manifest.layers.len() <= oci::MAX_LAYERS);
    assert_ne!(content_type, Some(oci::INDEX));
    // Strings of fields that hermes does not know are passed over, and may be no valid text.
    let Ok(value) = serde_json::from_slice::<Value>(json) else { return };
    assert!(value.get("manifests").is_none_or(Value::is_null), "an index was taken for a manifest");
    assert_eq!(value["config"]["digest"], manifest.config.digest.to_string());
    let layers = value["layers"].as_array().expect("a manifest without layers");
    assert_eq!(layers.len(), manifest.layers.len());
    for (theirs, ours) in layers.iter().zip(&manifest.layers) {
        assert_eq!(theirs["digest"], ours.digest.to_string());
        assert_eq!(theirs["size"], ours.size);
        // What goes into a lock or a name of the store is read back as it was.
        let again: oci::Descriptor = serde_json::from_str(&serde_json::to_string(ours).unwrap()).unwrap();
        assert_eq!(again, *ours);
    }
});
