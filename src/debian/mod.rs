//! Archives of Debian packages. No I/O.
//!
//! An archive is trusted by its signatures alone: `InRelease` is verified with the keys of a [`Keyring`].

mod clearsign;
mod keyring;
mod openpgp;

pub use clearsign::{SignatureError, Signed, Signer, verify};
pub use keyring::{Keyring, ParseKeyringError, SigningKey};
