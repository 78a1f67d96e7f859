//! Interposed system calls: init answers some calls of the command in place of the kernel, for another time and another
//! order of directories, and for short positions in directories of 32-bit foreign programs.
//!
//! The filter stops the processes before these calls only, and each costs one stop. [`Interposer`] handles the stops:
//! - Real time ([`clock`]): calls that read it are answered with the time of [`Clock`](crate::sandbox::Clock), and the
//!   time that a call waits for is translated to the host's. At each start of a program the page that answers such calls
//!   without the kernel is hidden ([`vdso`]).
//! - Order of directories ([`directory`]): init reads the whole directory and returns it from its end.
//! - Positions in directories ([`positions`]): init reads the next entries and makes their positions fit into 32 bits.
//!
//! This only changes what a cooperative program sees: a program that goes out of its way finds the real values.

mod calls;
mod clock;
mod directory;
mod interposer;
mod positions;
mod vdso;

pub(in crate::sandbox) use calls::{interposed_rules, short_position_rules};
pub(super) use interposer::Interposer;
