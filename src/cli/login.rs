//! `hermes login` and `hermes logout`.

use std::fmt::{self, Write as _};

use crate::cli::args::{Login, Logout};
use crate::cli::exec::{App, Exec, Exit};
use crate::cli::printer::Print;
use crate::cli::prompt;
use crate::commands::login::LoggedIn;
use crate::commands::logout::LoggedOut;
use crate::commands::{Error, login, logout};
use crate::credentials::Backend;

impl Exec for Login {
    fn exec(self, app: App) -> Result<Exit, Error> {
        let registry = login::registry(&self.registry)?;
        let (user, password) = prompt::login(&self)?;
        Ok(Exit::show(login::login(&app.context, registry, user, &password)?))
    }
}

impl Exec for Logout {
    fn exec(self, app: App) -> Result<Exit, Error> {
        Ok(Exit::show(logout::logout(&app.context, login::registry(&self.registry)?)?))
    }
}

impl Print for LoggedIn {
    fn write(&self, out: &mut String) -> fmt::Result {
        let Self { registry, user, .. } = self;
        match &self.backend {
            Backend::File(path) => {
                writeln!(out, "{registry}: logged in as {user}; password stored in {}, base64-encoded", path.display())
            }
            Backend::Helper(name) => {
                writeln!(out, "{registry}: logged in as {user}; password stored by docker-credential-{name}")
            }
        }
    }
}

impl Print for LoggedOut {
    fn write(&self, out: &mut String) -> fmt::Result {
        let what = if self.was_logged_in { "logged out" } else { "was not logged in" };
        writeln!(out, "{}: {what}", self.registry)
    }
}
