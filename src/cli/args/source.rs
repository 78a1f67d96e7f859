//! `hermes source`.

use clap::Subcommand;

use super::mirror::Mirror;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Source {
    /// Download a source and add it to hermes.toml and the lockfile
    Add {
        /// URL of the archive: https://… or file:///…; with --commit, of a git repository
        url: String,
        /// Name the source NAME [default: the last part of the URL, without its version]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Use this commit of a git repository; the full id
        #[arg(long, value_name = "ID")]
        commit: Option<String>,
    },
    /// Download and unpack sources of the project, and add them to the lockfile
    Fetch {
        /// Names of sources [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// List the sources of the project
    List,
    /// Verify the integrity of the sources in the store
    Verify {
        /// Names of sources [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Copy the sources and packages of the lockfile to a mirror; the same as 'hermes mirror'
    Mirror(Mirror),
}
