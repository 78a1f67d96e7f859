//! How sources are shown.

use std::fmt::{self, Write as _};

use indicatif::DecimalBytes;

use crate::cli::printer::{Print, table};
use crate::commands::source::{Checked, Mirrored, Row, State};

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
                row.size.map_or_else(|| "-".to_owned(), |size| DecimalBytes(size).to_string()),
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
                (false, _) => writeln!(out, "{name}: not here")?,
                (true, true) => writeln!(out, "{name}: as it should be")?,
                (true, false) => {
                    writeln!(out, "{name}: {}; 'hermes verify' takes out what is damaged", damage.join("; "))?;
                }
            }
        }
        Ok(())
    }
}

impl Print for Vec<Mirrored> {
    fn write(&self, out: &mut String) -> fmt::Result {
        for Mirrored { name, digest, size, sent } in self {
            let what = if *sent { "written" } else { "was there" };
            writeln!(out, "{name}: {} ({}) {what}", digest.short(), DecimalBytes(*size))?;
        }
        Ok(())
    }
}
