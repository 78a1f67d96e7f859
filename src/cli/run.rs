//! `hermes run`.

use crate::cli::args::Run;
use crate::cli::begun::Begun;
use crate::cli::exec::{App, Exec, Exit};
use crate::cli::{diagnostic, explain, printer, settings};
use crate::commands::Error;
use crate::commands::run::{self, Done, Planned, Ran};

impl Exec for Run {
    fn exec(self, App { context, json, quiet, begun }: App) -> Result<Exit, Error> {
        let invocation = settings::invocation(self.options, begun.as_ref())?;
        let volumes = invocation.volumes();
        if self.plan {
            return Ok(match run::plan(&context, invocation)? {
                Planned::Plan(plan) => Exit::show(*plan),
                Planned::Fetched(lease) => Exit::Reexec(lease, Begun::new(&volumes)?),
            });
        }
        let Ran { outcome, record, crash } = match run::run(&context, invocation)? {
            Done::Ran(ran) => ran,
            Done::Fetched(lease) => return Ok(Exit::Reexec(lease, Begun::new(&volumes)?)),
        };
        if let Some(cause) = &outcome.cause
            && !printer::to_stderr_in_time(&diagnostic::render(cause))
        {
            // Nobody reads the terminal, and the run was to end.
            return Ok(Exit::Code(outcome.exit_code()));
        }
        explain::after(&context, &outcome, &record, json, quiet);
        if let Some(crash) = crash.filter(|_| !quiet) {
            printer::line_to_stderr(&format!("hint: {crash}"));
        }
        Ok(Exit::Code(outcome.exit_code()))
    }
}
