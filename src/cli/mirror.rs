//! `hermes mirror`.

use std::fmt::{self, Write as _};

use crate::cli::args::mirror::Mirror;
use crate::cli::exec::{App, Exec, Exit};
use crate::cli::printer::{Print, table};
use crate::commands::Error;
use crate::commands::mirror::{self, Mirrored, Mirroring};
use crate::lock::FileKind;
use crate::mirror::Place;
use crate::size;

impl Exec for Mirror {
    fn exec(self, App { context, .. }: App) -> Result<Exit, Error> {
        Ok(Exit::show(mirror::mirror(&context, &Place::of_command(&self.target), self.dry_run)?))
    }
}

impl Print for Mirroring {
    fn write(&self, out: &mut String) -> fmt::Result {
        let row = |file: &Mirrored| {
            let kind = match file.kind {
                FileKind::Source => "source",
                FileKind::Package => "package",
                FileKind::Index => "index",
            };
            vec![kind.to_owned(), file.name.clone(), file.digest.short(), size::shown(file.size)]
        };
        let rows: Vec<_> = self.files.iter().filter(|file| file.sent).map(row).collect();
        if !rows.is_empty() {
            table(out, &["KIND", "NAME", "SHA256", "SIZE"], &rows)?;
        }
        let verb = if self.is_dry { "would be copied" } else { "copied" };
        let there = self.files.len() - rows.len();
        writeln!(out, "{} {verb}, {there} already there", rows.len())
    }
}
