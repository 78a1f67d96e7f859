//! `hermes allow`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// What to allow, list or revoke.
#[derive(Debug, Args)]
pub(in crate::cli) struct Allow {
    /// List everything that is allowed, for all projects
    #[arg(long, conflicts_with = "revoke")]
    pub(in crate::cli) list: bool,
    /// Remove the consent for the project of the current directory, or for the one in DIR
    #[arg(long)]
    pub(in crate::cli) revoke: bool,
    /// With --revoke: the directory of the project, which need not exist [default: the project of the current directory]
    #[arg(value_name = "DIR", requires = "revoke", value_hint = ValueHint::DirPath)]
    pub(in crate::cli) project: Option<PathBuf>,
}
