//! `hermes doctor`.

use std::fmt::{self, Write as _};

use crate::cli::exec::{App, Exit};
use crate::cli::printer::Print;
use crate::commands::Error;
use crate::commands::doctor::{self, Report};

pub(super) fn exec(app: &App) -> Result<Exit, Error> {
    let report = doctor::run(&app.context)?;
    let code = u8::from(!report.native);
    Ok(Exit::show_with(report, code))
}

impl Print for Report {
    fn write(&self, out: &mut String) -> fmt::Result {
        for finding in &self.findings {
            let mark = match (finding.ok, finding.needed) {
                (true, _) => "ok",
                (false, true) => "NO",
                (false, false) => "--",
            };
            writeln!(out, "{mark}  {:26}  {}", finding.name, finding.detail)?;
            for remedy in &finding.remedies {
                writeln!(out, "    {:26}  -> {remedy}", "")?;
            }
        }
        let verdict = match (self.native, self.foreign) {
            (true, true) => "native and foreign toolchains run here",
            (true, false) => "native toolchains run here; foreign ones do not yet",
            (false, _) => "nothing runs here yet",
        };
        writeln!(out, "\n{verdict}")
    }
}
