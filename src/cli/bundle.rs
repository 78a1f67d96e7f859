//! `hermes bundle`.

use std::fmt;

use crate::cli::args::bundle::Bundle;
use crate::cli::exec::{App, Exec, Exit};
use crate::cli::import::stdout_for_archive;
use crate::cli::printer::{Print, table};
use crate::commands::Error;
use crate::commands::bundle::{self, Bundled};
use crate::size;

impl Exec for Bundle {
    fn exec(self, App { context, .. }: App) -> Result<Exit, Error> {
        let bundled = match self {
            Self::Create(args) if args.file == *"-" => {
                let platforms = args.platforms;
                bundle::stream(context, &platforms, stdout_for_archive(&args.file)?)?;
                return Ok(Exit::Code(0));
            }
            Self::Create(args) => bundle::create(context, &args.platforms, &args.file)?,
            Self::Load(args) => {
                let path = if args.file == *"-" { "/dev/stdin".into() } else { args.file };
                bundle::load(&context, &path, args.write_lock)?
            }
        };
        Ok(Exit::show(bundled))
    }
}

impl Print for Bundled {
    fn write(&self, out: &mut String) -> fmt::Result {
        let rows: Vec<_> = self
            .parts
            .iter()
            .map(|part| vec![part.kind.to_owned(), part.name.clone(), part.digest.short(), size::shown(part.size)])
            .collect();
        table(out, &["PART", "NAME", "DIGEST", "SIZE"], &rows)
    }
}
