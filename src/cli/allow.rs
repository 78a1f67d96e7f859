//! `hermes allow`, and the question for consent.

use std::fmt::{self, Write as _};
use std::io;
use std::path::PathBuf;

use crate::cli::args::allow::Allow;
use crate::cli::exec::{App, Exec, Exit};
use crate::cli::printer::Print;
use crate::cli::prompt;
use crate::commands::{Error, allow};
use crate::consent::Settings;
use crate::visible::visible;

impl Exec for Allow {
    fn exec(self, App { context, .. }: App) -> Result<Exit, Error> {
        if self.list {
            return Ok(Exit::show(allow::list(&context)?));
        }
        if self.revoke {
            let project = context.absolute(self.project.into_iter().collect())?;
            let revoked = allow::revoke(&context, project.first().map(PathBuf::as_path))?;
            context.reporter.warn(if revoked.is_empty() { "nothing was allowed" } else { "no longer allowed:" });
            return Ok(Exit::show(revoked));
        }
        let allowed = allow::allow(&context)?;
        context.reporter.warn(if allowed.settings.is_empty() {
            "nothing to allow: hermes.toml asks for no access beyond the project"
        } else {
            "allowed from now on:"
        });
        Ok(Exit::show(vec![allowed]))
    }
}

/// Asks at the terminal for consent to the settings of a project.
pub(super) fn question(settings: &Settings) -> io::Result<bool> {
    let mut text = String::new();
    vec![settings.clone()].write(&mut text).map_err(io::Error::other)?;
    let question = format!("This project asks for access beyond its directory:\n{text}Allow this from now on? [y/N] ");
    prompt::yes(&question).map_err(io::Error::other)
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
