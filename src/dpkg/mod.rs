//! Debian's vocabulary: names, versions, architectures and relations of packages, and what users request of them. No I/O.
//!
//! The rules are those of the Debian Policy Manual and of dpkg. All parsers are strict, so that a value can become part of a
//! file name or of a line of the lockfile.

mod architecture;
mod name;
mod relation;
mod request;
mod version;

pub use architecture::{Architecture, ParseArchitectureError};
pub use name::{PackageName, ParsePackageNameError};
pub use relation::{
    ArchitectureRestriction, Constraint, Dependency, Operator, ParseRelationError, Profile, Qualifier, Relation,
    parse_relations,
};
pub use request::{ParseRequestError, Request};
pub use version::{ParseVersionError, Version};
