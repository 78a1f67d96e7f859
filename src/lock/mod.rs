//! The lock: the content that each reference had when it was resolved.
//!
//! Goals, in this order: complete (nothing else is needed to fetch and run), byte-stable (sorted, no time stamps, no paths
//! of the host; reading and writing preserve the bytes), readable, small diffs (a change stays within the block of one
//! image), and safe to accept from a stranger (it names content only, and cannot weaken the sandbox). `docs/lockfile.md`
//! describes the format.

mod build;
mod content;
mod debs;
mod diff;
mod entry;
mod file;
mod model;
mod packages;
mod root;
mod source;
mod wire;

pub use build::Build;
pub(crate) use build::{BuildSettings, Epoch, Feature, Network, Personality, Umask, is_hostname};
pub(crate) use content::{FileKind, LockedFile};
pub(crate) use debs::Made;
pub use diff::differences;
pub(crate) use diff::{Change, Entry};
pub(crate) use entry::UnknownPlatforms;
pub(crate) use file::{LockError, LockFile};
pub use file::{parse, render};
pub(crate) use model::{Emulator, FileOfImage, FileOfPackage, Lock, Origin};
pub use model::{Image, Layer};
pub(crate) use root::{
    Archive, Deb, NativeTools, Root, RootKey, is_of_packages, is_web, native_key, native_reference, root_key,
    root_reference,
};
pub use source::Source;
pub(crate) use source::{Package, ToolchainSourceKey};
