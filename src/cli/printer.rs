//! What reaches standard output, and how: data only, as a table for people or as JSON.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;

use rustix::time::Timespec;
use serde::Serialize;

use crate::commands::doctor::Report;
use crate::commands::export::Exported;
use crate::commands::images::{Inspected, Row};
use crate::commands::login::LoggedIn;
use crate::commands::logout::LoggedOut;
use crate::commands::preview::{Amount, Preview, Previews};
use crate::commands::pull::Pulled;
use crate::commands::toolchains::Named;
use crate::credentials::Backend;
use crate::oci::Descriptor;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::sys::terminal::write_within;
use crate::toolchain::EmulatorSource;
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

/// Prints what is JSON in any case.
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

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn names<'a>(platforms: impl Iterator<Item = &'a Platform>) -> String {
    platforms.map(|platform| platform.name()).collect::<Vec<_>>().join(" ")
}

impl Print for Vec<Row> {
    fn write(&self, out: &mut String) -> fmt::Result {
        let rows: Vec<Vec<String>> = self
            .iter()
            .map(|row| {
                let state = if row.unpacked { "ready" } else { "packed" };
                vec![
                    row.reference.to_string(),
                    row.platform.name().into(),
                    row.manifest.short(),
                    megabytes(row.size),
                    state.into(),
                ]
            })
            .collect();
        table(out, &["IMAGE", "PLATFORM", "MANIFEST", "SIZE", "STATE"], &rows)
    }
}

impl Print for Vec<Pulled> {
    fn write(&self, out: &mut String) -> fmt::Result {
        for pulled in self {
            writeln!(out, "{}  {}  {}", pulled.reference, pulled.platform.name(), pulled.manifest)?;
        }
        Ok(())
    }
}

impl Print for Previews {
    fn write(&self, out: &mut String) -> fmt::Result {
        let cells = |amount: &Amount| {
            let about = if amount.unpack_estimated { "about " } else { "" };
            vec![
                amount.layers.to_string(),
                amount.layers_here.to_string(),
                megabytes(amount.fetch_bytes),
                format!("{about}{}", megabytes(amount.unpack_bytes)),
                amount.unpack_inodes.map_or_else(|| "unknown".into(), |inodes| inodes.to_string()),
            ]
        };
        let row = |preview: &Preview| {
            let name = vec![preview.reference.to_string(), preview.platform.name().into()];
            [name, cells(&preview.amount)].concat()
        };
        let mut rows: Vec<_> = self.images.iter().map(row).collect();
        if rows.len() > 1 {
            rows.push([vec!["all".into(), String::new()], cells(&self.total)].concat());
        }
        table(out, &["IMAGE", "PLATFORM", "LAYERS", "HERE", "TO FETCH", "TO UNPACK", "FILES"], &rows)
    }
}

/// What was imported.
#[derive(Serialize)]
pub(super) struct Imported {
    pub(super) reference: Reference,
    pub(super) top: Descriptor,
}

impl Print for Vec<Imported> {
    fn write(&self, out: &mut String) -> fmt::Result {
        for image in self {
            writeln!(out, "{}  {}", image.reference, image.top.digest)?;
        }
        Ok(())
    }
}

impl Print for Exported {
    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "{}  {}  {}", self.reference, self.digest, visible(&self.file.to_string_lossy()))
    }
}

impl Print for Inspected {
    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "image     {}\nplatform  {}", self.reference, self.platform.name())?;
        writeln!(out, "top       {}\nmanifest  {}", self.top.digest, self.manifest.digest)?;
        let listed: Vec<Platform> = self.index.iter().filter_map(Descriptor::known_platform).collect();
        if !listed.is_empty() {
            writeln!(out, "index     {}", names(listed.iter()))?;
        }
        for layer in &self.layers {
            let (blob, state) = (&layer.blob, if layer.unpacked { "ready" } else { "packed" });
            let size = megabytes(blob.size);
            writeln!(out, "layer     {}  {size:>10}  {state}  {}", blob.digest.short(), visible(&blob.media_type))?;
        }
        writeln!(out, "config    {}", self.config)
    }
}

impl Print for Vec<Named> {
    fn write(&self, out: &mut String) -> fmt::Result {
        let rows: Vec<Vec<String>> =
            self.iter().map(|named| vec![named.name.clone(), names(named.definition.platform.keys())]).collect();
        table(out, &["TOOLCHAIN", "PLATFORMS"], &rows)
    }
}

impl Print for Named {
    fn write(&self, out: &mut String) -> fmt::Result {
        let rows: Vec<Vec<String>> = self
            .definition
            .platform
            .iter()
            .map(|(platform, target)| {
                let how = match target.image_platform {
                    Some(host) if host != *platform => format!("cross, from {}", host.name()),
                    _ if Platform::host().runs(*platform) => "native".into(),
                    _ => "emulated".into(),
                };
                vec![platform.name().into(), target.image.to_string(), how]
            })
            .collect();
        writeln!(out, "{}: {}", visible(&self.name), visible(&self.definition.description))?;
        match &self.definition.emulator {
            Some(EmulatorSource::Image { image, path }) => writeln!(out, "emulator: {path} in {image}")?,
            Some(EmulatorSource::File { path, sha256 }) => writeln!(out, "emulator: {} with {sha256}", path.display())?,
            None => {}
        }
        if let Some(native) = &self.definition.native {
            writeln!(out, "native tools: {} in {}", visible(&native.tools.join(", ")), native.image)?;
        }
        out.push('\n');
        table(out, &["PLATFORM", "IMAGE", "HOW"], &rows)
    }
}

impl Print for LoggedIn {
    fn write(&self, out: &mut String) -> fmt::Result {
        let Self { registry, user, .. } = self;
        match &self.backend {
            Backend::File(path) => {
                writeln!(out, "{registry}: logged in as {user}; kept in {}, as base64", path.display())
            }
            Backend::Helper(name) => writeln!(out, "{registry}: logged in as {user}; kept by docker-credential-{name}"),
        }
    }
}

impl Print for LoggedOut {
    fn write(&self, out: &mut String) -> fmt::Result {
        let what = if self.was_logged_in { "logged out" } else { "was not logged in" };
        writeln!(out, "{}: {what}", self.registry)
    }
}

impl Print for Report {
    fn write(&self, out: &mut String) -> fmt::Result {
        for finding in &self.findings {
            let mark = match (finding.ok, finding.needed) {
                (true, _) => "ok",
                (false, true) => "NO",
                (false, false) => "--",
            };
            writeln!(out, "{mark}  {:26}  {}", finding.name, finding.detail)?;
            for remedy in &finding.remedies {
                writeln!(out, "    {:26}  -> {remedy}", "")?;
            }
        }
        let verdict = match (self.native, self.foreign) {
            (true, true) => "native and foreign toolchains run here",
            (true, false) => "native toolchains run here; foreign ones do not yet",
            (false, _) => "nothing runs here yet",
        };
        writeln!(out, "\n{verdict}")
    }
}
