//! `hermes login` and `logout`.

use clap::Args;

#[derive(Debug, Args)]
pub(in crate::cli) struct Login {
    /// Registry: docker.io, quay.io, 127.0.0.1:5000
    #[arg(value_name = "REGISTRY")]
    pub(in crate::cli) registry: String,
    /// User name [default: prompt for it]
    #[arg(short, long, value_name = "USER")]
    pub(in crate::cli) user: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "user")]
    pub(in crate::cli) password_stdin: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Logout {
    /// Registry
    #[arg(value_name = "REGISTRY")]
    pub(in crate::cli) registry: String,
}
