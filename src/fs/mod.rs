//! Files on disk: atomic publication, locks, safe removal, copies. Paths that come from hostile input are
//! handled by directory descriptors only (`layer`).

pub mod atomic;
pub mod beneath;
pub mod boot;
pub mod copy;
pub mod entries;
pub mod flock;
pub mod listing;
pub mod litter;
pub mod measure;
pub mod opened;
pub mod regular;
pub mod remove;
pub mod space;
pub mod trust;
