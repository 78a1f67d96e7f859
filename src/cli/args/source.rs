//! `hermes source`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Source {
    /// Fetch an archive, and write it into hermes.toml and the lock
    Add {
        /// Where it is: https://… or file:///…; with --commit, a git repository
        url: String,
        /// Call it so [default: what the URL names, without its version]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// It is this commit of a git repository: the full id
        #[arg(long, value_name = "ID")]
        commit: Option<String>,
    },
    /// Fetch and unpack sources of the project, by the lock, which gets what it lacks
    Fetch {
        /// Which [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// List the sources of the project
    List,
    /// Read every byte that the store has of sources of the project
    Verify {
        /// Which [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Write the archives of all sources to a directory or to a repository of a registry
    Mirror {
        /// A directory, or REGISTRY/REPOSITORY
        #[arg(value_name = "DIR|REGISTRY/REPO")]
        target: String,
    },
}
