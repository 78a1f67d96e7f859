//! `hermes bundle`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use crate::cli::values::parsed;
use crate::platform::Platform;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Bundle {
    /// Write a bundle of everything that the project's lockfile, or the one of --lock, references
    Create(Create),
    /// Import a bundle into the store, so that 'hermes run --locked --offline' works
    Load(Load),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Create {
    /// Bundle to write, a tar of an OCI image layout; - for standard output
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) file: PathBuf,
    /// Include only this platform; may be repeated [default: all that are locked]
    #[arg(short, long = "platform", value_name = "PLATFORM", value_parser = parsed::<Platform>)]
    pub(in crate::cli) platforms: Vec<Platform>,
    /// Include Debian packages instead of the images that are composed of them; 'bundle load' composes them
    #[arg(long)]
    pub(in crate::cli) packages: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Load {
    /// Bundle to load; - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) file: PathBuf,
    /// Write the lockfile of the bundle, if the project, or --lock, has none yet
    #[arg(long)]
    pub(in crate::cli) write_lock: bool,
}
