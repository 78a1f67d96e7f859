//! `hermes packages`.

use clap::{Args, ValueEnum};

use crate::cli::values::parsed;
use crate::platform::Platform;
use crate::reference::Reference;

#[derive(Debug, Args)]
pub(in crate::cli) struct Packages {
    /// The image
    #[arg(value_name = "REF", value_parser = parsed::<Reference>)]
    pub(in crate::cli) reference: Reference,
    /// Read this platform [default: this host's, if the store has it]
    #[arg(short, long, value_name = "PLATFORM", value_parser = parsed::<Platform>)]
    pub(in crate::cli) platform: Option<Platform>,
    /// Show what changed since the image OLD: packages, environment, command
    #[arg(long, value_name = "OLD", conflicts_with = "format", value_parser = parsed::<Reference>)]
    pub(in crate::cli) since: Option<Reference>,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    pub(in crate::cli) format: Format,
}

/// How packages are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
    /// A table; with --json, JSON
    Table,
    /// An SPDX 2.3 document, as JSON
    Spdx,
}
