//! Files on disk: atomic replacement, locks, safe opening and removal, copies. `layer` handles paths from hostile archives, by
//! directory descriptors only.

pub(crate) mod atomic;
pub(crate) mod beneath;
pub(crate) mod boot;
pub(crate) mod copy;
pub(crate) mod entries;
pub(crate) mod flock;

pub(crate) mod measure;
pub(crate) mod opened;
pub(crate) mod orphans;
pub(crate) mod regular;
pub(crate) mod remove;
pub(crate) mod source_digest;
pub(crate) mod space;
pub(crate) mod trust;
