//! Toolchains: which image builds for which platform.
//!
//! The catalogue is embedded from `toolchains/*.toml`. A file of the user with the same name, or a table in the project's
//! `hermes.toml`, replaces a whole definition; definitions are not merged.

mod additions;
mod catalog;
mod debian;
mod definition;
mod foreign;
mod project;
mod shipped;
mod source;

pub(crate) use additions::Additions;
pub(crate) use catalog::Catalog;
pub(crate) use debian::{ARCHIVE_DATE, Debian, Packages, SignedBy, ToolArchive, is_mirror};
pub(crate) use definition::{Content, Definition, ToolchainError};
pub(crate) use foreign::{EmulatorSource, Native};
pub use project::Project;
pub(crate) use project::{MAX_FILE, Mounted, PROJECT_FILE};
pub(crate) use source::{Origin, SourceDefinition};
