//! `hermes run --plan`: what a run would do, as data.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::commands::Target;
use crate::commands::run::landlock_only::LandlockOnly;
use crate::commands::run::namespaces::Namespaces;
use crate::commands::run::record::variables;
use crate::commands::run::session::{RunSession, Sandbox};
use crate::digest::Digest;
use crate::emulation::EmulationMode;
use crate::record::{self, GuestView, Text, Variable};
use crate::sandbox::{
    AppliedLimits, FakeRoot, Feature, FilterSummary, Isolation, Mount, Network, Profile, Reach, Root, RootStrategy,
    Scratch, SubIds, filter_summary, landlock_filter_summary, namespace_names,
};
use crate::size;

/// The plan of a run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RunPlan {
    /// What isolates the command.
    pub isolation: Isolation,
    /// The image, and the platform that it builds for.
    pub target: Target,
    /// The image's manifest.
    pub manifest: Digest,
    /// The command line.
    pub command: Vec<Text>,
    /// Directory in which the command starts.
    pub directory: PathBuf,
    /// Environment; without a value what the caller passes on by its name.
    pub environment: Vec<Variable>,
    /// Whether the command gets a terminal.
    pub terminal: bool,
    /// Its user.
    pub user: PlannedUser,
    /// New namespaces.
    pub namespaces: Vec<&'static str>,
    /// Network.
    pub network: Network,
    /// Its root; `None` without namespaces.
    pub root: Option<PlannedRoot>,
    /// What is mounted or made in the root, in order.
    pub mounts: Vec<PlannedMount>,
    /// Without namespaces, the paths of the host that the command has access to.
    pub paths: Vec<PlannedPath>,
    /// The guest view.
    pub guest: GuestView,
    /// How foreign programs are emulated.
    pub emulation: Option<EmulationMode>,
    /// The emulator.
    pub emulator: Option<record::Emulator>,
    /// Native tools in place of emulated ones.
    pub native_tools: Vec<String>,
    /// Features without which nothing is run.
    pub required: Vec<Feature>,
    /// Limits, and what enforces them.
    pub limits: AppliedLimits,
    /// Time after which the command is ended, in seconds.
    #[serde(with = "size::optional_seconds")]
    pub timeout: Option<Duration>,
    /// Nice value, if it is not the caller's.
    pub nice: Option<i8>,
    /// System calls that the filter does not simply allow.
    pub filter: FilterSummary,
    /// Outputs that would be recorded.
    pub outputs: Vec<PathBuf>,
}

/// The user of a command.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PlannedUser {
    /// User id inside.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
    /// User id on the host that it is mapped to.
    pub host_uid: u32,
    /// Group id on the host that it is mapped to.
    pub host_gid: u32,
    /// Its capabilities.
    pub profile: Profile,
    /// Answers to changes of ownership.
    pub fake_root: FakeRoot,
    /// Further users.
    pub sub_ids: Option<SubIds>,
}

/// The root of a command.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PlannedRoot {
    /// How it is made.
    pub strategy: RootStrategy,
    /// Directories of the store that it is made of, uppermost first.
    pub layers: Vec<PathBuf>,
    /// Whether changes are kept in memory; otherwise on disk.
    pub in_memory: bool,
    /// Files of the run that hide those of the image.
    pub files: Vec<PathBuf>,
}

/// Something that is mounted or made in the root.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PlannedMount {
    /// What it is.
    pub kind: MountKind,
    /// Its path inside.
    pub target: PathBuf,
    /// Where it comes from: a path of the host, of the root for a second name, or the target of a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<PathBuf>,
    /// Whether nothing can be written through it.
    pub read_only: bool,
}

/// A kind of mount, or of file that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MountKind {
    /// A directory that is made if it is missing.
    Directory,
    /// `/proc` of the new pid namespace.
    Proc,
    /// `/sys`.
    Sys,
    /// A minimal `/dev`.
    Dev,
    /// A file or directory that is visible at a second path.
    Bind,
    /// A symbolic link.
    Link,
    /// A program that hermes writes.
    Program,
}

impl MountKind {
    /// Its name.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Proc => "proc",
            Self::Sys => "sys",
            Self::Dev => "dev",
            Self::Bind => "bind",
            Self::Link => "link",
            Self::Program => "program",
        }
    }
}

/// A path of the host.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PlannedPath {
    /// The path.
    pub path: PathBuf,
    /// What the command may do there: `read`, `all` or `device`.
    pub access: &'static str,
}

impl RunPlan {
    /// The plan of a run in namespaces.
    pub(super) fn of_namespaces(session: &RunSession<'_>, mut namespaces: Namespaces) -> Self {
        let native_tools = namespaces.native_tools();
        let plan = &namespaces.plan;
        Self {
            user: PlannedUser {
                uid: plan.uid,
                gid: plan.gid,
                ..PlannedUser::new(plan.caller, plan.policy.profile, plan.policy.fake_root, plan.policy.sub_ids)
            },
            namespaces: namespace_names(plan.policy.network),
            root: Some(PlannedRoot::of(&plan.root)),
            mounts: plan.mounts.iter().map(PlannedMount::of).collect(),
            native_tools,
            filter: filter_summary(plan),
            ..Self::common(session, &namespaces)
        }
    }

    /// The plan of a run with landlock alone.
    pub(super) fn of_landlock_only(session: &RunSession<'_>, landlock_only: &LandlockOnly) -> Self {
        let plan = &landlock_only.plan;
        let path = |(place, reach): &(_, Reach)| PlannedPath::of(place, *reach);
        Self {
            paths: plan.paths.iter().map(path).collect(),
            filter: landlock_filter_summary(plan.policy.network),
            ..Self::common(session, landlock_only)
        }
    }

    /// What both kinds of isolation have.
    fn common(session: &RunSession<'_>, sandbox: &impl Sandbox) -> Self {
        let (request, policy) = (&session.invocation.request, sandbox.policy());
        let caller = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let emulator = session.emulator();
        Self {
            isolation: request.isolation,
            target: session.target.clone(),
            manifest: session.image.manifest.digest,
            command: policy.argv.iter().cloned().map(Text).collect(),
            directory: policy.directory.clone(),
            environment: variables(request, &policy.environment),
            terminal: policy.terminal,
            user: PlannedUser::new(caller, policy.profile, policy.fake_root, policy.sub_ids),
            namespaces: vec![],
            network: policy.network,
            root: None,
            mounts: vec![],
            paths: vec![],
            guest: sandbox.conditions().guest.clone(),
            emulation: policy.emulation,
            emulator: emulator
                .map(|emulator| record::Emulator { digest: emulator.digest, version: emulator.version.clone() }),
            native_tools: vec![],
            required: policy.required.clone(),
            limits: sandbox.conditions().limits,
            timeout: policy.timeout,
            nice: policy.nice,
            filter: FilterSummary::default(),
            outputs: request.outputs.clone(),
        }
    }
}

impl PlannedUser {
    /// A user with the same ids inside as on the host.
    fn new((uid, gid): (u32, u32), profile: Profile, fake_root: FakeRoot, sub_ids: Option<SubIds>) -> Self {
        Self { uid, gid, host_uid: uid, host_gid: gid, profile, fake_root, sub_ids }
    }
}

impl PlannedRoot {
    fn of(root: &Root) -> Self {
        Self {
            strategy: root.strategy,
            layers: root.rootfs.lower.iter().map(|layer| root.rootfs.base.join(layer)).collect(),
            in_memory: matches!(root.scratch, Scratch::Memory(_)),
            files: root.files.iter().map(|file| PathBuf::from("/").join(file.path)).collect(),
        }
    }
}

impl PlannedMount {
    fn of(mount: &Mount) -> Self {
        let made = |kind, target: PathBuf| Self { kind, target, source: None, read_only: false };
        match mount {
            Mount::Directory { path, .. } => made(MountKind::Directory, path.clone()),
            Mount::Proc => made(MountKind::Proc, "/proc".into()),
            Mount::Sys => Self { read_only: true, ..made(MountKind::Sys, "/sys".into()) },
            Mount::Dev(_) => made(MountKind::Dev, "/dev".into()),
            Mount::Bind(bind) => Self {
                source: Some(bind.source.clone()),
                read_only: bind.read_only,
                ..made(MountKind::Bind, bind.target.clone())
            },
            Mount::Shared(shared) => Self {
                source: Some(shared.bind.source.clone()),
                read_only: shared.bind.read_only,
                ..made(MountKind::Bind, shared.bind.target.clone())
            },
            Mount::Again { source, target } => {
                Self { source: Some(source.clone()), read_only: true, ..made(MountKind::Bind, target.clone()) }
            }
            Mount::Link { path, target } => {
                Self { source: Some(target.clone()), ..made(MountKind::Link, path.clone()) }
            }
            Mount::Program { path, .. } => Self { read_only: true, ..made(MountKind::Program, path.clone()) },
        }
    }
}

impl PlannedPath {
    fn of(place: &crate::fs::opened::Opened, reach: Reach) -> Self {
        let access = match reach {
            Reach::All => "all",
            Reach::Read => "read",
            Reach::Device => "device",
        };
        Self { path: place.path().to_owned(), access }
    }
}
