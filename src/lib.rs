//! hermes: a daemonless, container-free, hermetic toolchain manager.
#![deny(unsafe_code)]

pub mod digest;
pub mod emulation;
pub mod fs;
pub mod hint;
pub mod lock;
pub mod oci;
pub mod platform;
pub mod progress;
pub mod reference;
pub mod rootfs;
pub mod sandbox;
pub mod sys;
