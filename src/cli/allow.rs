//! `hermes allow`, for people.

use std::fmt::{self, Write as _};
use std::io;
use std::path::PathBuf;

use crate::cli::args::allow::Allow;
use crate::cli::dispatch::Exit;
use crate::cli::printer::{self, Print};
use crate::cli::settings;
use crate::commands::{Context, Error, allow};
use crate::consent::Settings;
use crate::visible::visible;

/// Does what `hermes allow` was asked.
pub(super) fn allow(context: &Context, args: Allow, json: bool) -> Result<Exit, Error> {
    let printed = if args.list {
        printer::print(&allow::list(context)?, json)
    } else if args.revoke {
        let project = settings::absolute(args.project.into_iter().collect())?;
        let revoked = allow::revoke(context, project.first().map(PathBuf::as_path))?;
        context.reporter.warn(if revoked.is_empty() { "nothing was allowed" } else { "no longer allowed:" });
        printer::print(&revoked, json)
    } else {
        let allowed = allow::allow(context)?;
        let asks = !allowed.settings.is_empty();
        context.reporter.warn(if asks {
            "allowed from now on:"
        } else {
            "nothing to allow: hermes.toml asks for nothing beyond the project"
        });
        printer::print(&vec![allowed], json)
    };
    Ok(printed.map_or_else(Exit::Output, |()| Exit::Code(0)))
}

/// Asks at the terminal whether a project may have what it asks for.
pub(super) fn question(settings: &Settings) -> io::Result<bool> {
    let mut text = String::new();
    vec![settings.clone()].write(&mut text).map_err(io::Error::other)?;
    super::prompt::yes(&format!(
        "This project asks for more than its own directory:\n{text}Allow this from now on? [y/N] "
    ))
}

impl Print for Vec<Settings> {
    fn write(&self, out: &mut String) -> fmt::Result {
        for Settings { project, settings } in self {
            writeln!(out, "{}", visible(&project.to_string_lossy()))?;
            settings.iter().try_for_each(|setting| writeln!(out, "  {}", visible(&setting.to_string())))?;
        }
        Ok(())
    }
}
