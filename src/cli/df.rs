//! `hermes df`.

use std::fmt::{self, Write as _};

use indicatif::HumanCount;

use crate::cli::exec::{App, Exit};
use crate::cli::printer::{Print, table};
use crate::cli::store::{COUNT, FILES, SIZE, right, row};
use crate::commands::{Error, df};
use crate::size;
use crate::store::{DiskUsage, Totals};
use crate::visible::visible;

pub(super) fn exec(app: &App) -> Result<Exit, Error> {
    Ok(Exit::show(df::df(&app.context)?))
}

impl Print for DiskUsage {
    fn write(&self, out: &mut String) -> fmt::Result {
        let parts = [
            ("blobs", self.blobs),
            ("unpacked layers", self.layers),
            ("merged trees", self.trees),
            ("unpacked sources", self.sources),
            ("interrupted downloads", self.partial),
            ("being made", self.tmp),
            ("being removed", self.trash),
            ("records of runs", self.records),
            ("total", self.total),
        ];
        let rows: Vec<_> = parts.iter().filter(|(name, tally)| tally.count > 0 || *name == "total").map(row).collect();
        table(out, &["WHAT", COUNT, SIZE, FILES], &rows)?;
        if !self.images.is_empty() {
            let rows: Vec<_> = self
                .images
                .iter()
                .map(|image| {
                    vec![
                        image.reference.to_string(),
                        right(size::shown(image.bytes)),
                        right(size::shown(image.unique_bytes)),
                        image.last_used[..10].to_owned(),
                    ]
                })
                .collect();
            out.push('\n');
            table(out, &["IMAGE", SIZE, "   ITS OWN", "LAST USED"], &rows)?;
        }
        if !self.locks.is_empty() {
            writeln!(out, "\nlockfiles whose images are kept")?;
            for path in &self.locks {
                writeln!(out, "  {}", visible(&path.to_string_lossy()))?;
            }
        }
        match (&self.garbage, &self.trouble) {
            (Some(Totals { count: 0, .. }), _) => writeln!(out, "\n'hermes gc' would free nothing"),
            (Some(garbage), _) => writeln!(
                out,
                "\n'hermes gc' would free {} in {} files",
                size::shown(garbage.bytes),
                HumanCount(garbage.inodes)
            ),
            (None, Some(trouble)) => writeln!(out, "\n'hermes gc' would fail: {trouble}"),
            (None, None) => Ok(()),
        }
    }
}
