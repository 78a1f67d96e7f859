//! Placements: what is put into the root of an image.

use std::path::PathBuf;

/// Something that is put into the root of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Placement {
    /// A file or directory of the native tools.
    Native { source: PathBuf, target: PathBuf },
    /// A file of the root, at another path too.
    Again { source: PathBuf, target: PathBuf },
    /// A generated program.
    Program { target: PathBuf, content: Vec<u8> },
}
