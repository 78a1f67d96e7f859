//! What became of a lock, for people.

use std::fmt::{self, Write as _};

use crate::cli::args::lock::{Bisect, Lock};
use crate::cli::begun::Begun;
use crate::cli::dispatch::End;
use crate::cli::printer::{self, Print, table};
use crate::cli::{exit, rebuilt, settings};
use crate::commands::bisect::{self, Found};
use crate::commands::changes::ImageChanges;
use crate::commands::relock::{self, Changed, Relocked, Request, What};
use crate::commands::{Context, Error};
use crate::lock::Change;

/// Does what `hermes lock` was asked.
pub(super) fn lock(context: &Context, args: Lock, json: bool) -> Result<End, Error> {
    let relocked = if let Some([old, new]) = args.diff.as_deref() {
        relock::compare(context, old, new)?
    } else {
        let what = match args.update {
            Some(names) => What::Update(names),
            None if args.check => What::Check,
            None => What::Complete,
        };
        let platforms = args.platforms.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        relock::relock(context, &Request { toolchain: args.toolchain, platforms, what, fetch: args.fetch })?
    };
    if let Some(path) = relocked.lock.as_ref().filter(|_| relocked.changes.is_empty()) {
        let what = if relocked.written { "written anew, with nothing else in it" } else { "up to date" };
        context.reporter.note(&format!("{} is {what}", path.display()));
    }
    let code = if args.check && !relocked.changes.is_empty() { exit::UNAVAILABLE } else { 0 };
    Ok(printer::print(&relocked, json).map_or_else(End::Output, |()| End::Code(code)))
}

impl Print for Relocked {
    fn write(&self, out: &mut String) -> fmt::Result {
        self.changes.iter().try_for_each(|changed| one(out, changed))
    }
}

fn one(out: &mut String, Changed { change, image }: &Changed) -> fmt::Result {
    entry(out, change)?;
    image.as_ref().map_or(Ok(()), |image| indented(out, image))
}

fn entry(out: &mut String, change: &Change) -> fmt::Result {
    match (&change.old, &change.new) {
        (None, Some(new)) => writeln!(out, "+ {}: {new}", change.entry),
        (Some(old), None) => writeln!(out, "- {}: {old}", change.entry),
        (old, new) => {
            let shown = |value: &Option<String>| value.clone().unwrap_or_default();
            writeln!(out, "~ {}\n    was {}\n    now {}", change.entry, shown(old), shown(new))
        }
    }
}

fn indented(out: &mut String, changes: &ImageChanges) -> fmt::Result {
    let mut text = String::new();
    changes.write(&mut text)?;
    text.lines().try_for_each(|line| writeln!(out, "    {line}"))
}

/// Finds what `hermes bisect` was asked for.
pub(super) fn bisect(context: &Context, args: Bisect, begun: Option<&Begun>, json: bool) -> Result<End, Error> {
    let request = bisect::Request { good: args.good, bad: args.bad, run: settings::request(args.run, begun)? };
    match rebuilt::with_output_aside(|| bisect::bisect(context, &request))? {
        bisect::Done::Found(found) => Ok(printer::print(&*found, json).map_or_else(End::Output, |()| End::Code(0))),
        bisect::Done::Fetched(lease) => Ok(End::Anew(lease, Begun::new(&request.run.volumes)?)),
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
