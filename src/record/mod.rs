//! Run records: what one run did. A line of JSON each, in a file of the store's `records/` for each
//! month: one file, where file systems of clusters count them.
//!
//! A record names inputs by digest, so that a run can be told apart from another and repeated. It
//! holds names of environment variables, never values: those may be secrets.

mod seen;

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::digest::Digest;
use crate::emulation::Tier;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::sandbox::{Bind, Cause, Ended, Enforced, FakeRoot, Held, Isolation, Network, Profile, Rung, SubIds};

pub use seen::Seen;

/// Version of the format.
const VERSION: u32 = 1;

/// One run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunRecord {
    version: u32,
    /// When the command was about to be started, UTC.
    started: String,
    /// How long it took, in seconds.
    seconds: f64,
    /// The run itself.
    #[serde(flatten)]
    run: Run,
}

/// What ran foreign programs.
#[derive(Debug, Clone, Serialize)]
pub struct Emulator {
    /// The program.
    pub digest: Digest,
    /// What it says its version is; `None` where the lock does not have it.
    pub version: Option<String>,
}

/// What is recorded of a run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// The toolchain's name; `None` where an image was given.
    pub toolchain: Option<String>,
    /// The platform built for.
    pub platform: Platform,
    /// The image's reference.
    pub reference: Reference,
    /// The image's manifest.
    pub manifest: Digest,
    /// Its layers' tars, lowest first.
    pub diff_ids: Vec<Digest>,
    /// The emulator.
    pub emulator: Option<Emulator>,
    /// Native tools that took the place of the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native: Option<Native>,
    /// How foreign programs came to it.
    pub emulation: Option<Tier>,
    /// The command line as it was run.
    pub argv: Vec<String>,
    /// Names of the environment's variables.
    pub environment: Vec<String>,
    /// Directory the command started in.
    pub directory: PathBuf,
    /// What of the host was visible.
    pub binds: Vec<Bind>,
    /// What network there was.
    pub network: Network,
    /// What the command might do.
    pub profile: Profile,
    /// What limited it.
    #[serde(skip_serializing_if = "Held::is_empty")]
    pub limits: Held,
    /// What it saw of where it was.
    #[serde(flatten)]
    pub seen: Seen,
    /// What kept it apart from the host.
    pub isolation: Isolation,
    /// What its root was.
    pub root: Rung,
    /// What a user 0 was told.
    pub fake_root: FakeRoot,
    /// Other users than one there were.
    pub sub_ids: Option<SubIds>,
    /// What confined it.
    pub enforced: Enforced,
    /// How it ended.
    pub ended: Ended,
    /// Why, where it did not end by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// Native tools.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Native {
    /// The manifest of their image.
    pub manifest: Digest,
    /// What they are, as in `make` or `gcc 12.2.0 (aarch64-linux-gnu)`.
    pub tools: Vec<String>,
}

/// Adds the record of `run` to the file of its month in `directory`.
///
/// # Errors
/// The directory cannot be made or written.
pub fn write(directory: &Path, started: SystemTime, took: Duration, run: Run) -> io::Result<()> {
    let started = DateTime::<Utc>::from(started);
    let record = RunRecord {
        version: VERSION,
        started: started.to_rfc3339_opts(SecondsFormat::Millis, true),
        seconds: took.as_secs_f64(),
        run,
    };
    let mut line = serde_json::to_vec(&record)?;
    line.push(b'\n');
    let path = directory.join(format!("{}.jsonl", started.format("%Y-%m")));
    let append = || OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
    let mut file = match append() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(directory)?;
            append()?
        }
        file => file?,
    };
    // One write, at the end of the file whatever others write: lines of runs at the same time do not
    // mix. A line torn by a crash is no JSON, and is passed over by whoever reads.
    file.write_all(&line)
}
