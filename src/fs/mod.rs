//! Files on disk: atomic publication and locks. Paths that come from hostile input are handled by
//! directory descriptors only (`layer`).

pub mod atomic;
pub mod flock;
