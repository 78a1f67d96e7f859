//! The command line: the only reader of the environment and the only writer to the terminal.

mod allow;
mod args;
mod begun;
mod bundle;
mod config;
mod diagnostic;
mod dispatch;
mod env_vars;
mod exit;
mod explanation;
mod generate;
mod inventory;
mod launcher;
mod locks;
mod logbook;
mod printer;
mod progress;
mod prompt;
mod rebuilt;
mod settings;
mod sourced;
mod surroundings;
mod upkeep;

pub use dispatch::main;
