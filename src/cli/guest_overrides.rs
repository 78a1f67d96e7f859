//! The options of `run` that change the view of the system that the command has.

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
#[command(next_help_heading = "System as the command sees it")]
pub(super) struct GuestOverrides {
    /// Set the host name, optionally with a domain [default: hermes]
    #[arg(long, value_name = "NAME", value_parser = hostname)]
    hostname: Option<String>,
    /// Set the umask, in octal [default: 022]
    #[arg(long, value_name = "MODE")]
    umask: Option<Umask>,
    /// Set the home directory of the user [default: the image's, else /home/builder]
    #[arg(long, value_name = "DIR", value_parser = inside())]
    home: Option<String>,
    /// Mount the current directory at DIR [default: /work]
    #[arg(long, value_name = "DIR", value_parser = inside())]
    work: Option<String>,
    /// Show at most the first N processors [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    nproc: Option<u32>,
    /// Set the clock, which advances from then on: +398d, -2h, 2031-05-17T12:00:00Z, @1700000000
    ///
    /// Slows down calls that read the time. Does not change the times of files.
    #[arg(long, value_name = "WHEN", conflicts_with = "explain", allow_hyphen_values = true)]
    clock: Option<Clock>,
    /// Return directory entries in this order; slows down reading directories [default: native]
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
