//! Run records: what one run did. A line of JSON each, in a file of the store's `records/` for each
//! month: one file, where file systems of clusters count them.
//!
//! A record names inputs by digest and has the request as it was made, so that the run can be repeated: `hermes rebuild`.
//! The lock entries it used are kept beside the records, by content ([`kept`]). Of a variable that was passed on by
//! its name alone (`-e NAME`) it has the name and never the value: that may be a secret. `docs/records.md` is the format.

mod error;
mod guest;
pub(crate) mod kept;
mod lines;
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

/// One run, as it stands in a line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunRecord {
    version: u32,
    /// When the command was about to be started, UTC, to the nanosecond. With `process` it tells two runs apart, so that
    /// no two lines are the same.
    pub started: String,
    /// The process of the hermes that ran it.
    process: u32,
    /// Which hermes that was.
    pub hermes: String,
    /// How long the command took, in seconds.
    pub seconds: f64,
    /// The run itself.
    #[serde(flatten)]
    pub run: Run,
}

/// What ran foreign programs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Emulator {
    /// The program.
    pub digest: Digest,
    /// What it says its version is; `None` where the lock does not have it.
    pub version: Option<String>,
}

/// What is recorded of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// What the caller asked for.
    pub request: RunRequest,
    /// What that selected.
    pub target: Target,
    /// The image's manifest.
    pub manifest: Digest,
    /// Its layers' tars, lowest first.
    pub diff_ids: Vec<Digest>,
    /// The emulator.
    pub emulator: Option<Emulator>,
    /// Native tools that took the place of the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<Native>,
    /// How foreign programs came to it.
    pub emulation: Option<EmulationMode>,
    /// The command line as it was run.
    pub argv: Vec<Text>,
    /// The environment.
    pub environment: Vec<Variable>,
    /// Directory the command started in.
    pub directory: PathBuf,
    /// What of the host was visible.
    pub binds: Vec<Bind>,
    /// What network there was.
    pub network: Network,
    /// What the command might do.
    pub profile: Profile,
    /// What limited it.
    #[serde(default, skip_serializing_if = "AppliedLimits::is_empty")]
    pub limits: AppliedLimits,
    /// What it saw of its surroundings.
    pub guest: GuestView,
    /// How its root was made.
    pub root_strategy: RootStrategy,
    /// What a user 0 was told.
    pub fake_root: FakeRoot,
    /// Other users than one there were.
    pub sub_ids: Option<SubIds>,
    /// What confined it.
    pub enforced: Enforced,
    /// How it ended.
    pub ended: Ended,
    /// Why, where it did not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The lock entries that were used, as [`kept::LOCKS`] has them.
    pub lock: Digest,
    /// How long what took.
    pub timings: Timings,
    /// The project that was mounted.
    pub project: Project,
    /// What `--output` names, after a command that ended with 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Output>,
    /// Those of the outputs that were directories before the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<OutputDirectory>,
    /// The record that this run repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<Digest>,
}

/// The project of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Project {
    /// Its directory on the host.
    pub path: PathBuf,
    /// What was in it before the run, without the outputs, as [`kept::TREES`] has it; only if outputs were named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<Digest>,
}

/// How long the parts of a run took, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Timings {
    /// To find out what to run: lock, store, image.
    pub prepare: f64,
    /// To say how its root and its environment are made.
    pub root: f64,
    /// To make the sandbox, and the command in it.
    pub command: f64,
    /// To read the project and the outputs.
    pub outputs: f64,
}

/// What a run made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Output {
    /// From the top of the project.
    pub path: PathBuf,
    /// The digest of its listing (`compare::Listing`), which [`kept::TREES`] has.
    pub tree: Digest,
    /// Files in it, each once however many names it has.
    pub files: u64,
    /// Bytes in these.
    pub bytes: u64,
}

/// An output that was a directory before the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OutputDirectory {
    /// From the top of the project.
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
    /// What they are, as in `make` or `gcc 12.2.0 (aarch64-linux-gnu)`.
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
    // Not to some other file of the user's, whose name somebody has put there.
    Trust::in_caller().check_written(&file)?;
    // One write, at the end of the file whatever others write: lines of runs at the same time do not
    // mix. A line torn by a crash is no JSON, and is passed over by whoever reads.
    file.write_all(&line)?;
    Ok(id)
}
