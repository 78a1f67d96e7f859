//! What is put into the root of an image.

use std::path::PathBuf;

/// One thing to put into the root of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Placement {
    /// A file or directory of the native tools.
    Native {
        /// On the host.
        source: PathBuf,
        /// Inside.
        target: PathBuf,
    },
    /// What is in the root already, at another place too.
    Again {
        /// Inside.
        source: PathBuf,
        /// Inside.
        target: PathBuf,
    },
    /// A program that is made for this.
    Program {
        /// Inside.
        target: PathBuf,
        /// All of it.
        content: Vec<u8>,
    },
}
