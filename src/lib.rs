//! hermes: a daemonless, container-free, hermetic toolchain manager.
//!
//! The program is `cli`; everything else is what it is made of, in the order of `docs/architecture.md`:
//!
//! ```text
//! settings ─▶ Choice ─▶ lock::Image ─▶ layers in the store ─▶ Rootfs ─▶ Plan ─▶ Outcome ─▶ record
//!           toolchain   lock, resolve   fetch, layer, store    rootfs    sandbox
//! ```

pub mod cli;
pub mod commands;
pub mod compare;
pub mod consent;
pub mod credentials;
pub mod digest;
pub mod emulation;
pub mod fetch;
pub mod fs;
pub mod hint;
pub mod layer;
pub mod lock;
pub mod oci;
pub mod packages;
pub mod platform;
pub mod progress;
pub mod record;
pub mod reference;
pub mod registry;
pub mod resolve;
pub mod rootfs;
pub mod sandbox;
pub mod size;
pub mod source;
pub mod store;
pub mod sys;
pub mod toolchain;
pub mod visible;

#[cfg(test)]
#[expect(unreachable_pub, reason = "the end-to-end tests use it as a module of theirs")]
#[path = "../tests/it/support/skip.rs"]
mod skip;
