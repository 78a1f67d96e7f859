//! `hermes bundle`.

use std::fmt;

use indicatif::DecimalBytes;

use crate::cli::args::bundle::{Bundle, Create};
use crate::cli::dispatch::Exit;
use crate::cli::printer::{self, Print, table};
use crate::cli::settings;
use crate::commands::bundle::{self, Bundled};
use crate::commands::{Context, Error};

pub(super) fn bundle(context: Context, args: Bundle, json: bool) -> Result<Exit, Error> {
    let bundled = match args {
        Bundle::Create(args) if args.file == *"-" => return to_stdout(context, &args),
        Bundle::Create(args) => {
            let platforms = settings::platforms(&args.platforms)?;
            bundle::create(context, &platforms, &args.file)?
        }
        Bundle::Load(args) => {
            let path = if args.file == *"-" { "/dev/stdin".into() } else { args.file };
            bundle::load(&context, &path, args.write_lock)?
        }
    };
    Ok(printer::print(&bundled, json).map_or_else(Exit::Output, |()| Exit::Code(0)))
}

fn to_stdout(context: Context, args: &Create) -> Result<Exit, Error> {
    let out = rustix::stdio::stdout();
    if rustix::termios::isatty(out) {
        return Err(Error::Terminal);
    }
    let out = out.try_clone_to_owned().map_err(|source| Error::Archive { path: args.file.clone(), source })?;
    bundle::stream(context, &settings::platforms(&args.platforms)?, out.into())?;
    Ok(Exit::Code(0))
}

impl Print for Bundled {
    fn write(&self, out: &mut String) -> fmt::Result {
        let rows: Vec<_> = self
            .parts
            .iter()
            .map(|part| {
                vec![part.kind.to_owned(), part.name.clone(), part.digest.short(), DecimalBytes(part.size).to_string()]
            })
            .collect();
        table(out, &["PART", "NAME", "DIGEST", "SIZE"], &rows)
    }
}
