//! `hermes log`: what is on record.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::commands::{Context, Error};
use crate::digest::Digest;
use crate::record::{self, Entry, Kind, RecordError, RunRecord};
use crate::sandbox::{Cause, Ended};

/// Which runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    /// So many, the newest.
    pub most: usize,
    /// Those that did not end with 0.
    pub failed: bool,
    /// Those of this project.
    pub project: Option<PathBuf>,
}

/// The recorded runs.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Listed {
    /// The newest first.
    pub runs: Vec<Row>,
    /// Whether there are more.
    pub more: bool,
    /// Lines that are no records.
    pub torn: u64,
}

/// A run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Row {
    /// Its record.
    pub id: Digest,
    /// The version of that.
    pub version: u64,
    /// Why there is no more to say of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
    /// When the command was started, UTC.
    pub started: Option<String>,
    /// How long it took.
    pub seconds: Option<f64>,
    /// The exit code.
    pub exit: Option<u8>,
    /// The platform built for.
    pub platform: Option<String>,
    /// The toolchain, else the image.
    pub image: Option<String>,
    /// The command.
    pub argv: Vec<String>,
    /// The record that it repeated.
    pub repeats: Option<Digest>,
    /// Whether `hermes rebuild` can repeat it.
    pub repeatable: bool,
}

/// Lists runs.
///
/// # Errors
/// Records that cannot be read.
pub(crate) fn list(context: &Context, request: &Request) -> Result<Listed, Error> {
    let mut listed = Listed::default();
    let Some(store) = context.existing_store()? else { return Ok(listed) };
    let mut entries = record::entries(&store.records())?;
    for entry in &mut entries {
        let entry = entry?;
        let is_here = request.project.as_deref().is_none_or(|project| project_of(&entry) == Some(project.to_owned()));
        let row = Row::of(entry);
        if !is_here || (request.failed && row.exit == Some(0)) {
            continue;
        }
        if listed.runs.len() == request.most {
            listed.more = true;
            break;
        }
        listed.runs.push(row);
    }
    listed.torn = entries.torn();
    Ok(listed)
}

/// A record in full.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Its id.
    pub id: Digest,
    /// What it says.
    pub kind: Kind,
}

/// Shows the record whose id begins with `prefix`, or the last of a run in the directory `here` that repeated no other.
///
/// # Errors
/// [`RecordError`].
pub(crate) fn show(context: &Context, prefix: Option<&str>, here: &Path) -> Result<Shown, Error> {
    let Entry { id, kind } = find(context, prefix, here)?;
    match kind {
        Kind::Newer(version) => Err(RecordError::Newer { id, version }.into()),
        Kind::Malformed(reason) => Err(RecordError::Malformed { id, reason }.into()),
        kind => Ok(Shown { id, kind }),
    }
}

/// The same, where only a record that has all is of use for `what`.
///
/// # Errors
/// [`RecordError`].
pub(super) fn run(
    context: &Context,
    prefix: Option<&str>,
    here: &Path,
    what: &'static str,
) -> Result<(Digest, Box<RunRecord>), Error> {
    let Shown { id, kind } = show(context, prefix, here)?;
    match kind {
        Kind::Run(record) => Ok((id, record)),
        _ => Err(RecordError::Old { id, what }.into()),
    }
}

fn find(context: &Context, prefix: Option<&str>, here: &Path) -> Result<Entry, Error> {
    let none = || match prefix {
        Some(prefix) => RecordError::Unknown { prefix: prefix.to_owned() },
        None => RecordError::NoneHere { project: here.to_owned() },
    };
    let store = context.existing_store()?.ok_or_else(none)?;
    let records = store.records();
    if let Some(prefix) = prefix {
        return Ok(record::find(&records, prefix)?);
    }
    for entry in record::entries(&records)? {
        let entry = entry?;
        let is_first = !matches!(&entry.kind, Kind::Run(record) if record.run.repeats.is_some());
        if is_first && project_of(&entry).as_deref() == Some(here) {
            return Ok(entry);
        }
    }
    Err(none().into())
}

/// The project of a recorded run.
fn project_of(entry: &Entry) -> Option<PathBuf> {
    match &entry.kind {
        Kind::Run(record) => Some(record.run.project.path.clone()),
        Kind::Old(record) => {
            let binds = record.get("binds")?.as_array()?;
            let work = binds.iter().find(|bind| bind["target"] == "/work").or(binds.first())?;
            Some(work["source"].as_str()?.into())
        }
        Kind::Newer(_) | Kind::Malformed(_) => None,
    }
}

impl Row {
    fn of(entry: Entry) -> Self {
        let Entry { id, kind } = entry;
        let empty = Self {
            id,
            version: u64::from(record::VERSION),
            unread: None,
            started: None,
            seconds: None,
            exit: None,
            platform: None,
            image: None,
            argv: vec![],
            repeats: None,
            repeatable: false,
        };
        match kind {
            Kind::Run(record) => {
                let run = &record.run;
                Self {
                    started: Some(record.started.clone()),
                    seconds: Some(record.seconds),
                    exit: Some(run.ended.exit_code(run.cause.as_ref())),
                    platform: Some(run.target.platform.name().to_owned()),
                    image: Some(run.target.toolchain.clone().unwrap_or_else(|| run.target.reference.to_string())),
                    argv: run.argv.iter().map(ToString::to_string).collect(),
                    repeats: run.repeats,
                    repeatable: true,
                    ..empty
                }
            }
            Kind::Old(record) => {
                let text = |name: &str| record.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
                let read = |name: &str| record.get(name).cloned().unwrap_or_default();
                let ended = serde_json::from_value::<Ended>(read("ended")).ok();
                let cause = serde_json::from_value::<Cause>(read("cause")).ok();
                Self {
                    version: 1,
                    started: text("started"),
                    seconds: record.get("seconds").and_then(Value::as_f64),
                    exit: ended.map(|ended| ended.exit_code(cause.as_ref())),
                    platform: text("platform"),
                    image: text("toolchain").or_else(|| text("reference")),
                    argv: serde_json::from_value(read("argv")).unwrap_or_default(),
                    ..empty
                }
            }
            Kind::Newer(version) => Self { version, unread: Some("from a newer hermes".to_owned()), ..empty },
            Kind::Malformed(reason) => Self { unread: Some(format!("damaged: {reason}")), ..empty },
        }
    }
}
