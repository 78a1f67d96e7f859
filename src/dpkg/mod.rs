//! Debian's vocabulary: names, versions, architectures and relations of packages, what users request of
//! them, and the syntax of control files. No I/O.
//!
//! The rules are those of the Debian Policy Manual and of dpkg. All parsers are strict, so that a value can become part of a
//! file name or of a line of the lockfile.

mod architecture;
mod fingerprint;
mod name;
mod paragraph;
mod relation;
mod request;
mod version;

pub use architecture::{Architecture, ParseArchitectureError};
pub use fingerprint::{Fingerprint, ParseFingerprintError};
pub use name::{PackageName, ParsePackageNameError};
pub use paragraph::ParseParagraphError;
pub(crate) use paragraph::{Paragraph, paragraphs};
pub use relation::{
    ArchitectureRestriction, Constraint, Dependency, Operator, ParseRelationError, Profile, Qualifier, Relation,
    parse_relations,
};
pub use request::{ParseRequestError, Request};
pub use version::{ParseVersionError, Version};
