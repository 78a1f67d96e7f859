//! `hermes lock`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::Run;

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 4 if --check finds that the lock would change.")]
pub(in crate::cli) struct Lock {
    /// Ask registries what the lock's references mean now, and lock that; only these: references, a
    /// toolchain, sources
    #[arg(long, value_name = "NAME", num_args = 0.., conflicts_with_all = ["check", "diff"])]
    pub(in crate::cli) update: Option<Vec<String>>,
    /// Say what --update would change, and change nothing
    #[arg(long, conflicts_with = "diff")]
    pub(in crate::cli) check: bool,
    /// Say what lock file B has otherwise than A
    #[arg(long, num_args = 2, value_names = ["A", "B"], value_hint = ValueHint::FilePath,
        conflicts_with_all = ["toolchain", "platforms", "fetch"])]
    pub(in crate::cli) diff: Option<Vec<PathBuf>>,
    /// Fetch layers too: of images that are new in the lock, or changed
    #[arg(long)]
    pub(in crate::cli) fetch: bool,
    /// Platform to build for, in any usual spelling; may be repeated [default: all that the toolchain has]
    #[arg(short, long = "platform", value_name = "PLATFORM")]
    pub(in crate::cli) platforms: Vec<String>,
    /// Use this toolchain [default: the project's, else debian]
    #[arg(short, long, value_name = "NAME")]
    pub(in crate::cli) toolchain: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Bisect {
    /// The lock file that the build works with
    #[arg(value_name = "GOOD", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) good: PathBuf,
    /// The lock file that it fails with
    #[arg(value_name = "BAD", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) bad: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) run: Run,
}
