//! Foreign platforms: which emulator runs them, and how the kernel is told.
//!
//! hermes registers QEMU's user-mode emulator in a `binfmt_misc` instance of its own (Linux 6.7,
//! commit 21ca59b365c0), which belongs to the sandbox's user namespace: nothing is registered on the
//! host, and no handler of the host applies inside. Where there is none it does without ([`EmulationMode`]).

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
pub(crate) use host_binfmt::{HostHandler, NoHostHandler, host_handler};
pub(crate) use mode::EmulationMode;
pub(crate) use qemu::{EmulationError, EmulatorFile, find, inspect, path_for};
