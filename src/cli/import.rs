//! `hermes import` and `hermes export`.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::path::Path;

use serde::Serialize;

use crate::cli::args::{Export, Import};
use crate::cli::exec::{App, Exec, Exit};
use crate::cli::printer::Print;
use crate::commands::export::Exported;
use crate::commands::{Error, export, import};
use crate::oci::Descriptor;
use crate::reference::Reference;
use crate::visible::visible;

impl Exec for Import {
    fn exec(self, app: App) -> Result<Exit, Error> {
        let name = self.name;
        let path = if self.path == *"-" { "/dev/stdin".into() } else { self.path };
        let images = import::import(&app.context, &path, name.as_ref())?;
        let images: Vec<_> = images.into_iter().map(|(reference, top)| Imported { reference, top }).collect();
        Ok(Exit::show(images))
    }
}

impl Exec for Export {
    fn exec(self, app: App) -> Result<Exit, Error> {
        let request = export::Request { reference: self.reference, format: self.format, platform: self.platform };
        if self.file == *"-" {
            export::stream(&app.context, &request, &stdout_for_archive(&self.file)?)?;
            return Ok(Exit::Code(0));
        }
        Ok(Exit::show(export::export(&app.context, &request, &self.file)?))
    }
}

/// Standard output for an archive, which `path` stands for, unless it is a terminal.
pub(super) fn stdout_for_archive(path: &Path) -> Result<File, Error> {
    let out = rustix::stdio::stdout();
    if rustix::termios::isatty(out) {
        return Err(Error::Terminal);
    }
    let out = out.try_clone_to_owned().map_err(|source| Error::Unwritable { path: path.to_owned(), source })?;
    Ok(out.into())
}

/// An imported image.
#[derive(Serialize)]
struct Imported {
    reference: Reference,
    top: Descriptor,
}

impl Print for Vec<Imported> {
    fn write(&self, out: &mut String) -> fmt::Result {
        for image in self {
            writeln!(out, "{}  {}", image.reference, image.top.digest)?;
        }
        Ok(())
    }
}

impl Print for Exported {
    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "{}  {}  {}", self.reference, self.digest, visible(&self.file.to_string_lossy()))
    }
}
