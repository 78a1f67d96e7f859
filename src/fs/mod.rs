//! Files on disk: atomic publication, locks, safe removal, copies. Paths that come from hostile input are
//! handled by directory descriptors only (`layer`).

pub(crate) mod atomic;
pub(crate) mod beneath;
pub(crate) mod boot;
pub(crate) mod copy;
pub(crate) mod entries;
pub(crate) mod flock;
pub(crate) mod listing;
pub(crate) mod measure;
pub(crate) mod opened;
pub(crate) mod orphans;
pub(crate) mod regular;
pub(crate) mod remove;
pub(crate) mod space;
pub(crate) mod trust;
