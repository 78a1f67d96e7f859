//! Completions and manual pages, made from the same types as the parser.

use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory as _;

use crate::cli::args::Cli;

/// Writes the completions of a shell.
pub(super) fn completions(shell: clap_complete::Shell, out: &mut dyn Write) -> io::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut <Cli>::command(), "hermes", &mut text);
    out.write_all(&text)
}

/// Writes `hermes.1` and a page for each command into `directory`.
pub(super) fn man(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(<Cli>::command(), directory)
}
