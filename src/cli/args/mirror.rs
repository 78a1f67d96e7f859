//! `hermes mirror`.

use clap::{Args, ValueHint};

#[derive(Debug, Args)]
pub(in crate::cli) struct Mirror {
    /// Directory, or repository in a registry
    #[arg(value_name = "DIR|oci://REGISTRY/REPO", value_hint = ValueHint::DirPath)]
    pub(in crate::cli) target: String,
    /// Show what would be copied, but change nothing
    #[arg(short = 'n', long)]
    pub(in crate::cli) dry_run: bool,
}
