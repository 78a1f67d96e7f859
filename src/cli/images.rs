//! `hermes images`, `inspect` and `rm`.

use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::cli::args::{Inspect, Rm};
use crate::cli::exec::{App, Exec, Exit};
use crate::cli::printer::{Print, names, table};
use crate::cli::store::holders;
use crate::commands::Error;
use crate::commands::images::{self, Inspected, Row};
use crate::oci::Descriptor;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::size;
use crate::store::Pruned;
use crate::visible::visible;

pub(super) fn exec(app: &App) -> Result<Exit, Error> {
    Ok(Exit::show(images::list(&app.context)?))
}

impl Exec for Inspect {
    fn exec(self, app: App) -> Result<Exit, Error> {
        let (reference, platform) = (self.reference, self.platform);
        Ok(Exit::show(images::inspect(&app.context, &reference, platform)?))
    }
}

impl Exec for Rm {
    fn exec(self, app: App) -> Result<Exit, Error> {
        let mut removed = Vec::new();
        for reference in self.references {
            let pruned = images::remove(&app.context, &reference)?;
            removed.push(Removed { reference, pruned });
        }
        Ok(Exit::show(removed))
    }
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
                    size::shown(row.size),
                    state.into(),
                ]
            })
            .collect();
        table(out, &["IMAGE", "PLATFORM", "MANIFEST", "SIZE", "STATE"], &rows)
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
            let size = size::shown(blob.size);
            writeln!(out, "layer     {}  {size:>10}  {state}  {}", blob.digest.short(), visible(&blob.media_type))?;
        }
        writeln!(out, "config    {}", self.config)
    }
}

/// A removed image.
#[derive(Serialize)]
struct Removed {
    reference: Reference,
    #[serde(flatten)]
    pruned: Pruned,
}

impl Print for Vec<Removed> {
    fn write(&self, out: &mut String) -> fmt::Result {
        for Removed { reference, pruned } in self {
            writeln!(out, "{reference}: removed with {} blobs and {} layers", pruned.blobs, pruned.layers)?;
            if !pruned.kept_for.is_empty() {
                writeln!(out, "  shared content is kept for")?;
                holders(out, &pruned.kept_for)?;
            }
        }
        Ok(())
    }
}
