//! `hermes bisect`.

use std::fmt::{self, Write as _};

use crate::cli::args::lock::Bisect;
use crate::cli::begun::Begun;
use crate::cli::exec::{App, Exec, Exit};
use crate::cli::lock::{entry, indented};
use crate::cli::printer::{Print, table};
use crate::cli::{rebuild, settings};
use crate::commands::Error;
use crate::commands::bisect::{self, Found};

impl Exec for Bisect {
    fn exec(self, App { context, begun, .. }: App) -> Result<Exit, Error> {
        let run = settings::invocation(self.run, begun.as_ref())?;
        let request = bisect::Request { good: self.good, bad: self.bad, run };
        match rebuild::with_output_aside(|| bisect::bisect(&context, &request))? {
            bisect::Done::Found(found) => Ok(Exit::show(*found)),
            bisect::Done::Fetched(lease) => Ok(Exit::Reexec(lease, Begun::new(&request.run.volumes())?)),
        }
    }
}

impl Print for Found {
    fn write(&self, out: &mut String) -> fmt::Result {
        let rows: Vec<Vec<String>> = self
            .trials
            .iter()
            .map(|trial| {
                let newer: Vec<_> = trial.newer.iter().map(ToString::to_string).collect();
                let newer = if newer.is_empty() { "-".to_owned() } else { newer.join(", ") };
                vec![trial.code.to_string(), format!("{:.1} s", trial.seconds), newer]
            })
            .collect();
        table(out, &["EXIT", "TIME", "NEWER"], &rows)?;
        writeln!(out)?;
        entry(out, &self.culprit)?;
        if let Some(image) = &self.image {
            indented(out, image)?;
        }
        if !self.together_with.is_empty() {
            let others: Vec<_> = self.together_with.iter().map(ToString::to_string).collect();
            writeln!(out, "only together with: {}", others.join(", "))?;
        }
        Ok(())
    }
}
