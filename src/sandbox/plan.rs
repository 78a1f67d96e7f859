//! What will be done, as data: pure, so that it can be shown, compared and tested.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::emulation::native::Placement;
use crate::emulation::{EmulationMode, Handler};
use crate::platform::Platform;
use crate::rootfs::{Identity, InjectedFile, Rootfs};
use crate::sandbox::fakeroot::{self, Owner};
use crate::sandbox::limits::Limits;
use crate::sandbox::policy::{Bind, FakeRoot, Feature, Network, Policy, Profile, Shared};
use crate::sandbox::seccomp::{self, Rule};
use crate::sandbox::subids::SubIds;
use crate::sandbox::tracer::exec_redirect::exec_stop_rules;
use crate::sandbox::tracer::explain::{self, Caller};
use crate::sandbox::tracer::interpose::{Interposed, interposed_rules, positions_are_possible, short_position_rules};

/// Device files that are bound from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Device {
    /// `/dev/null`
    Null,
    /// `/dev/zero`
    Zero,
    /// `/dev/full`
    Full,
    /// `/dev/random`
    Random,
    /// `/dev/urandom`
    Urandom,
    /// `/dev/tty`
    Tty,
}

impl Device {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [Self::Null, Self::Zero, Self::Full, Self::Random, Self::Urandom, Self::Tty];

    /// Its name under `/dev`.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Zero => "zero",
            Self::Full => "full",
            Self::Random => "random",
            Self::Urandom => "urandom",
            Self::Tty => "tty",
        }
    }
}

/// What a command may do with a path and what lies beneath.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Everything.
    All,
    /// Read, list and execute.
    Read,
    /// Read, write and control a device that is there.
    Device,
}

/// One thing to put into the new root, in order.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mount {
    /// A directory, with its parents; it may exist. `mode` only where it is made.
    Directory {
        /// Inside.
        path: PathBuf,
        /// Permission bits.
        mode: u32,
    },
    /// `/proc` of the new pid namespace.
    Proc,
    /// `/sys`, read-only.
    Sys,
    /// `/dev`: a few harmless devices, a new `/dev/pts`, an empty `/dev/shm`.
    Dev(Vec<Device>),
    /// A file or directory of the host, of hermes' own.
    Bind(Bind),
    /// One of the caller's.
    Shared(Shared),
    /// What is in the root already, at another path too, which nothing is written through.
    Again {
        /// Inside.
        source: PathBuf,
        /// Inside.
        target: PathBuf,
    },
    /// A symbolic link, where the image has nothing.
    Link {
        /// Inside.
        path: PathBuf,
        /// What it says.
        target: PathBuf,
    },
    /// A program, made anew.
    Program {
        /// Inside.
        path: PathBuf,
        /// All of it.
        #[serde(skip)]
        content: Vec<u8>,
    },
}

impl From<Placement> for Mount {
    fn from(placement: Placement) -> Self {
        match placement {
            Placement::Native { source, target } => Self::Bind(Bind { source, target, read_only: true }),
            Placement::Again { source, target } => Self::Again { source, target },
            Placement::Program { target: path, content } => Self::Program { path, content },
        }
    }
}

/// What init does. The order is init's own; this is what it does it with.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Plan {
    /// What the root is made of.
    pub root: Root,
    /// What is put into the root, in order.
    pub mounts: Vec<Mount>,
    /// Handlers of foreign programs.
    pub handlers: Vec<Handler>,
    /// How these come to their emulator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emulation: Option<EmulationMode>,
    /// Whether the command is a 32-bit process to uname(2).
    pub personality_32_bit: bool,
    /// Whether addresses in its memory are the same in each run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fixed_addresses: bool,
    /// Which positions in directories the command is told.
    pub positions: Positions,
    /// What network there is.
    pub network: Network,
    /// What the command may do.
    pub profile: Profile,
    /// What a user 0 is told.
    pub fake_root: FakeRoot,
    /// Other users than one, with ids of the host.
    pub sub_ids: Option<SubIds>,
    /// Where the helpers are that map these ids.
    #[serde(skip)]
    pub search: Vec<PathBuf>,
    /// The caller's user and group id.
    pub caller: (u32, u32),
    /// User id of the command, mapped to the caller's.
    pub uid: u32,
    /// Group id of the command, mapped to the caller's.
    pub gid: u32,
    /// Host name inside.
    pub hostname: String,
    /// Permissions that new files do not get.
    pub umask: u32,
    /// How many processors the command sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nproc: Option<u32>,
    /// What the command is told otherwise than it is.
    #[serde(skip_serializing_if = "Interposed::is_none")]
    pub interposed: Interposed,
    /// Directory the command starts in.
    pub directory: PathBuf,
    /// The whole environment.
    #[serde(skip)]
    pub environment: Vec<(OsString, OsString)>,
    /// The command line.
    pub argv: Vec<OsString>,
    /// The command gets a terminal of its own.
    pub terminal: bool,
    /// The system call filter, which has a snapshot of its own.
    #[serde(skip)]
    pub(super) filter: Vec<Rule>,
    /// Without these nothing is run.
    pub required: Vec<Feature>,
    /// How long it may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Limits that no cgroup holds.
    #[serde(skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// The command is watched, and what was refused to it is explained to this caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<Caller>,
}

/// Positions in directories, which the kernel gives with each entry (`d_off`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Positions {
    /// As the kernel has them: of 64 bits for 64-bit processes, such as an emulator.
    Kernel,
    /// Of 31 bits, where that can be: the command's programs are 32-bit ones that are emulated.
    Short,
}

impl Positions {
    /// Whether they are shortened, by init as the command's tracer, on this kernel.
    pub(super) fn are_shortened(self) -> bool {
        self == Self::Short && positions_are_possible()
    }
}

/// What the root is made of.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Root {
    /// The layers.
    pub rootfs: Rootfs,
    /// Files that lie over the image's.
    pub files: Vec<InjectedFile>,
    /// Where what is written to the root goes.
    pub scratch: Scratch,
    /// How they become a root.
    pub rung: Rung,
}

/// How layers become a root; the first that the host allows is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// An overlay: all of it can be written to.
    Overlay,
    /// The layers merged into one tree, which is read-only; the usual places lie in memory and can be written to.
    Merged,
    /// A copy of the merged tree, for this run alone: all of it can be written to.
    Copy,
}

/// Where what is written to the root goes, and is gone with the run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scratch {
    /// Memory: a tmpfs over this directory of the host, in init's own view only.
    Memory(PathBuf),
    /// This directory of the host, which whoever made it removes. The tree of [`Rung::Copy`] is its [`Self::TREE`].
    Disk(PathBuf),
}

impl Scratch {
    /// The name of a private tree.
    pub(crate) const TREE: &str = "root";
}

impl Plan {
    /// Plans a run of `policy` in `root` as `identity`. `emulator` is the emulator's
    /// file, where `platform`, the one that was asked for, is foreign to the host.
    #[must_use]
    pub(crate) fn new(
        policy: Policy,
        root: Root,
        caller: (u32, u32),
        identity: &Identity,
        platform: Platform,
        emulator: Option<PathBuf>,
    ) -> Self {
        let directory = |path: &str, mode| Mount::Directory { path: path.into(), mode };
        let mut mounts = vec![
            directory("/proc", 0o755),
            Mount::Proc,
            directory("/sys", 0o755),
            Mount::Sys,
            directory("/dev", 0o755),
            Mount::Dev(Device::ALL.to_vec()),
            directory("/tmp", 0o1777),
            // Where programs without libmount look for what is mounted.
            Mount::Link { path: "/etc/mtab".into(), target: "/proc/mounts".into() },
        ];
        if !identity.known || identity.moved {
            mounts.push(directory(&identity.home, 0o700));
        }
        let mut handlers = Vec::new();
        if let Some(path) = emulator.filter(|_| policy.emulation != Some(EmulationMode::Host)) {
            let handler = Handler::new(platform);
            mounts.push(Mount::Bind(Bind {
                source: path,
                target: handler.interpreter.clone().into(),
                read_only: true,
            }));
            handlers.push(handler);
        }
        mounts.extend(policy.placements.into_iter().map(Mount::from));
        mounts.extend(policy.binds.into_iter().map(Mount::Shared));
        mounts.push(Mount::Directory { path: policy.directory.clone(), mode: 0o755 });
        let mut plan = Self {
            root,
            mounts,
            handlers,
            emulation: None,
            fixed_addresses: policy.fixed_addresses,
            personality_32_bit: platform == Platform::I386 && Platform::host() == Platform::Amd64,
            // In another order positions are short anyway.
            positions: match policy.interposed.directory_order {
                None if policy.emulation.is_some() && platform.is_32_bit() => Positions::Short,
                _ => Positions::Kernel,
            },
            network: policy.network,
            profile: policy.profile,
            fake_root: policy.fake_root,
            sub_ids: policy.sub_ids,
            search: policy.search,
            caller,
            uid: identity.uid,
            gid: identity.gid,
            hostname: policy.hostname,
            umask: policy.umask,
            nproc: policy.nproc,
            interposed: policy.interposed,
            directory: policy.directory,
            environment: policy.environment,
            argv: policy.argv,
            terminal: policy.terminal,
            filter: vec![],
            required: policy.required,
            timeout: policy.timeout,
            limits: policy.limits,
            explain: policy.explain,
        };
        plan.emulate_by(policy.emulation);
        plan
    }

    /// Has foreign programs come to their emulator in this way.
    pub(crate) fn emulate_by(&mut self, emulation: Option<EmulationMode>) {
        let owner = Owner { ids: (self.uid, self.gid), many: self.sub_ids.is_some() };
        let owners = fakeroot::rules(self.profile, self.fake_root, owner);
        let mut filter = [seccomp::rules(self.personality_32_bit), owners].concat();
        if emulation == Some(EmulationMode::Ptrace) {
            filter = exec_stop_rules(filter);
        }
        if self.explain.is_some() {
            filter = explain::watched(filter);
        }
        (self.emulation, self.filter) = (emulation, interposed_rules(filter, &self.interposed));
    }

    /// Whether init hears of calls that the filter neither allows nor refuses.
    pub(super) fn hears_calls(&self) -> bool {
        self.profile == Profile::Provision
    }

    /// The rules of the filter, where positions in directories are shortened or are not.
    pub(super) fn rules(&self, short: bool) -> Cow<'_, [Rule]> {
        if short { short_position_rules(self.filter.clone()).into() } else { (&self.filter).into() }
    }

    /// Whether init has to be the tracer of the command. It is also, where it can be, of one with short positions.
    pub(super) fn is_traced(&self) -> bool {
        self.explain.is_some() || self.emulation == Some(EmulationMode::Ptrace) || !self.interposed.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::fs::opened::Opened;
    use crate::sandbox::policy::{HOSTNAME, UMASK};

    fn plan(platform: Platform, profile: Profile, known: bool) -> Plan {
        let policy = Policy {
            profile,
            fake_root: FakeRoot::Stateless,
            sub_ids: None,
            search: vec![],
            network: Network::None,
            binds: vec![Shared {
                bind: Bind { source: "/home/me/project".into(), target: "/work".into(), read_only: false },
                source: Opened::here().unwrap(),
            }],
            directory: "/work".into(),
            environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
            argv: vec!["make".into()],
            terminal: false,
            required: vec![Feature::Seccomp],
            timeout: None,
            limits: Limits::default(),
            emulation: (!Platform::Amd64.runs(platform)).then_some(EmulationMode::Binfmt),
            explain: None,
            placements: vec![],
            hostname: HOSTNAME.into(),
            umask: UMASK,
            nproc: None,
            fixed_addresses: false,
            interposed: Interposed::default(),
        };
        let rootfs = Rootfs::new("/store/layers".into(), &[Digest::of(b"low"), Digest::of(b"high")]);
        let identity =
            Identity { uid: 501, gid: 502, name: "builder".into(), home: "/home/builder".into(), known, moved: false };
        let foreign = !Platform::Amd64.runs(platform);
        let emulator = foreign.then(|| PathBuf::from("/store/blobs/sha256/qemu"));
        let root = Root { rootfs, files: vec![], scratch: Scratch::Memory("/store/tmp".into()), rung: Rung::Overlay };
        Plan::new(policy, root, (1000, 1000), &identity, platform, emulator)
    }

    #[test]
    fn plans_as_data() {
        for (name, plan) in [
            ("native", plan(Platform::Amd64, Profile::Build, true)),
            ("foreign", plan(Platform::ArmV6, Profile::Build, false)),
            ("provision", plan(Platform::Amd64, Profile::Provision, true)),
        ] {
            insta::assert_json_snapshot!(name, plan);
        }
    }
}
