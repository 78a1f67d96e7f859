//! The options of `run` that say where and when it is, to the command.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, ValueEnum};

use crate::commands::surroundings::{self, hostname};
use crate::lock::Umask;
use crate::sandbox::{Clock, DirectoryOrder, Interposed};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum DirOrder {
    /// The file system's
    Native,
    /// From its end
    Reverse,
}

#[derive(Debug, PartialEq, Args)]
#[command(next_help_heading = "Where and when it is, to the command")]
pub(super) struct Surroundings {
    /// Name of the host, perhaps with a domain [default: hermes]
    #[arg(long, value_name = "NAME", value_parser = hostname)]
    hostname: Option<String>,
    /// What new files are not permitted, in octal [default: 022]
    #[arg(long, value_name = "MODE")]
    umask: Option<Umask>,
    /// Home directory of its user [default: the image's, else /home/builder]
    #[arg(long, value_name = "DIR", value_parser = inside())]
    home: Option<String>,
    /// Where the current directory is inside [default: /work]
    #[arg(long, value_name = "DIR", value_parser = inside())]
    work: Option<String>,
    /// How many processors it sees, at most: the first N [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    nproc: Option<u32>,
    /// Another time, from which the clock goes on: +398d, -2h, 2031-05-17T12:00:00Z, @1700000000
    ///
    /// Calls that read the time are slower by this. Times of files stay the true ones.
    #[arg(long, value_name = "WHEN", conflicts_with = "explain", allow_hyphen_values = true)]
    clock: Option<Clock>,
    /// In which order it reads directories. To read one is slower by this
    #[arg(long, value_enum, value_name = "ORDER", conflicts_with = "explain")]
    dir_order: Option<DirOrder>,
}

fn inside() -> impl clap::builder::TypedValueParser<Value = String> {
    OsStringValueParser::new().try_map(|text| surroundings::inside(OsStr::new(&text)))
}

impl From<Surroundings> for surroundings::Surroundings {
    fn from(args: Surroundings) -> Self {
        Self {
            hostname: args.hostname,
            umask: args.umask,
            nproc: args.nproc,
            home: args.home,
            work: args.work.map(PathBuf::from),
            interposed: Interposed {
                clock: args.clock,
                directory_order: match args.dir_order {
                    Some(DirOrder::Reverse) => Some(DirectoryOrder::Reverse),
                    Some(DirOrder::Native) | None => None,
                },
            },
        }
    }
}
