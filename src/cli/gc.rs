//! `hermes gc`.

use std::fmt::{self, Write as _};

use indicatif::HumanCount;

use crate::cli::args::Gc;
use crate::cli::exec::{App, Exec, Exit};
use crate::cli::printer::{Print, table};
use crate::cli::store::{COUNT, FILES, SIZE, holders, row};
use crate::commands::{Error, gc};
use crate::size;
use crate::size::Size;
use crate::store::{Budget, Collected};

impl Exec for Gc {
    fn exec(self, app: App) -> Result<Exit, Error> {
        let budget = Budget { bytes: self.keep_bytes.map(|Size(bytes)| bytes), inodes: self.max_inodes };
        let forget = app.context.absolute(self.forget)?;
        let collected = gc::gc(&app.context, budget, &forget, self.dry_run)?;
        let code = u8::from(!collected.within_budget());
        Ok(Exit::show_with(collected, code))
    }
}

impl Print for Collected {
    fn write(&self, out: &mut String) -> fmt::Result {
        let (head, verb) = if self.dry_run { ("WOULD REMOVE", "would free") } else { ("REMOVED", "freed") };
        let parts = [
            ("blobs", self.blobs),
            ("unpacked layers", self.layers),
            ("merged trees", self.trees),
            ("unpacked sources", self.sources),
            ("interrupted downloads", self.partial),
            ("left by crashes", self.litter),
        ];
        let rows: Vec<_> = parts.iter().filter(|(_, tally)| tally.count > 0).map(row).collect();
        if !rows.is_empty() {
            table(out, &[head, COUNT, SIZE, FILES], &rows)?;
        }
        for image in &self.images {
            writeln!(out, "image {image}")?;
        }
        let (freed, left) = (self.freed(), self.left);
        let (size, files) = (size::shown(freed.bytes), HumanCount(freed.inodes));
        write!(out, "{verb} {size} in {files} files; ")?;
        writeln!(out, "{} in {} files remain", size::shown(left.bytes), HumanCount(left.inodes))?;
        if !self.within_budget() {
            let (bytes, files) = (size::shown(self.excess_bytes), HumanCount(self.excess_inodes));
            let what = match (self.excess_bytes, self.excess_inodes) {
                (_, 0) => bytes,
                (0, _) => format!("{files} files"),
                _ => format!("{bytes} and {files} files"),
            };
            writeln!(out, "that is {what} over the limit, kept for")?;
            holders(out, &self.kept_for)?;
            if self.kept_for.is_empty() {
                writeln!(out, "  interrupted downloads, which the next pull resumes")?;
            }
        }
        Ok(())
    }
}
