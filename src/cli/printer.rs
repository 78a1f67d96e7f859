//! What reaches standard output, and how: data only, as a table for people or as JSON.

use std::io::{self, Write};

use serde::Serialize;

use crate::commands::doctor::Report;
use crate::commands::images::{Inspected, Row};
use crate::commands::pull::Pulled;
use crate::commands::toolchains::Named;
use crate::oci::Descriptor;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::Pruned;

/// One line for people.
pub(super) fn line_to_stderr(line: &str) {
    // Nobody is left to be told that standard error cannot be written.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Something a verb returns.
pub(super) trait Print: Serialize {
    /// For people.
    fn text(&self) -> String;
}

/// Prints it in the form asked for.
pub(super) fn print(value: &impl Print, json: bool) -> io::Result<()> {
    let text = if json { serde_json::to_string_pretty(value)? + "\n" } else { value.text() };
    io::stdout().write_all(text.as_bytes())
}

/// Columns as wide as their widest cell; the last is not padded.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(&mut head.iter().copied());
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn names<'a>(platforms: impl Iterator<Item = &'a Platform>) -> String {
    platforms.map(|platform| platform.name()).collect::<Vec<_>>().join(" ")
}

impl Print for Vec<Row> {
    fn text(&self) -> String {
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
        table(&["IMAGE", "PLATFORM", "MANIFEST", "SIZE", "STATE"], &rows)
    }
}

impl Print for Vec<Pulled> {
    fn text(&self) -> String {
        let line = |pulled: &Pulled| format!("{}  {}  {}\n", pulled.reference, pulled.platform.name(), pulled.manifest);
        self.iter().map(line).collect()
    }
}

/// What was imported.
#[derive(Serialize)]
pub(super) struct Imported {
    pub(super) reference: Reference,
    pub(super) top: Descriptor,
}

impl Print for Vec<Imported> {
    fn text(&self) -> String {
        self.iter().map(|image| format!("{}  {}\n", image.reference, image.top.digest)).collect()
    }
}

impl Print for Inspected {
    fn text(&self) -> String {
        let mut text = format!("image     {}\n", self.reference);
        text += &format!("platform  {}\n", self.platform.name());
        text += &format!("top       {}\nmanifest  {}\n", self.top.digest, self.manifest.digest);
        let listed: Vec<Platform> = self.index.iter().filter_map(Descriptor::known_platform).collect();
        if !listed.is_empty() {
            text += &format!("index     {}\n", names(listed.iter()));
        }
        for layer in &self.layers {
            let state = if layer.unpacked { "ready" } else { "packed" };
            text += &format!(
                "layer     {}  {:>10}  {state}  {}\n",
                layer.blob.digest.short(),
                megabytes(layer.blob.size),
                layer.blob.media_type
            );
        }
        format!("{text}config    {}\n", self.config)
    }
}

/// What was removed.
#[derive(Serialize)]
pub(super) struct Removed {
    pub(super) reference: Reference,
    pub(super) blobs: usize,
    pub(super) layers: usize,
    pub(super) bytes: u64,
}

impl Removed {
    pub(super) fn new(reference: Reference, pruned: Pruned) -> Self {
        Self { reference, blobs: pruned.blobs, layers: pruned.layers, bytes: pruned.bytes }
    }
}

impl Print for Vec<Removed> {
    fn text(&self) -> String {
        let line = |removed: &Removed| {
            format!("{}: removed with {} blobs and {} layers\n", removed.reference, removed.blobs, removed.layers)
        };
        self.iter().map(line).collect()
    }
}

impl Print for Vec<Named> {
    fn text(&self) -> String {
        let rows: Vec<Vec<String>> =
            self.iter().map(|named| vec![named.name.clone(), names(named.definition.platform.keys())]).collect();
        table(&["TOOLCHAIN", "PLATFORMS"], &rows)
    }
}

impl Print for Named {
    fn text(&self) -> String {
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
        format!("{}: {}\n\n{}", self.name, self.definition.description, table(&["PLATFORM", "IMAGE", "HOW"], &rows))
    }
}

impl Print for Report {
    fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let mark = if finding.ok {
                "ok"
            } else if finding.needed {
                "NO"
            } else {
                "--"
            };
            text += &format!("{mark}  {:26}  {}\n", finding.name, finding.detail);
            for remedy in &finding.remedies {
                text += &format!("    {:26}  -> {remedy}\n", "");
            }
        }
        let verdict = match (self.native, self.foreign) {
            (true, true) => "native and foreign toolchains run here",
            (true, false) => "native toolchains run here; foreign ones do not yet",
            (false, _) => "nothing runs here yet",
        };
        format!("{text}\n{verdict}\n")
    }
}
