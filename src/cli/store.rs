//! Columns and lists that several verbs of the store print.

use std::fmt::{self, Write as _};

use indicatif::HumanCount;

use crate::size;
use crate::store::{GcRoot, Totals};
use crate::visible::visible;

/// Heads of columns of numbers, which are as wide as [`right`] makes them.
pub(super) const COUNT: &str = "     COUNT";
pub(super) const SIZE: &str = "      SIZE";
pub(super) const FILES: &str = "     FILES";
/// Longest list of objects that keep something.
const MAX_LISTED: usize = 10;

pub(super) fn holders(out: &mut String, all: &[GcRoot]) -> fmt::Result {
    for holder in all.iter().take(MAX_LISTED) {
        writeln!(out, "  {}", visible(&holder.to_string()))?;
    }
    match all.len().saturating_sub(MAX_LISTED) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more"),
    }
}

pub(super) fn row((name, tally): &(&str, Totals)) -> Vec<String> {
    vec![
        (*name).to_owned(),
        right(HumanCount(tally.count)),
        right(size::shown(tally.bytes)),
        right(HumanCount(tally.inodes)),
    ]
}

/// Aligns a number to the right of its column.
pub(super) fn right(number: impl fmt::Display) -> String {
    format!("{:>10}", number.to_string())
}
