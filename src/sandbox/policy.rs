//! Policy of a run: the requirements on the sandbox.

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
use crate::sandbox::interposed::Interposed;
use crate::sandbox::limits::Limits;
use crate::sandbox::subids::SubIds;

/// User and capabilities of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// A build: the caller's own user, without capabilities.
    Build,
    /// Installation into the root: user 0 inside, with the capabilities over its own files that package managers use.
    Provision,
}

impl Profile {
    /// Capabilities (capabilities(7)) that the command keeps: none, or those over files whose owner is mapped, which is
    /// the caller alone. With `many` users also those to become another of them.
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

/// Answer to a user 0 who changes owners of files and processes to users that are not mapped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FakeRoot {
    /// The call fails, as the kernel has it.
    Off,
    /// The call seems to succeed, but stat(2) shows that it did not.
    #[default]
    Stateless,
    /// The call seems to succeed, and stat(2) agrees.
    Stateful,
}

/// What isolates the command from the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Namespaces with a root of their own, landlock and the system call filter.
    #[default]
    Namespaces,
    /// Landlock and the system call filter alone, for the cross compilers of an image.
    Landlock,
}

/// A file or directory of the host that is visible inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Path outside; absolute.
    pub source: PathBuf,
    /// Path inside; absolute.
    pub target: PathBuf,
    /// Whether nothing can be written through this path.
    pub read_only: bool,
}

/// A [`Bind`] whose source is open: the file that was opened becomes visible, even if its path leads elsewhere later.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct Shared {
    /// The bind, with the path that the source had when it was opened.
    pub bind: Bind,
    /// The open source.
    #[serde(skip)]
    pub source: Opened,
}

impl Shared {
    /// Opens the source of `bind`.
    ///
    /// # Errors
    ///
    /// The source does not exist or cannot be reached.
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

/// Owner of a file of the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PathOwner {
    /// Relative to the root. No part of it is a link; the file itself may be one.
    pub path: PathBuf,
    /// User and group.
    pub owner: (u32, u32),
}

/// The user who started hermes, as far as `--explain` needs to know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Caller {
    /// Home directory on the host.
    pub home: Option<PathBuf>,
}

/// What a command may do and see, apart from its root. [`Policy::new`] gives the defaults.
#[derive(Debug, Clone, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a requirement of its own")]
pub(crate) struct Policy {
    /// User and capabilities of the command.
    pub profile: Profile,
    /// Answers to a user 0 who changes owners.
    pub fake_root: FakeRoot,
    /// Owners that files of the root seem to have when the command starts, with [`FakeRoot::Stateful`]: all others belong
    /// to root. The outcome then contains the owners at the end ([`Outcome::faked`](super::Outcome::faked)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owners: Option<Vec<PathOwner>>,
    /// Further users, by the ids of the host that stand for them.
    pub sub_ids: Option<SubIds>,
    /// Directories in which the helpers are looked for that map these ids.
    #[serde(skip)]
    pub search: Vec<PathBuf>,
    /// Network of the command.
    pub network: Network,
    /// Files and directories of the host that are visible inside, in the order of mounting. A [`Plan`](super::Plan) shows
    /// them among its mounts.
    #[serde(skip)]
    pub binds: Vec<Shared>,
    /// Working directory of the command; made if it is missing.
    pub directory: PathBuf,
    /// Environment of the command: no other variable is set.
    #[serde(skip)]
    pub environment: Vec<(OsString, OsString)>,
    /// Command line; never empty.
    pub argv: Vec<OsString>,
    /// Whether the command gets a terminal of its own, which is copied to the caller's.
    pub terminal: bool,
    /// Whether the standard streams of the command are `/dev/null`, and not the caller's: for commands that hermes runs for
    /// itself, whose programs are as hostile as any.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub silent: bool,
    /// Features without which nothing is run.
    pub required: Vec<Feature>,
    /// Time after which the command is ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Limits of each process, where no cgroup enforces them.
    #[serde(skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// Nice value of the command (setpriority(2)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nice: Option<i8>,
    /// How foreign programs are emulated, in an image that has such programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emulation: Option<EmulationMode>,
    /// The caller to whom denied operations are explained; `None` without `--explain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<Caller>,
    /// Native tools. None in a [`Plan`](super::Plan), which has them among its mounts.
    #[serde(skip)]
    pub placements: Vec<Placement>,
    /// Host name inside, with a domain after the first dot, if any.
    pub hostname: String,
    /// Permissions that new files do not get (umask(2)).
    pub umask: u32,
    /// Maximum number of processors that the command sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nproc: Option<u32>,
    /// Whether addresses in memory are the same in each run (`ADDR_NO_RANDOMIZE`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fixed_addresses: bool,
    /// Whether calls that put files on disk, such as fsync(2), seem to succeed and do nothing: for a root that is thrown away if
    /// the machine fails.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ignores_sync: bool,
    /// Time and directory order that the command sees in place of the real ones.
    #[serde(skip_serializing_if = "Interposed::is_none")]
    pub interposed: Interposed,
}

impl Policy {
    /// The policy of a build that runs `argv` in `directory`: no network, no variables, nothing of the host, no limits.
    #[must_use]
    pub(crate) fn new(argv: Vec<OsString>, directory: PathBuf) -> Self {
        Self {
            profile: Profile::Build,
            fake_root: FakeRoot::Off,
            owners: None,
            sub_ids: None,
            search: vec![],
            network: Network::None,
            binds: vec![],
            directory,
            environment: vec![],
            argv,
            terminal: false,
            silent: false,
            required: vec![],
            timeout: None,
            limits: Limits::default(),
            nice: None,
            emulation: None,
            explain: None,
            placements: vec![],
            hostname: HOSTNAME.to_owned(),
            umask: UMASK,
            nproc: None,
            fixed_addresses: false,
            ignores_sync: false,
            interposed: Interposed::default(),
        }
    }
}

/// Default umask of a command.
pub(crate) const UMASK: u32 = Umask::USUAL.bits();
/// Default host name. It is the same on every host, since programs write it into their products.
pub(crate) const HOSTNAME: &str = Build::HOSTNAME;
