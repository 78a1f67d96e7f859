//! `hermes log`: its words, and how records are shown.

use std::fmt::{self, Write as _};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::exec::{App, Exec, Exit, Json};
use crate::cli::printer::{Print, line, table};
use crate::commands::log::{self, Listed, Request, Row, Shown};
use crate::commands::{Error, provenance, spdx};
use crate::record::{Kind, RunRecord};
use crate::sandbox::Ended;
use crate::visible::visible;

/// Longest command in a table, in characters.
const MAX_COMMAND: usize = 60;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Log {
    #[command(subcommand)]
    what: Option<What>,
    /// Show the last N runs
    #[arg(short, long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(1..))]
    number: u32,
    /// Show only runs that did not end with exit code 0
    #[arg(long)]
    failed: bool,
    /// Show only runs of the current directory
    #[arg(long)]
    here: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show one run in full
    Show {
        /// Record to show, by the beginning of its id [default: the last run of the current directory]
        #[arg(value_name = "RECORD")]
        record: Option<String>,
        /// Output format
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

/// How a record is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text; with --json, JSON
    Text,
    /// JSON
    Json,
    /// An SPDX 2.3 document of the inputs of the run: packages of its image, emulator, native tools
    Spdx,
    /// The provenance of its outputs: an in-toto Statement with SLSA provenance v1, as JSON
    Slsa,
}

impl Exec for Log {
    fn exec(self, App { context, json, .. }: App) -> Result<Exit, Error> {
        let Some(What::Show { record, format }) = self.what else {
            let most = usize::try_from(self.number).unwrap_or(usize::MAX);
            let project = if self.here { Some(context.here()?.to_owned()) } else { None };
            return Ok(Exit::show(log::list(&context, &Request { most, failed: self.failed, project })?));
        };
        let (record, here) = (record.as_deref(), context.here()?);
        if format == Format::Slsa {
            return Ok(Exit::show(Json(provenance::provenance(&context, record, here)?)));
        }
        let shown = log::show(&context, record, here)?;
        if format == Format::Spdx {
            return Ok(Exit::show(Json(spdx::of_record(&context, &shown)?)));
        }
        Ok(if json || format == Format::Json { Exit::show(Json(shown)) } else { Exit::show(shown) })
    }
}

impl Print for Listed {
    fn write(&self, out: &mut String) -> fmt::Result {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let row = |row: &Row| {
            let mut command = row.argv.iter().map(|word| visible(word)).collect::<Vec<_>>().join(" ");
            if command.chars().count() > MAX_COMMAND {
                command = command.chars().take(MAX_COMMAND - 1).chain(['…']).collect();
            }
            let why = row.unread.clone().or((!row.repeatable).then(|| "version 1, cannot be rebuilt".to_owned()));
            let repeats = row.repeats.map(|id| format!("rebuild of {}", id.short()));
            if let Some(note) = why.or(repeats) {
                command = if command.is_empty() { format!("({note})") } else { format!("{command} ({note})") };
            }
            vec![
                row.id.short(),
                or_dash(row.started.as_deref().map(moment)),
                or_dash(row.seconds.map(|seconds| format!("{seconds:.1} s"))),
                or_dash(row.exit.map(|exit| exit.to_string())),
                or_dash(row.platform.clone()),
                or_dash(row.image.as_deref().map(visible)),
                visible(&command),
            ]
        };
        let rows: Vec<_> = self.runs.iter().map(row).collect();
        table(out, &["RECORD", "STARTED", "TOOK", "EXIT", "PLATFORM", "IMAGE", "COMMAND"], &rows)?;
        if self.more {
            writeln!(out, "and older ones: -n shows more")?;
        }
        match self.torn {
            0 => Ok(()),
            1 => writeln!(out, "1 line is not a record, for example torn by a crash"),
            torn => writeln!(out, "{torn} lines are not records, for example torn by a crash"),
        }
    }
}

/// `2026-11-21T20:33:08.123456789Z` to the second.
fn moment(started: &str) -> String {
    visible(&started.chars().take(19).collect::<String>().replace('T', " "))
}

impl Serialize for Shown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = match &self.kind {
            Kind::Run(record) => serde_json::to_value(record).map_err(serde::ser::Error::custom)?,
            Kind::Old(record) => Value::Object(*record.clone()),
            Kind::Newer(version) => json!({ "version": version }),
            Kind::Malformed(reason) => json!({ "damaged": reason }),
        };
        let mut all = serde_json::Map::from_iter([("id".to_owned(), json!(self.id))]);
        all.extend(record.as_object().cloned().unwrap_or_default());
        all.serialize(serializer)
    }
}

impl Print for Shown {
    fn write(&self, out: &mut String) -> fmt::Result {
        if let Kind::Run(record) = &self.kind {
            return run(out, &self.id.hex(), record);
        }
        writeln!(out, "record {}\n  version 1: it lacks data that a rebuild needs", self.id.hex())?;
        let Ok(Value::Object(all)) = serde_json::to_value(self) else { return Ok(()) };
        for (name, value) in all.iter().filter(|(name, value)| *name != "id" && !value.is_null()) {
            line(out, name, value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned))?;
        }
        Ok(())
    }
}

/// The word that serde has for it.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(text)) => text,
        Ok(value) => value.to_string(),
        Err(error) => error.to_string(),
    }
}

fn end(ended: Ended) -> String {
    match ended {
        Ended::Code(code) => format!("with exit code {code}"),
        Ended::Signal(signal) => format!("by signal {signal}"),
    }
}

fn files(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

fn run(out: &mut String, id: &str, record: &RunRecord) -> fmt::Result {
    let run = &record.run;
    writeln!(out, "record {id}")?;
    if let Some(repeats) = run.repeats {
        line(out, "repeats", repeats.hex())?;
    }
    line(out, "started", &record.started)?;
    line(out, "hermes", &record.hermes)?;
    let words: Vec<_> = run.argv.iter().map(word).collect();
    line(out, "command", words.join(" "))?;
    line(out, "ended", run.cause.map_or_else(|| end(run.ended), |cause| format!("{} ({cause})", end(run.ended))))?;
    let timings = run.timings;
    line(
        out,
        "took",
        format_args!(
            "{:.3} s; before it {:.3} s to prepare, {:.3} s for the root; {:.3} s to read outputs",
            timings.command, timings.prepare, timings.root, timings.outputs
        ),
    )?;
    writeln!(out, "\ninputs")?;
    line(out, "platform", run.target.platform.name())?;
    if let Some(toolchain) = &run.target.toolchain {
        line(out, "toolchain", toolchain)?;
    }
    line(out, "image", &run.target.reference)?;
    line(out, "manifest", run.manifest)?;
    if let Some(emulator) = &run.emulator {
        let version = emulator.version.as_deref().unwrap_or("of unknown version");
        line(out, "emulator", format_args!("{}  QEMU {version}", emulator.digest))?;
    }
    if let Some(native) = &run.native {
        line(out, "native", format_args!("{}  {}", native.manifest, native.tools.join(", ")))?;
    }
    line(out, "lock", run.lock)?;
    line(out, "project", run.project.path.display())?;
    if let Some(tree) = run.project.tree {
        line(out, "", format_args!("{tree}"))?;
    }
    writeln!(out, "\nenvironment")?;
    for variable in &run.environment {
        let name = variable.name.to_string();
        match variable.recorded() {
            Some(value) => line(out, &name, format_args!("= {value}"))?,
            None => line(out, &name, "passed on; its value is not recorded")?,
        }
    }
    writeln!(out, "\nsandbox")?;
    for bind in &run.binds {
        let mode = if bind.read_only { " (read-only)" } else { "" };
        line(out, "mount", format_args!("{} from {}{mode}", bind.target.display(), bind.source.display()))?;
    }
    line(out, "directory", run.directory.display())?;
    line(out, "network", word(&run.network))?;
    line(out, "user", if run.request.root { "root" } else { "an ordinary user" })?;
    line(out, "isolation", word(&run.request.isolation))?;
    line(out, "root", run.root_strategy.name())?;
    if let Some(emulation) = run.emulation {
        line(out, "emulation", word(&emulation))?;
    }
    line(out, "enforced", &run.enforced)?;
    if !run.limits.is_empty() {
        line(out, "limits", word(&run.limits))?;
    }
    if !run.request.outputs.is_empty() {
        writeln!(out, "\noutputs")?;
    }
    for output in &run.outputs {
        let what = format_args!("{}: {}, {} bytes", output.path.display(), files(output.files), output.bytes);
        writeln!(out, "  {}  {}", output.tree, visible(&what.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_to_the_second() {
        assert_eq!(moment("2026-11-21T20:33:08.123456789Z"), "2026-11-21 20:33:08");
        assert_eq!(moment("\u{1b}[31m"), "\\u{1b}[31m");
    }
}
