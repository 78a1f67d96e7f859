//! What a fetch did.

use std::ops::Add;

/// What a fetch did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FetchReport {
    /// Bytes of index, manifest, config and layers that came over the network.
    pub bytes_downloaded: u64,
    /// Layers that came over the network.
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
