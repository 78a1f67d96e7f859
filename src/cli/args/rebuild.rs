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
    /// Compare what two builds of COMMAND make, each in a copy of the project, or what a recorded run made with what it makes
    /// now: exit code 0 same, 1 different, 2 not built, 3 not in the same environment
    #[arg(long)]
    pub(in crate::cli) check: bool,
    /// The recorded run, by the beginning of its id ('hermes log'); all options of 'run' are those of the record [default,
    /// without COMMAND: the last run of the current directory]
    #[arg(value_name = "RECORD", conflicts_with = "argv")]
    pub(in crate::cli) record: Option<String>,
    /// With RECORD: use the project in DIR, if it has moved
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "argv")]
    pub(in crate::cli) project: Option<PathBuf>,
    /// With RECORD: build the project even if it has changed since
    #[arg(long, conflicts_with = "argv")]
    pub(in crate::cli) changed_project: bool,
    /// With RECORD: fetch what is not on this machine, by its digest
    #[arg(long, conflicts_with = "argv")]
    pub(in crate::cli) fetch: bool,
    /// What the second build does differently; a list with commas [default: nothing]
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    pub(in crate::cli) vary: Vec<OrWord<Vary>>,
    /// Keep both trees in this new directory, whatever comes out [default: in the store for a week, if they differ]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(in crate::cli) keep: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) run: RunOptions,
}
