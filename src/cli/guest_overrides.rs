//! The options of `run` that say where and when it is, to the command.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};

use crate::cli::values::OrWord;
use crate::commands::guest_overrides::{hostname, inside as inside_path};
use crate::lock::Umask;
use crate::record;
use crate::sandbox::{Clock, DirectoryOrder, Interposed};

#[derive(Debug, PartialEq, Args)]
#[command(next_help_heading = "Where and when it is, to the command")]
pub(super) struct GuestOverrides {
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
    dir_order: Option<OrWord<DirectoryOrder>>,
}

fn inside() -> impl clap::builder::TypedValueParser<Value = String> {
    OsStringValueParser::new().try_map(|text| inside_path(OsStr::new(&text)))
}

impl From<GuestOverrides> for record::GuestOverrides {
    fn from(args: GuestOverrides) -> Self {
        Self {
            hostname: args.hostname,
            umask: args.umask,
            nproc: args.nproc,
            home: args.home,
            work: args.work.map(PathBuf::from),
            interposed: Interposed {
                clock: args.clock,
                directory_order: args.dir_order.and_then(|OrWord(order)| order),
            },
        }
    }
}
