//! `hermes bundle`.

use std::fmt;

use crate::cli::args::bundle::{Bundle, Create};
use crate::cli::exec::{App, Exec, Exit};
use crate::cli::import::stdout_for_archive;
use crate::cli::printer::{Print, table};
use crate::commands::Error;
use crate::commands::bundle::{self, Bundled, Selection};
use crate::size;

impl Exec for Bundle {
    fn exec(self, App { context, .. }: App) -> Result<Exit, Error> {
        let bundled = match self {
            Self::Create(Create { file, platforms, packages }) => {
                let selection = Selection { platforms, packages };
                if file == *"-" {
                    bundle::stream(context, &selection, stdout_for_archive(&file)?)?;
                    return Ok(Exit::Code(0));
                }
                bundle::create(context, &selection, &file)?
            }
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
