//! hermes: a daemonless, container-free, hermetic toolchain manager.
//!
//! The library has one function, [`main`]: it exists so that tests and fuzz targets can use parts of the program through
//! [`testing`]. The modules form layers, which `docs/architecture.md` lists in order:
//!
//! ```text
//! settings ─▶ Target ─▶ lock::Image ─▶ layers in the store ─▶ Rootfs ─▶ Plan ─▶ Outcome ─▶ record
//!           toolchain   lock, resolve   fetch, layer, store    rootfs    sandbox
//! ```

mod archive;
mod attest;
mod cli;
mod commands;
mod compare;
mod consent;
mod credentials;
mod debian;
mod digest;
mod dpkg;
mod emulation;
mod fetch;
mod fs;
mod hint;
mod layer;
mod lock;
mod mirror;
mod oci;
mod packages;
mod percent;
mod platform;
mod progress;
mod pypi;
mod record;
mod reference;
mod registry;
mod resolve;
mod rootfs;
mod sandbox;
mod size;
mod source;
mod store;
mod sys;
mod toolchain;
mod visible;

pub use cli::main;

#[doc(hidden)]
pub mod testing;

#[cfg(test)]
#[path = "../tests/formats/mod.rs"]
mod formats;
#[cfg(test)]
#[expect(unreachable_pub, reason = "the end-to-end tests use it as a module of theirs")]
#[path = "../tests/it/support/skip.rs"]
mod skip;
