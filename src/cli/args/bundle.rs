//! `hermes bundle`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Bundle {
    /// Write all that the project's lock, or the one of --lock, names: images, emulators, sources, the lock itself
    Create(Create),
    /// Take all that is in a bundle into the store, so that 'hermes run --locked --offline' works
    Load(Load),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Create {
    /// The bundle, a tar of an OCI image layout; - for standard output
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) file: PathBuf,
    /// Only what is locked for this platform; may be repeated [default: all that is locked]
    #[arg(short, long = "platform", value_name = "PLATFORM")]
    pub(in crate::cli) platforms: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Load {
    /// The bundle; - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) file: PathBuf,
    /// Write the lock of the bundle where the project, or --lock, has none yet
    #[arg(long)]
    pub(in crate::cli) write_lock: bool,
}
