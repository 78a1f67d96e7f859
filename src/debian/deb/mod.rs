//! Archives of packages, `.deb` (deb(5)): read strictly, and unpacked into one tree as dpkg does, without running anything of
//! them.
//!
//! [`Root`] unpacks packages, in order of their names, into a [`crate::layer::Assembly`], and [`database()`] makes the files
//! from which dpkg knows that they are unpacked. An archive has members in this order, and nothing else: `debian-binary`,
//! `control.tar` and `data.tar`, both plain or compressed by gzip, xz or zstd.

mod ar;
mod control;
mod database;
mod error;
mod expected;
mod fields;
mod file;
mod md5;
mod merged_usr;
mod open;
mod root;

pub(crate) use ar::package;
pub use control::{Control, ControlFile};
pub(crate) use database::Additions;
pub use database::{DatabaseFile, database};
pub use error::{DebError, Fault};
pub use expected::Expected;
pub use file::copy_file;
pub(crate) use merged_usr::link_merged_usr;
pub use open::read_control;
pub use root::{Root, UnpackedPackage};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
