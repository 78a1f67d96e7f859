//! What is known of a package before its archive is opened.

use crate::digest::Digest;
use crate::dpkg::{Architecture, PackageName, Version};

/// What an index, or a lockfile, says of a package's archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub name: PackageName,
    pub version: Version,
    pub architecture: Architecture,
    /// SHA-256 of the archive.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}
