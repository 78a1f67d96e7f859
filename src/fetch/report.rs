//! Report of a fetch.

use std::ops::Add;

/// Amounts of data that a fetch downloaded and reused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FetchReport {
    /// Bytes downloaded of index, manifest, config and layers.
    pub bytes_downloaded: u64,
    /// Layers downloaded.
    pub layers_downloaded: usize,
    /// Layers unpacked from blobs that were in the store.
    pub layers_unpacked: usize,
    /// Layers that were unpacked already.
    pub layers_reused: usize,
}

impl Add for FetchReport {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            bytes_downloaded: self.bytes_downloaded + other.bytes_downloaded,
            layers_downloaded: self.layers_downloaded + other.layers_downloaded,
            layers_unpacked: self.layers_unpacked + other.layers_unpacked,
            layers_reused: self.layers_reused + other.layers_reused,
        }
    }
}
