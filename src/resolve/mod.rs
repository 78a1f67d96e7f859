//! Resolving a reference to an image, from a registry (`remote`) or from the store (`local`).
//!
//! Both read the same documents by the same rules (`walk`). Resolving from a registry stores index, manifest and config
//! as blobs without a name. `fetch` sets the reference once the layers are there too, so that no incomplete image is
//! ever visible.

mod error;
mod local;
mod remote;
mod walk;

pub use error::ResolveError;
pub use local::resolve_local;
pub(crate) use local::{platforms_local, resolve_stored};
pub use remote::resolve;
pub(crate) use remote::{platforms, preview};
pub(crate) use walk::Wanted;
pub(crate) use walk::check_level;
