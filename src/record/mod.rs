//! Run records: what one run did. A line of JSON each, in a file of the store's `records/` for each
//! month, because file systems of clusters limit the number of files.
//!
//! A record names inputs by digest and has the request as it was made, so that the run can be repeated: `hermes rebuild`.
//! The lock entries that it used are stored beside the records, by content ([`objects`]). Of a variable that was passed on by
//! its name alone (`-e NAME`) it has the name and never the value: that may be a secret. `docs/records.md` is the format.

mod error;
mod guest;
mod lines;
pub(crate) mod objects;
mod read;
mod request;
mod target;
mod text;
mod variable;
mod version_2;

use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use rustix::fs::{CWD, Mode, OFlags};
use serde::{Deserialize, Serialize};

pub use error::RecordError;
pub(crate) use guest::{GuestOverrides, GuestView};
pub(crate) use read::{Entry, Kind};
pub use read::{entries, find};
pub(crate) use request::{RunRequest, TargetSelector, Users};
pub(crate) use target::Target;
pub(crate) use text::Text;
pub(crate) use variable::Variable;

use crate::digest::Digest;
use crate::emulation::EmulationMode;
use crate::fs::regular;
use crate::fs::trust::Trust;
use crate::sandbox::{AppliedLimits, Bind, Cause, Ended, Enforced, FakeRoot, Network, Profile, RootStrategy, SubIds};

/// Version of the format.
pub(crate) const VERSION: u32 = 3;
/// Longest line that is written or read, in bytes: a command line takes 6 MiB at most, and six times that in JSON.
const MAX_LINE: usize = 48 << 20;

/// A record: one run, in one line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunRecord {
    version: u32,
    /// Time just before the command was started, UTC, to the nanosecond. Together with `process` it makes each line unique.
    pub started: String,
    /// Process id of the hermes that ran it.
    process: u32,
    /// Version of that hermes.
    pub hermes: String,
    /// Duration of the command in seconds.
    pub seconds: f64,
    /// The run itself.
    #[serde(flatten)]
    pub run: Run,
}

/// The emulator of foreign programs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Emulator {
    /// The program.
    pub digest: Digest,
    /// Its version as it reports it; `None` if the lock does not have it.
    pub version: Option<String>,
}

/// The recorded properties of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// The request.
    pub request: RunRequest,
    /// The target that the request selected.
    pub target: Target,
    /// The image's manifest.
    pub manifest: Digest,
    /// Diff ids of its layers, lowest first.
    pub diff_ids: Vec<Digest>,
    /// The emulator.
    pub emulator: Option<Emulator>,
    /// Native tools that replaced those of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<Native>,
    /// Emulation mode.
    pub emulation: Option<EmulationMode>,
    /// The command line that was executed.
    pub argv: Vec<Text>,
    /// The environment.
    pub environment: Vec<Variable>,
    /// Directory the command started in.
    pub directory: PathBuf,
    /// Mounted files and directories of the host.
    pub binds: Vec<Bind>,
    /// Network of the command.
    pub network: Network,
    /// Profile of the command: its capabilities.
    pub profile: Profile,
    /// Limits, and what enforced them.
    #[serde(default, skip_serializing_if = "AppliedLimits::is_empty")]
    pub limits: AppliedLimits,
    /// The guest view.
    pub guest: GuestView,
    /// Root strategy.
    pub root_strategy: RootStrategy,
    /// Answers to changes of ownership by user 0.
    pub fake_root: FakeRoot,
    /// Further users, if the run had them.
    pub sub_ids: Option<SubIds>,
    /// Confinement that was in force.
    pub enforced: Enforced,
    /// Exit code or signal of the command.
    pub ended: Ended,
    /// Cause of its end, if it did not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The lock entries that were used, an object of [`objects::LOCKS`].
    pub lock: Digest,
    /// Durations of its parts.
    pub timings: Timings,
    /// The project that was mounted.
    pub project: Project,
    /// Outputs (`--output`), recorded if the command exited with 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Output>,
    /// Outputs that were directories before the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<OutputDirectory>,
    /// Id of the record that this run repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<Digest>,
}

/// The project of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Project {
    /// Its directory on the host.
    pub path: PathBuf,
    /// Listing of its files before the run, without the outputs, an object of [`objects::TREES`]; only if outputs were named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<Digest>,
}

/// Durations of the parts of a run, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Timings {
    /// Preparation: lock, store, image.
    pub prepare: f64,
    /// Planning of its root and its environment.
    pub root: f64,
    /// The sandbox and the command in it.
    pub command: f64,
    /// Reading of the project and the outputs.
    pub outputs: f64,
}

/// An output of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Output {
    /// Path relative to the project.
    pub path: PathBuf,
    /// Digest of its listing (`compare::Listing`), an object of [`objects::TREES`].
    pub tree: Digest,
    /// Number of files in it; a file with several names counts once.
    pub files: u64,
    /// Bytes in these files.
    pub bytes: u64,
}

/// An output that was a directory before the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OutputDirectory {
    /// Path relative to the project.
    pub path: PathBuf,
    /// Its permission bits, setuid, setgid and sticky among them.
    pub mode: u32,
}

/// Native tools.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Native {
    /// The manifest of their image.
    pub manifest: Digest,
    /// Names and versions, as in `make` or `gcc 12.2.0 (aarch64-linux-gnu)`.
    pub tools: Vec<String>,
}

/// Adds the record of `run` to the file of its month in `directory`, and gives its id: the SHA-256 of its line.
///
/// # Errors
/// The directory cannot be made or written.
pub(crate) fn write(directory: &Path, started: SystemTime, run: Run) -> io::Result<Digest> {
    let started = DateTime::<Utc>::from(started);
    let record = RunRecord {
        version: VERSION,
        started: started.to_rfc3339_opts(SecondsFormat::Nanos, true),
        process: std::process::id(),
        hermes: env!("CARGO_PKG_VERSION").to_owned(),
        seconds: run.timings.command,
        run,
    };
    let mut line = serde_json::to_vec(&record)?;
    if line.len() > MAX_LINE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it takes more than {MAX_LINE} bytes")));
    }
    let id = Digest::of(&line);
    line.push(b'\n');
    let path = directory.join(format!("{}.jsonl", started.format("%Y-%m")));
    let append =
        || regular::open_with(CWD, &path, OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE, Mode::RUSR | Mode::WUSR);
    let mut file = match append() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            append()?
        }
        file => file?,
    };
    // A link would let another user choose the file that is written.
    Trust::in_caller().check_written(&file)?;
    // One write to the end of the file, so that lines of concurrent runs do not mix. Readers skip a line that a crash cut
    // short, since it is not JSON.
    file.write_all(&line)?;
    Ok(id)
}
