//! `hermes lock`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::run::RunOptions;
use crate::cli::values::parsed;
use crate::platform::Platform;

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 4 if --check finds that the lockfile would change.")]
pub(in crate::cli) struct Lock {
    /// Update the lockfile to the current versions of its images and sources; with NAMEs, update only these references,
    /// sources or the images of this toolchain
    #[arg(long, value_name = "NAME", num_args = 0.., conflicts_with_all = ["check", "diff"])]
    pub(in crate::cli) update: Option<Vec<String>>,
    /// Show what --update would change, but change nothing
    #[arg(long, conflicts_with = "diff")]
    pub(in crate::cli) check: bool,
    /// Show what lockfile B has changed since A
    #[arg(long, num_args = 2, value_names = ["A", "B"], value_hint = ValueHint::FilePath,
        conflicts_with_all = ["toolchain", "platforms", "fetch"])]
    pub(in crate::cli) diff: Option<Vec<PathBuf>>,
    /// Also download the layers of images that are new or changed in the lockfile
    #[arg(long)]
    pub(in crate::cli) fetch: bool,
    /// Lock this platform, in any usual spelling; may be repeated [default: all that the toolchain has]
    #[arg(short, long = "platform", value_name = "PLATFORM", value_parser = parsed::<Platform>)]
    pub(in crate::cli) platforms: Vec<Platform>,
    /// Use this toolchain [default: the project's, else debian]
    #[arg(short, long, value_name = "NAME")]
    pub(in crate::cli) toolchain: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Bisect {
    /// Lockfile with which the build works
    #[arg(value_name = "GOOD", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) good: PathBuf,
    /// Lockfile with which the build fails
    #[arg(value_name = "BAD", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) bad: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) run: RunOptions,
}
