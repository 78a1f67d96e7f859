//! Emulation of foreign platforms by QEMU.
//!
//! hermes registers QEMU's user-mode emulator in a private `binfmt_misc` instance (Linux 6.7, commit 21ca59b365c0), which
//! belongs to the user namespace of the sandbox: nothing is registered on the host, and no handler of the host applies in the
//! sandbox. Other kernels use another [`EmulationMode`].

mod accel;
mod crash;
mod elf;
mod handler;
mod host_binfmt;
mod mode;
pub(crate) mod native;
mod qemu;
mod version;

pub(crate) use accel::Accel;
pub(crate) use crash::Crash;
pub use elf::{interpreter, is_program};
pub(crate) use handler::{Handler, VARIABLES, environment};
#[cfg(test)]
pub(crate) use host_binfmt::Fault;
pub(crate) use host_binfmt::{HostHandler, NoHostHandler, host_handler};
pub(crate) use mode::EmulationMode;
pub(crate) use qemu::{EmulationError, EmulatorFile, MAX_PROGRAM, find, inspect, path_for};
