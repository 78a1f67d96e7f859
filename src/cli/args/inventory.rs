//! `hermes packages`.

use clap::Args;

#[derive(Debug, Args)]
pub(in crate::cli) struct Packages {
    /// The image
    #[arg(value_name = "REF")]
    pub(in crate::cli) reference: String,
    /// Platform to look at [default: this host's, if it is there]
    #[arg(short, long, value_name = "PLATFORM")]
    pub(in crate::cli) platform: Option<String>,
    /// List what changed since the image OLD: packages, environment, command
    #[arg(long, value_name = "OLD")]
    pub(in crate::cli) since: Option<String>,
}
