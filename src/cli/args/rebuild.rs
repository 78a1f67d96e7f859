//! `hermes rebuild`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::run::RunOptions;
use crate::cli::values::OrWord;
use crate::commands::rebuild::Vary;

#[derive(Debug, Args)]
// After '--' comes the command, and else there is the record.
#[command(mut_arg("argv", |argv| argv.trailing_var_arg(false).last(true)))]
pub(in crate::cli) struct Rebuild {
    /// Compare the products of two builds of COMMAND, each in a copy of the project, or the outputs of a recorded run with
    /// those of a new one. Exit codes: 0 identical, 1 different, 2 a build failed, 3 not in the same environment
    #[arg(long)]
    pub(in crate::cli) check: bool,
    /// Recorded run, by the beginning of its id ('hermes log'); it determines all options of 'run' [default, without
    /// COMMAND: the last run of the current directory]
    #[arg(value_name = "RECORD", conflicts_with = "argv")]
    pub(in crate::cli) record: Option<String>,
    /// With RECORD: use the project in DIR, if it has moved
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "argv")]
    pub(in crate::cli) project: Option<PathBuf>,
    /// With RECORD: build the project even if it has changed since the record
    #[arg(long, conflicts_with = "argv")]
    pub(in crate::cli) changed_project: bool,
    /// With RECORD: download missing inputs by their digests
    #[arg(long, conflicts_with = "argv")]
    pub(in crate::cli) fetch: bool,
    /// Vary these aspects of the environment in the second build; a list with commas [default: nothing]
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    pub(in crate::cli) vary: Vec<OrWord<Vary>>,
    /// Keep both trees in the new directory DIR, also if they are identical [default: in the store for a week, if they differ]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(in crate::cli) keep: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) run: RunOptions,
}
