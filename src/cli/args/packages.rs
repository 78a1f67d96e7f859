//! `hermes packages`.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(in crate::cli) struct Packages {
    /// The image
    #[arg(value_name = "REF")]
    pub(in crate::cli) reference: String,
    /// Platform to look at [default: this host's, if it is there]
    #[arg(short, long, value_name = "PLATFORM")]
    pub(in crate::cli) platform: Option<String>,
    /// List what changed since the image OLD: packages, environment, command
    #[arg(long, value_name = "OLD", conflicts_with = "format")]
    pub(in crate::cli) since: Option<String>,
    /// The form
    #[arg(long, value_enum, default_value = "table")]
    pub(in crate::cli) format: Format,
}

/// How packages are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
    /// For people; with --json as JSON
    Table,
    /// An SPDX 2.3 document, as JSON
    Spdx,
}
