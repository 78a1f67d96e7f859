//! `hermes packages`.

use clap::{Args, ValueEnum};

use crate::cli::values::parsed;
use crate::dpkg::PackageName;
use crate::platform::Platform;
use crate::reference::Reference;

#[derive(Debug, Args)]
pub(in crate::cli) struct Packages {
    /// The image [default: the packages of the toolchain, by the lockfile alone]
    #[arg(value_name = "REF", value_parser = parsed::<Reference>)]
    pub(in crate::cli) reference: Option<Reference>,
    /// List the packages of this toolchain [default: the project's]
    #[arg(short, long, value_name = "NAME", conflicts_with_all = ["reference", "since"])]
    pub(in crate::cli) toolchain: Option<String>,
    /// Show why a toolchain has PACKAGE: the chain of packages from a requested one
    #[arg(long, value_name = "PACKAGE", conflicts_with_all = ["reference", "since", "format"], value_parser = parsed::<PackageName>)]
    pub(in crate::cli) why: Option<PackageName>,
    /// Read this platform [default: this host's, if the store has it]
    #[arg(short, long, value_name = "PLATFORM", value_parser = parsed::<Platform>)]
    pub(in crate::cli) platform: Option<Platform>,
    /// Show what changed since the image OLD: packages, environment, command
    #[arg(long, value_name = "OLD", conflicts_with = "format", requires = "reference", value_parser = parsed::<Reference>)]
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
