//! `hermes allow`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Without options, allows the project of the current directory what its hermes.toml asks for beyond the project itself: the
/// host's network, files of this host, repositories by ssh. That holds until one of these settings changes.
#[derive(Debug, Args)]
pub(in crate::cli) struct Allow {
    /// List all that is allowed
    #[arg(long, conflicts_with = "revoke")]
    pub(in crate::cli) list: bool,
    /// Allow the project of the current directory, or the one in DIR, nothing any more
    #[arg(long)]
    pub(in crate::cli) revoke: bool,
    /// With --revoke: the directory of the project, which need not exist [default: the project of the current directory]
    #[arg(value_name = "DIR", requires = "revoke", value_hint = ValueHint::DirPath)]
    pub(in crate::cli) project: Option<PathBuf>,
}
