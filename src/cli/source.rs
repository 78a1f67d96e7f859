//! `hermes source`.

use std::fmt::{self, Write as _};

use crate::cli::args::source::Source;
use crate::cli::exec::{App, Exec, Exit};
use crate::cli::exit;
use crate::cli::printer::{Print, table};
use crate::commands::Error;
use crate::commands::source::{self, Checked, Row, State};
use crate::size;

impl Exec for Source {
    fn exec(self, app: App) -> Result<Exit, Error> {
        let context = &app.context;
        Ok(match self {
            Self::Add { url, name, commit } => Exit::show(vec![source::add(context, &url, commit.as_deref(), name)?]),
            Self::Fetch { names } => Exit::show(source::fetch(context, &names)?),
            Self::List => Exit::show(source::list(context)?),
            Self::Verify { names } => {
                let checked = source::verify(context, &names)?;
                let whole = checked.iter().all(|checked| checked.damage.is_empty());
                Exit::show_with(checked, if whole { 0 } else { exit::INTEGRITY })
            }
            Self::Mirror(mirror) => return mirror.exec(app),
        })
    }
}

impl Print for Vec<Row> {
    fn write(&self, out: &mut String) -> fmt::Result {
        let row = |row: &Row| {
            let state = match row.state {
                State::Unpacked => "unpacked",
                State::Archive => "archive",
                State::Missing => "missing",
                State::Unlocked => "not locked",
            };
            let place =
                row.commit.as_ref().map_or(row.url.clone(), |commit| format!("{} at {}", row.url, &commit[..12]));
            vec![
                row.name.clone(),
                row.digest.map_or_else(|| "-".to_owned(), |digest| digest.short()),
                row.size.map_or_else(|| "-".to_owned(), size::shown),
                state.to_owned(),
                place,
            ]
        };
        table(out, &["SOURCE", "SHA256", "SIZE", "STATE", "FROM"], &self.iter().map(row).collect::<Vec<_>>())
    }
}

impl Print for Vec<Checked> {
    fn write(&self, out: &mut String) -> fmt::Result {
        for Checked { name, damage, here } in self {
            match (here, damage.is_empty()) {
                (false, _) => writeln!(out, "{name}: not in the store")?,
                (true, true) => writeln!(out, "{name}: ok")?,
                (true, false) => {
                    writeln!(out, "{name}: {}; 'hermes verify' removes what is corrupt", damage.join("; "))?;
                }
            }
        }
        Ok(())
    }
}
