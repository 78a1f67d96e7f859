//! Archives of Debian packages: signed releases and indexes of packages. No I/O.
//!
//! An archive is trusted by its signatures alone: `InRelease` is verified with the keys of a [`Keyring`], [`Release`] has the
//! digests of the indexes, and an [`Index`] the digests of the packages. All bytes are hostile until then, and limited in
//! size and number.

mod clearsign;
mod index;
mod keyring;
mod openpgp;
mod release;

pub use clearsign::{SignatureError, Signed, Signer, verify};
pub use index::{Field, Index, IndexPackage, ParseIndexError, Priority};
pub use keyring::{Keyring, ParseKeyringError, SigningKey};
pub use release::{IndexFile, ParseReleaseError, Release, ReleaseError, ReleaseFile};
