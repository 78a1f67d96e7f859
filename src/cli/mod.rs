//! The command line: the only reader of the environment and the only writer to the terminal.

mod allow;
mod args;
mod begun;
mod bisect;
mod bundle;
mod config;
mod diagnostic;
mod dispatch;
mod env_vars;
mod exit;
mod explain;
mod generate;
mod lock;
mod logbook;
mod packages;
mod printer;
mod progress;
mod prompt;
mod rebuilt;
mod sealed_exe;
mod settings;
mod source;
mod store;
mod surroundings;

pub use dispatch::main;
