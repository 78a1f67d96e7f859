//! Standard output and standard error: results as text or JSON, and lines of text.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;

use rustix::time::Timespec;
use serde::Serialize;

use crate::platform::Platform;
use crate::sys::terminal::write_within;
use crate::visible::{visible, visible_json, visible_lines};

/// Writes one line of text to standard error.
pub(super) fn line_to_stderr(line: &str) {
    to_stderr(&visible(line));
}

/// Writes lines of text to standard error.
pub(super) fn text_to_stderr(text: &str) {
    to_stderr(&visible_lines(text));
}

/// Writes one line of JSON to standard error.
pub(super) fn json_to_stderr(value: &impl Serialize) {
    to_stderr(&visible_json(&serde_json::to_string(value).unwrap_or_default()));
}

fn to_stderr(text: &str) {
    // An error of writing to standard error cannot be reported anywhere.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Time limit for [`to_stderr_in_time`].
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Writes `text` to standard error; returns false if a stopped terminal, or one without a reader, did not take all of it.
pub(super) fn to_stderr_in_time(text: &str) -> bool {
    write_within(io::stderr().as_fd(), text.as_bytes(), PATIENCE)
}

/// The result of a verb.
pub(super) trait Print: Serialize {
    /// Writes the result as text.
    fn write(&self, out: &mut String) -> fmt::Result;
}

/// Prints a result to standard output, as text or JSON.
pub(super) fn print(value: &impl Print, json: bool) -> io::Result<()> {
    if json {
        return print_json(value);
    }
    let mut text = String::new();
    value.write(&mut text).map_err(io::Error::other)?;
    io::stdout().write_all(visible_lines(&text).as_bytes())
}

/// Prints JSON to standard output.
pub(super) fn print_json(value: &impl Serialize) -> io::Result<()> {
    io::stdout().write_all((visible_json(&serde_json::to_string_pretty(value)?) + "\n").as_bytes())
}

/// Writes a table with columns as wide as their widest cell.
pub(super) fn table(out: &mut String, head: &[&str], rows: &[Vec<String>]) -> fmt::Result {
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| visible(cell)).collect()).collect();
    let lines = || std::iter::once(&head).chain(&rows);
    let widths: Vec<usize> =
        (0..head.len()).map(|column| lines().map(|cells| cells[column].chars().count()).max().unwrap_or(0)).collect();
    for cells in lines() {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())?;
    }
    Ok(())
}

/// Writes a line with a name before it.
pub(super) fn line(out: &mut String, name: &str, text: impl fmt::Display) -> fmt::Result {
    writeln!(out, "  {name:<12} {}", visible(&text.to_string()))
}

pub(super) fn names<'a>(platforms: impl Iterator<Item = &'a Platform>) -> String {
    platforms.map(|platform| platform.name()).collect::<Vec<_>>().join(" ")
}
