//! `hermes lock`.

use std::fmt::{self, Write as _};

use crate::cli::args::lock::Lock;
use crate::cli::exec::{App, Exec, Exit};
use crate::cli::exit;
use crate::cli::printer::Print;
use crate::commands::Error;
use crate::commands::image_diff::ImageChanges;
use crate::commands::lock::{self, Changed, Locked, Request, What};
use crate::lock::Change;

impl Exec for Lock {
    fn exec(self, App { context, .. }: App) -> Result<Exit, Error> {
        let locked = if let Some([old, new]) = self.diff.as_deref() {
            lock::compare(&context, old, new)?
        } else {
            let what = match self.update {
                Some(names) => What::Update(names),
                None if self.check => What::Check,
                None => What::Complete,
            };
            let platforms = self.platforms;
            lock::lock(&context, &Request { toolchain: self.toolchain, platforms, what, fetch: self.fetch })?
        };
        if let Some(path) = locked.lock.as_ref().filter(|_| locked.changes.is_empty()) {
            let what = if locked.written { "rewritten without changes" } else { "up to date" };
            context.reporter.warn(&format!("{} is {what}", path.display()));
        }
        let code = if self.check && !locked.changes.is_empty() { exit::UNAVAILABLE } else { 0 };
        Ok(Exit::show_with(locked, code))
    }
}

impl Print for Locked {
    fn write(&self, out: &mut String) -> fmt::Result {
        self.changes.iter().try_for_each(|changed| one(out, changed))
    }
}

fn one(out: &mut String, Changed { change, image }: &Changed) -> fmt::Result {
    entry(out, change)?;
    image.as_ref().map_or(Ok(()), |image| indented(out, image))
}

pub(super) fn entry(out: &mut String, change: &Change) -> fmt::Result {
    match (&change.old, &change.new) {
        (None, Some(new)) => writeln!(out, "+ {}: {new}", change.entry),
        (Some(old), None) => writeln!(out, "- {}: {old}", change.entry),
        (old, new) => {
            let shown = |value: &Option<String>| value.clone().unwrap_or_default();
            writeln!(out, "~ {}\n    was {}\n    now {}", change.entry, shown(old), shown(new))
        }
    }
}

pub(super) fn indented(out: &mut String, changes: &ImageChanges) -> fmt::Result {
    let mut text = String::new();
    changes.write(&mut text)?;
    text.lines().try_for_each(|line| writeln!(out, "    {line}"))
}
