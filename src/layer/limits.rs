//! Limits on the size of a layer, and the memory budget of a tree.

use crate::layer::LayerError;
use crate::layer::toc::Entry;

/// What one layer may cost. Exceeding any of it is an error.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries of the tar, whiteouts included; and as many files and directories, those included that the tar does
    /// not contain although paths lead through them.
    pub entries: u64,
    /// Bytes of the tar after decompression, and bytes of all files.
    pub bytes: u64,
    /// Bytes unpacked for each compressed byte, beyond [`Self::free`] (decompression bombs).
    pub ratio: u64,
    /// Bytes that a layer may unpack to whatever the size of its blob: a layer of zeros is not yet an attack.
    pub free: u64,
    /// Bytes of a path.
    pub path: u32,
    /// Names in a path.
    pub depth: u32,
    /// Bytes of the extended headers of one entry.
    pub metadata: u32,
    /// Bytes of all paths, link targets and extended attributes, which stay in memory until the layer is unpacked.
    /// Several layers are unpacked at a time.
    pub table: u64,
}

/// Bytes that a layer may unpack to whatever the size of its blob, where the user says nothing else.
const FREE: u64 = 4 << 30;
/// Most bytes that a layer may unpack to, where the user does not allow more.
const BYTES: u64 = 1 << 40;

impl Limits {
    /// The usual ones, but that a layer may unpack to `free` bytes whatever the size of its blob.
    #[must_use]
    pub fn unpacking_to(free: u64) -> Self {
        Self { free, bytes: BYTES.max(free), ..Self::default() }
    }

    /// Whether `bytes` may come of a blob of which `consumed` bytes were read.
    pub(crate) fn check_ratio(&self, consumed: u64, bytes: u64) -> Result<(), LayerError> {
        if bytes > consumed.saturating_mul(self.ratio).saturating_add(self.free) {
            return Err(LayerError::Bomb { free: self.free, ratio: self.ratio });
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 4_000_000,
            bytes: BYTES,
            ratio: 200,
            free: FREE,
            path: 4095,
            depth: 256,
            metadata: 1 << 20,
            table: 256 << 20,
        }
    }
}

/// What an extended attribute takes of the memory beside its name and value, in bytes, roughly.
const PER_XATTR: usize = 128;

/// Counts what a tree keeps in memory while it grows. What is removed again still counts, since it cost time.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    most: (u64, u64),
    entries: u64,
    bytes: u64,
}

/// Bytes that an entry at `path` keeps in memory, beside a fixed part.
pub(super) fn weight(path: &[u8], entry: &Entry) -> usize {
    let xattrs = entry.xattrs.iter().map(|(name, value)| name.len() + value.len() + PER_XATTR);
    path.len() + entry.link.len() + xattrs.sum::<usize>()
}

impl MemoryBudget {
    /// One that nothing was counted in, for at most so many entries and bytes.
    pub(crate) fn new(entries: u64, bytes: u64) -> Self {
        Self { most: (entries, bytes), entries: 0, bytes: 0 }
    }

    /// Counts an entry with so many bytes.
    ///
    /// # Errors
    /// [`LayerError::Limit`].
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), LayerError> {
        self.entries += 1;
        if self.entries > self.most.0 {
            return Err(LayerError::Limit { what: "entries", limit: self.most.0 });
        }
        self.more(bytes)
    }

    /// Counts more bytes of entries that were counted.
    ///
    /// # Errors
    /// [`LayerError::Limit`].
    pub(crate) fn more(&mut self, bytes: usize) -> Result<(), LayerError> {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.bytes > self.most.1 {
            let what = "bytes of paths, link targets and extended attributes";
            return Err(LayerError::Limit { what, limit: self.most.1 });
        }
        Ok(())
    }
}
