//! Layers that were composed of packages, found again by what they were composed of.
//!
//! A note beside the layer says so, which ends with it.

use std::fs;

use crate::digest::Digest;
use crate::lock;
use crate::oci::{self, Descriptor};
use crate::store::durability::read_line;
use crate::store::{Store, StoreError};

/// What the name of a note begins with; the key follows.
const NOTE: &str = "of-";

/// What tells a note that was damaged.
fn check_of(key: &Digest, layer: &lock::Layer) -> String {
    Digest::of(format!("{key} {} {} {}", layer.diff_id, layer.blob.digest, layer.blob.size).as_bytes()).short()
}

impl Store {
    /// The layer that was composed of what `key` identifies, if it is unpacked and its blob is there.
    #[must_use]
    pub fn composed_layer(&self, key: &Digest) -> Option<lock::Layer> {
        let name = format!("{NOTE}{}", key.hex());
        fs::read_dir(self.path("layers")).ok()?.flatten().find_map(|entry| {
            let diff_id = Digest::from_hex(entry.file_name().to_str()?).ok()?;
            let layer = read(&read_line(&entry.path().join(&name))?, key, diff_id)?;
            (self.has_layer(&diff_id) && self.has_blob(&layer.blob)).then_some(layer)
        })
    }

    /// Notes that the unpacked `layer` was composed of what `key` identifies.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn note_composed(&self, key: &Digest, layer: &lock::Layer) -> Result<(), StoreError> {
        let lock::Layer { blob, diff_id } = layer;
        let text = format!("{} {} {}\n", blob.digest.hex(), blob.size, check_of(key, layer));
        self.publish(&format!("layers/{}/{NOTE}{}", diff_id.hex(), key.hex()), text.as_bytes())
    }
}

/// The layer of a note; `None` if the note is damaged.
fn read(text: &str, key: &Digest, diff_id: Digest) -> Option<lock::Layer> {
    let mut words = text.split(' ');
    let digest = Digest::from_hex(words.next()?).ok()?;
    let blob = Descriptor::new(oci::LAYER_ZSTD, digest, words.next()?.parse().ok()?);
    let layer = lock::Layer { blob, diff_id };
    (words.next()? == check_of(key, &layer) && words.next().is_none()).then_some(layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_that_is_damaged_or_of_something_else_is_none() {
        let [key, diff_id, blob] = ["key", "layer", "blob"].map(|text| Digest::of(text.as_bytes()));
        let layer = lock::Layer { blob: Descriptor::new(oci::LAYER_ZSTD, blob, 12), diff_id };
        let text = format!("{} 12 {}", blob.hex(), check_of(&key, &layer));
        assert_eq!(read(&text, &key, diff_id), Some(layer));
        assert_eq!((read(&text, &blob, diff_id), read(&text, &key, blob)), (None, None));
        for at in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[at] ^= 1;
            assert_eq!(read(&String::from_utf8_lossy(&damaged), &key, diff_id), None, "{at}");
            assert_eq!(read(&text[..at], &key, diff_id), None, "{at}");
        }
    }
}
