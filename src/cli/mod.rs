//! The command line: the only reader of the environment and the only writer to the terminal.

mod allow;
mod args;
mod begun;
mod bisect;
mod bundle;
mod config;
mod df;
mod diagnostic;
mod dispatch;
mod doctor;
mod env_vars;
mod exec;
mod exit;
mod explain;
mod gc;
mod generate;
mod guest_overrides;
mod images;
mod import;
mod lock;
mod log;
mod login;
mod mirror;
mod packages;
mod plan;
mod printer;
mod progress;
mod prompt;
mod pull;
mod rebuild;
mod run;
mod sealed_exe;
mod settings;
mod source;
mod store;
mod toolchain;
mod values;
mod verify;

pub use dispatch::main;

#[cfg(test)]
mod tests;
