//! Errors of package archives.

use crate::digest::Digest;
use crate::dpkg::{PackageName, ParseRelationError};
use crate::hint::{ErrorKind, Hint};
use crate::layer::LayerError;
use crate::visible::{shortened, visible_path};

/// A package cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[error("cannot unpack the package {package}")]
pub struct DebError {
    pub package: PackageName,
    pub source: Box<Fault>,
}

/// What is wrong with a package. Texts of the package are fit for a terminal.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The archive has another digest than the index says.
    #[error("checksum mismatch: expected {expected}, got {actual}")]
    Digest { expected: Digest, actual: Digest },
    /// The archive has another length than the index says.
    #[error("size mismatch: expected {expected} bytes, got {actual}")]
    Size { expected: u64, actual: u64 },
    /// The archive cannot be read.
    #[error("cannot read the archive")]
    Read(#[source] std::io::Error),
    /// No `.deb`, or not one of version 2.0.
    #[error("invalid package archive: {0}")]
    Archive(&'static str),
    /// A member of the archive is no valid tar, or has what it must not have.
    #[error("invalid {member}")]
    Member {
        /// Such as `control.tar`.
        member: &'static str,
        source: LayerError,
    },
    /// A file of the control archive is not what it should be.
    #[error("invalid control file '{file}': {why}")]
    Control { file: String, why: String },
    /// A field of the control file says something else than the index does.
    #[error("expected {field} {expected}, got {actual}")]
    Other { field: &'static str, expected: String, actual: String },
    /// An entry of the data must not be there.
    #[error("the entry '{path}' is refused: {why}")]
    Entry { path: String, why: &'static str },
    /// Another package has a file with this path.
    #[error("'{path}' is also in the package {other}, and neither package replaces the other")]
    Conflict {
        path: String,
        /// The package that was unpacked before.
        other: PackageName,
    },
    /// The tree cannot be written, or is over its limits.
    #[error("cannot add it to the tree")]
    Tree(#[from] LayerError),
}

impl Fault {
    pub(super) fn control(file: &str, why: impl Into<String>) -> Self {
        Self::Control { file: shortened(file, 100), why: why.into() }
    }

    pub(super) fn relation(field: &str, error: &ParseRelationError) -> Self {
        Self::control("control", format!("{field}: {error}"))
    }

    pub(super) fn entry(path: &[u8], why: &'static str) -> Self {
        Self::Entry { path: visible_path(path), why }
    }

    /// For `map_err`: makes it an error of this package.
    pub(super) fn of(package: &PackageName) -> impl FnOnce(Self) -> DebError {
        let package = package.clone();
        move |fault| DebError { package, source: Box::new(fault) }
    }
}

impl DebError {
    /// Whether two packages cannot be unpacked into one tree.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(*self.source, Fault::Conflict { .. })
    }
}

impl Hint for DebError {
    fn kind(&self) -> ErrorKind {
        match &*self.source {
            Fault::Read(_) => ErrorKind::Failed,
            Fault::Member { source, .. } | Fault::Tree(source) => source.kind(),
            _ => ErrorKind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match &*self.source {
            Fault::Member { source, .. } | Fault::Tree(source) => source.hints(),
            Fault::Conflict { .. } => vec!["remove one of the two packages from the request".into()],
            _ => vec![],
        }
    }
}
