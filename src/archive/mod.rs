//! Archives of Debian packages, over the network or in directories: their signed state, and packages by their digest.
//!
//! An archive is a directory with `dists/SUITE/InRelease`, indexes and `pool/`. Its address is configuration: the toolchain's,
//! the user's, or that of the host's apt. Signatures alone decide whether a release is used, and digests whether a file is, so
//! that any mirror will do, over plain http too: for a file of a known digest also the mirrors of content of [`crate::mirror`],
//! and archives that keep old states. `docs/debian.md` describes toolchains of packages.

mod apt_sources;
mod debs;
mod error;
mod file;
mod mirror;
mod state;

pub(crate) use apt_sources::{for_root, for_run, of_host};
pub(crate) use error::ArchiveError;
pub(crate) use file::Source;
pub(crate) use mirror::{Addresses, Files, Mirror, settings};
pub(crate) use state::{Demand, MAX_INDEXES, Suite, read_index};
