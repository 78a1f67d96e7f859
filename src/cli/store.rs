//! How what `rm`, `gc`, `df` and `verify` did is shown.

use std::fmt::{self, Write as _};

use indicatif::{DecimalBytes, HumanCount};
use serde::Serialize;

use crate::cli::printer::{Print, table};
use crate::reference::Reference;
use crate::store::{Collected, DiskUsage, GcRoot, Pruned, Totals, Treatment, Verified};
use crate::visible::visible;

/// Heads of columns of numbers, which are as wide as [`right`] makes them.
const COUNT: &str = "     COUNT";
const SIZE: &str = "      SIZE";
const FILES: &str = "     FILES";
/// Most holders listed.
const MAX_LISTED: usize = 10;

/// What was removed.
#[derive(Serialize)]
pub(super) struct Removed {
    pub(super) reference: Reference,
    #[serde(flatten)]
    pub(super) pruned: Pruned,
}

impl Print for Vec<Removed> {
    fn write(&self, out: &mut String) -> fmt::Result {
        for Removed { reference, pruned } in self {
            writeln!(out, "{reference}: removed with {} blobs and {} layers", pruned.blobs, pruned.layers)?;
            if !pruned.kept_for.is_empty() {
                writeln!(out, "  what it shares is kept for")?;
                holders(out, &pruned.kept_for)?;
            }
        }
        Ok(())
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
        let (size, files) = (DecimalBytes(freed.bytes), HumanCount(freed.inodes));
        write!(out, "{verb} {size} in {files} files; ")?;
        writeln!(out, "{} in {} files stay", DecimalBytes(left.bytes), HumanCount(left.inodes))?;
        if !self.within_budget() {
            let (bytes, files) = (DecimalBytes(self.excess_bytes), HumanCount(self.excess_inodes));
            let what = match (self.excess_bytes, self.excess_inodes) {
                (_, 0) => format!("{bytes}"),
                (0, _) => format!("{files} files"),
                _ => format!("{bytes} and {files} files"),
            };
            writeln!(out, "that is {what} more than wanted, kept for")?;
            holders(out, &self.kept_for)?;
            if self.kept_for.is_empty() {
                writeln!(out, "  interrupted downloads, which the next pull goes on from")?;
            }
        }
        Ok(())
    }
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
                        right(DecimalBytes(image.bytes)),
                        right(DecimalBytes(image.unique_bytes)),
                        image.last_used[..10].to_owned(),
                    ]
                })
                .collect();
            out.push('\n');
            table(out, &["IMAGE", SIZE, "   ITS OWN", "LAST USED"], &rows)?;
        }
        if !self.locks.is_empty() {
            writeln!(out, "\nlock files whose images are kept")?;
            for path in &self.locks {
                writeln!(out, "  {}", visible(&path.to_string_lossy()))?;
            }
        }
        match (&self.garbage, &self.trouble) {
            (Some(Totals { count: 0, .. }), _) => writeln!(out, "\n'hermes gc' would free nothing"),
            (Some(garbage), _) => writeln!(
                out,
                "\n'hermes gc' would free {} in {} files",
                DecimalBytes(garbage.bytes),
                HumanCount(garbage.inodes)
            ),
            (None, Some(trouble)) => writeln!(out, "\n'hermes gc' would not work: {trouble}"),
            (None, None) => Ok(()),
        }
    }
}

impl Print for Verified {
    fn write(&self, out: &mut String) -> fmt::Result {
        for damage in &self.damage {
            let done = match damage.treatment {
                Treatment::Removed => "; taken out",
                Treatment::Rewritten => "; written anew",
                Treatment::InUse => "; in use by a running hermes, and left",
                Treatment::Left => "",
            };
            writeln!(out, "{}: {}{done}", visible(&damage.path.to_string_lossy()), visible(&damage.what))?;
        }
        let Self { blobs, layers, sources, bytes, damage } = self;
        let sources = if *sources == 0 { String::new() } else { format!(", {sources} unpacked sources") };
        write!(out, "{blobs} blobs and {layers} unpacked layers{sources}, {}: ", DecimalBytes(*bytes))?;
        if damage.is_empty() {
            return writeln!(out, "all is as it should be");
        }
        match damage.len() {
            1 => writeln!(out, "1 file is not as it should be")?,
            many => writeln!(out, "{many} files are not as they should be")?,
        }
        if damage.iter().any(|damage| damage.treatment == Treatment::Removed) {
            writeln!(out, "what was taken out comes back with the next 'hermes pull', or with the run that needs it")?;
        }
        Ok(())
    }
}

fn holders(out: &mut String, all: &[GcRoot]) -> fmt::Result {
    for holder in all.iter().take(MAX_LISTED) {
        writeln!(out, "  {}", visible(&holder.to_string()))?;
    }
    match all.len().saturating_sub(MAX_LISTED) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more"),
    }
}

fn row((name, tally): &(&str, Totals)) -> Vec<String> {
    vec![
        (*name).to_owned(),
        right(HumanCount(tally.count)),
        right(DecimalBytes(tally.bytes)),
        right(HumanCount(tally.inodes)),
    ]
}

/// Numbers stand under each other.
fn right(number: impl fmt::Display) -> String {
    format!("{:>10}", number.to_string())
}
