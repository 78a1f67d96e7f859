//! From a reference to an image, down to its bytes: by a registry, or by what the store holds.
//!
//! Both ways read the same documents by the same rules (`walk`); they differ only in where bytes come
//! from. Resolving over the network leaves index, manifest and config in the store as blobs, which
//! nothing reaches yet; `fetch` sets the reference once the layers are there too, so that no half
//! image is ever visible.

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
