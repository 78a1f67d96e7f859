//! Bundles: everything that a lock names, as an OCI image layout in a tar (`docs/bundles.md`).
//!
//! The contents of a bundle and their order follow from its lock alone. So the reader knows every byte that is not part of a
//! blob, and every blob has its digest: no change of a byte goes unnoticed.

mod contents;
mod load;
mod read;
mod write;

pub(super) use contents::PART;
pub(crate) use contents::{Form, Part};
