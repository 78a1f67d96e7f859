//! What was asked of a sandbox.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::emulation::EmulationMode;
use crate::emulation::native::Placement;
use crate::fs::opened::Opened;
use crate::lock::{Build, Umask};
pub(crate) use crate::lock::{Feature, Network};
use crate::sandbox::limits::Limits;
use crate::sandbox::subids::SubIds;
use crate::sandbox::tracer::explain::Caller;
use crate::sandbox::tracer::interpose::Interposed;

/// What the command may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// A build: the caller's own user, no capabilities.
    Build,
    /// Installing into the root: user 0 inside, with the capabilities over its own files that
    /// package managers use.
    Provision,
}

impl Profile {
    /// The capabilities (capabilities(7), by number) that stay: none, or over files whose owner is
    /// mapped, which is the caller alone; with `many` users also those that become another one of them.
    #[must_use]
    pub fn capabilities(self, many: bool) -> &'static [caps::Capability] {
        use caps::Capability::{
            CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_KILL, CAP_SETFCAP, CAP_SETGID, CAP_SETPCAP,
            CAP_SETUID,
        };
        const ALL: &[caps::Capability] = &[
            CAP_CHOWN,
            CAP_DAC_OVERRIDE,
            CAP_FOWNER,
            CAP_FSETID,
            CAP_SETFCAP,
            CAP_KILL,
            CAP_SETGID,
            CAP_SETPCAP,
            CAP_SETUID,
        ];
        match (self, many) {
            (Self::Build, _) => &[],
            (Self::Provision, false) => &ALL[..5],
            (Self::Provision, true) => ALL,
        }
    }
}

/// What is said to a user 0 who changes owners, of files and of processes, to others than the one that is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FakeRoot {
    /// The truth: that this fails.
    Off,
    /// That it is done. Who looks finds that it is not.
    Stateless,
    /// That it is done, and so is everyone who looks at the owners of files.
    Stateful,
}

/// What keeps the command apart from the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Namespaces, with a root of their own, and what else the kernel has.
    #[default]
    Namespaces,
    /// No namespaces: rules on paths and the system call filter, for the cross compilers of an image.
    Landlock,
}

/// A file or directory of the host that is visible inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Outside; absolute.
    pub source: PathBuf,
    /// Inside; absolute.
    pub target: PathBuf,
    /// It cannot be written through this path.
    pub read_only: bool,
}

/// A [`Bind`] whose source is open: that is what becomes visible, whatever its path leads to by then.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct Shared {
    /// What becomes visible where, by the path that the source had.
    pub bind: Bind,
    /// The source.
    #[serde(skip)]
    pub source: Opened,
}

impl Shared {
    /// Opens the source of `bind`.
    ///
    /// # Errors
    /// The system's: there is none, or it cannot be reached.
    pub(crate) fn new(bind: Bind) -> io::Result<Self> {
        let source = Opened::new(&bind.source)?;
        Ok(Self { bind: Bind { source: source.path().to_owned(), ..bind }, source })
    }

    /// The directory `source`, writable at `target`.
    #[must_use]
    pub(crate) fn directory(source: Opened, target: PathBuf) -> Self {
        Self { bind: Bind { source: source.path().to_owned(), target, read_only: false }, source }
    }
}

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// What the command may do.
    pub profile: Profile,
    /// What a user 0 is told.
    pub fake_root: FakeRoot,
    /// Other users than one, with ids of the host.
    pub sub_ids: Option<SubIds>,
    /// Where the helpers are that map these ids.
    pub search: Vec<PathBuf>,
    /// What network there is.
    pub network: Network,
    /// What of the host is visible, in the order of mounting.
    pub binds: Vec<Shared>,
    /// Directory the command starts in; made if missing.
    pub directory: PathBuf,
    /// The whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The command line; never empty.
    pub argv: Vec<OsString>,
    /// The command gets a terminal of its own, joined to the caller's.
    pub terminal: bool,
    /// Without these nothing is run.
    pub required: Vec<Feature>,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// What each process may use, where no cgroup limits them.
    pub limits: Limits,
    /// How foreign programs come to their emulator, in an image that has some.
    pub emulation: Option<EmulationMode>,
    /// The command is watched, and what was refused to it is explained to this caller.
    pub explain: Option<Caller>,
    /// Native tools.
    pub placements: Vec<Placement>,
    /// Host name inside, perhaps with a domain.
    pub hostname: String,
    /// Permissions that new files do not get (umask(2)).
    pub umask: u32,
    /// How many processors it sees, at most.
    pub nproc: Option<u32>,
    /// Whether addresses in its memory are the same in each run (`ADDR_NO_RANDOMIZE`).
    pub fixed_addresses: bool,
    /// What it is told otherwise than it is.
    pub interposed: Interposed,
}

/// What files do not get that a command makes, as long as nothing else was asked.
pub(crate) const UMASK: u32 = Umask::USUAL.bits();
/// The host name inside, as long as nothing else was asked: always the same, since programs write it into their products.
pub(crate) const HOSTNAME: &str = Build::HOSTNAME;
