//! What reaches standard output, and how: data only, as a table for people or as JSON.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;

use rustix::time::Timespec;
use serde::Serialize;

use crate::platform::Platform;
use crate::sys::terminal::write_within;
use crate::visible::{visible, visible_json, visible_lines};

/// One line for people.
pub(super) fn line_to_stderr(line: &str) {
    to_stderr(&visible(line));
}

/// Some lines for people.
pub(super) fn text_to_stderr(text: &str) {
    to_stderr(&visible_lines(text));
}

/// One line of JSON.
pub(super) fn json_to_stderr(value: &impl Serialize) {
    to_stderr(&visible_json(&serde_json::to_string(value).unwrap_or_default()));
}

fn to_stderr(text: &str) {
    // Nobody is left to be told that standard error cannot be written.
    let _ = writeln!(io::stderr(), "{text}");
}

/// How long a terminal has to take what [`to_stderr_in_time`] writes.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Writes `text` to standard error. A terminal that is stopped or has no reader does not get all of it; then false.
pub(super) fn to_stderr_in_time(text: &str) -> bool {
    write_within(io::stderr().as_fd(), text.as_bytes(), PATIENCE)
}

/// Something a verb returns.
pub(super) trait Print: Serialize {
    /// Writes it for people.
    fn write(&self, out: &mut String) -> fmt::Result;
}

/// Prints it in the form asked for.
pub(super) fn print(value: &impl Print, json: bool) -> io::Result<()> {
    if json {
        return print_json(value);
    }
    let mut text = String::new();
    value.write(&mut text).map_err(io::Error::other)?;
    io::stdout().write_all(visible_lines(&text).as_bytes())
}

/// Prints JSON.
pub(super) fn print_json(value: &impl Serialize) -> io::Result<()> {
    io::stdout().write_all((visible_json(&serde_json::to_string_pretty(value)?) + "\n").as_bytes())
}

/// Columns as wide as their widest cell, each row in one line.
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

pub(super) fn names<'a>(platforms: impl Iterator<Item = &'a Platform>) -> String {
    platforms.map(|platform| platform.name()).collect::<Vec<_>>().join(" ")
}
