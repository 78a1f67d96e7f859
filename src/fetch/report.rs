//! What a fetch did.

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
