//! Init: process 1 of the sandbox, which carries out the plan ([`process`] has the order of its steps), and the start of the
//! command ([`command`]).
//!
//! All of it runs in a fork of a single-threaded process, so it is ordinary Rust. It has no output of its own: every failure
//! is a message to the supervisor.

pub(super) mod command;
mod handlers;
pub(super) mod limits;
mod link;
mod mount_point;
pub(super) mod privileges;
mod process;
pub(super) mod reap;
mod root;
mod skeleton;
pub(super) mod streams;
mod system;

pub(super) use handlers::register;
pub(super) use limits::allow_no_core_handler;
pub(super) use privileges::map_root;
pub(super) use process::run;
