//! `hermes allow`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// What to allow, list or revoke.
#[derive(Debug, Args)]
pub(in crate::cli) struct Allow {
    /// List everything that is allowed, for all projects
    #[arg(long, conflicts_with = "revoke")]
    pub(in crate::cli) list: bool,
    /// Revoke what is allowed for the project in the current directory, or in DIR
    #[arg(long)]
    pub(in crate::cli) revoke: bool,
    /// Directory of the project whose permission to revoke; need not exist [default: the project in the current directory]
    #[arg(value_name = "DIR", requires = "revoke", value_hint = ValueHint::DirPath)]
    pub(in crate::cli) project: Option<PathBuf>,
}
