//! Completions and manual pages, made from the same types as the parser.

use std::io::{self, Write as _};

use clap::CommandFactory as _;

use crate::cli::args::{Cli, Completions, Man};
use crate::cli::exec::{App, Exec, Exit, Show};
use crate::commands::Error;

impl Exec for Completions {
    fn exec(self, _: App) -> Result<Exit, Error> {
        Ok(Exit::show(self))
    }
}

impl Show for Completions {
    fn show(&self, _: bool) -> io::Result<()> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut <Cli>::command(), "hermes", &mut text);
        io::stdout().write_all(&text)
    }
}

impl Exec for Man {
    fn exec(self, _: App) -> Result<Exit, Error> {
        Ok(Exit::show(self))
    }
}

/// Writes `hermes.1` and a page for each command into the directory.
impl Show for Man {
    fn show(&self, _: bool) -> io::Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        clap_mangen::generate_to(<Cli>::command(), &self.directory)
    }
}
