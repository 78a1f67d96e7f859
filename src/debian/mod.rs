//! Debian: archives of packages, with their signed releases and indexes, and the choice of packages for a request, no I/O; and
//! the packages themselves ([`deb`]).
//!
//! An archive is trusted by its signatures alone: `InRelease` is verified with the keys of a [`Keyring`], [`Release`] has the
//! digests of the indexes, and an [`Index`] the digests of the packages. All bytes are hostile until then, and limited in
//! size and number.

mod clearsign;
pub(crate) mod compose;
pub(crate) mod deb;
mod index;
mod keyring;
mod openpgp;
mod release;
mod solve;

pub(crate) use clearsign::day;
pub use clearsign::{SignatureError, Signed, Signer, verify};
pub use index::{Field, Index, IndexPackage, ParseIndexError, Priority};
pub use keyring::{Keyring, ParseKeyringError, SigningKey};
pub use release::{IndexFile, ParseReleaseError, Release, ReleaseError, ReleaseFile};
pub use solve::{Pool, Selected, Solution, SolveError, VirtualChoice};
