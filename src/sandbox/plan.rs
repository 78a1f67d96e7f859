//! Plan of a run: what will be done, as data that can be shown, compared and tested.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::emulation::native::Placement;
use crate::emulation::{EmulationMode, Handler};
use crate::platform::Platform;
use crate::rootfs::{Identity, InjectedFile, Rootfs};
use crate::sandbox::policy::{Bind, Policy, Profile, Shared};
use crate::sys::process::can_share_descriptors;

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
    /// All devices.
    pub(crate) const ALL: [Self; 6] = [Self::Null, Self::Zero, Self::Full, Self::Random, Self::Urandom, Self::Tty];

    /// Name under `/dev`.
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

/// Access of a command to a path and everything beneath it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Unlimited.
    All,
    /// Reading, listing and executing.
    Read,
    /// Reading, writing and controlling an existing device.
    Device,
}

/// A mount, or a file or directory that is made in the new root.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mount {
    /// A directory with its parents, which may exist already. It gets `mode` only if it is made.
    Directory {
        /// Path inside.
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
    /// A file or directory of the host that hermes brings along.
    Bind(Bind),
    /// A file or directory of the caller.
    Shared(Shared),
    /// A file of the root, read-only at a second path.
    Again {
        /// First path inside.
        source: PathBuf,
        /// Second path inside.
        target: PathBuf,
    },
    /// A symbolic link, unless the image has something there.
    Link {
        /// Path inside.
        path: PathBuf,
        /// Target of the link.
        target: PathBuf,
    },
    /// An executable file.
    Program {
        /// Path inside.
        path: PathBuf,
        /// Content.
        #[serde(skip)]
        content: Vec<u8>,
    },
}

impl Mount {
    fn directory(path: impl Into<PathBuf>, mode: u32) -> Self {
        Self::Directory { path: path.into(), mode }
    }
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

/// What init does, as data. The order of the steps is init's own ([`crate::sandbox::init`]).
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Plan {
    /// The policy.
    pub policy: Policy,
    /// Root directory of the command.
    pub root: Root,
    /// What is mounted or made in the root, in order.
    pub mounts: Vec<Mount>,
    /// Handlers of foreign programs.
    pub handlers: Vec<Handler>,
    /// Whether the command is a 32-bit process to uname(2).
    pub personality_32_bit: bool,
    /// Positions in directories that the command sees.
    pub positions: Positions,
    /// User and group id of the caller on the host.
    pub caller: (u32, u32),
    /// User id of the command, mapped to the caller's.
    pub uid: u32,
    /// Group id of the command, mapped to the caller's.
    pub gid: u32,
}

/// Positions in directories, which the kernel returns with each entry (`d_off`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Positions {
    /// The kernel's own: 64 bits for a 64-bit process such as an emulator.
    Kernel,
    /// 31 bits where the host allows it, for 32-bit programs that are emulated.
    Short,
}

impl Positions {
    /// Whether init, as the tracer of the command, can shorten the positions on this kernel, and has to.
    pub(super) fn are_shortened(self) -> bool {
        self == Self::Short && can_share_descriptors()
    }
}

/// Root directory of the command.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Root {
    /// Layers of the image.
    pub rootfs: Rootfs,
    /// Files that hide those of the image.
    pub files: Vec<InjectedFile>,
    /// Place of everything that is written to the root.
    pub scratch: Scratch,
    /// How the layers become a root.
    pub strategy: RootStrategy,
}

/// How layers become a root. A run uses the first way that the host allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootStrategy {
    /// An overlay, writable everywhere.
    Overlay,
    /// The layers merged into one read-only tree, with memory over the usual writable places.
    Merged,
    /// A copy of the merged tree for this run alone, writable everywhere.
    Copy,
}

impl RootStrategy {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Merged => "merged",
            Self::Copy => "copy",
        }
    }
}

/// Place of everything that is written to the root; it is removed with the run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scratch {
    /// Memory: a tmpfs over this directory of the host, which only init sees.
    Memory(PathBuf),
    /// This directory of the host, removed by its creator. The tree of [`RootStrategy::Copy`] is its [`Self::TREE`].
    Disk(PathBuf),
}

impl Scratch {
    /// Name of the directory with the copied tree.
    pub(crate) const TREE: &str = "root";
}

impl Plan {
    /// Plans a run of `policy` in `root` as `identity`. `emulator` is the file of the emulator, if the requested
    /// `platform` is foreign to the host.
    #[must_use]
    pub(crate) fn new(
        mut policy: Policy,
        root: Root,
        caller: (u32, u32),
        identity: &Identity,
        platform: Platform,
        emulator: Option<PathBuf>,
    ) -> Self {
        let mut mounts = system_mounts();
        mounts.push(Mount::directory("/tmp", 0o1777));
        // Programs without libmount read the mounts there.
        mounts.push(Mount::Link { path: "/etc/mtab".into(), target: "/proc/mounts".into() });
        if !identity.known || identity.moved {
            mounts.push(Mount::directory(&identity.home, 0o700));
        }
        let handlers = bind_emulator(&policy, platform, emulator, &mut mounts);
        mounts.extend(std::mem::take(&mut policy.placements).into_iter().map(Mount::from));
        mounts.extend(policy.binds.iter().cloned().map(Mount::Shared));
        mounts.push(Mount::Directory { path: policy.directory.clone(), mode: 0o755 });
        Self { mounts, handlers, ..Self::empty(policy, root, caller, (identity.uid, identity.gid), platform) }
    }

    /// Plans a run of `policy` as user 0 whose root is the directory [`Scratch::TREE`] of `place`, which the run changes.
    /// The tree gets `/proc`, `/sys` and `/dev`, and an `emulator` at `/.hermes` if the `platform` is foreign to the host;
    /// no files, binds and native tools.
    #[must_use]
    pub(crate) fn in_tree(
        policy: Policy,
        place: &Path,
        caller: (u32, u32),
        platform: Platform,
        emulator: Option<PathBuf>,
    ) -> Self {
        let root = Root {
            rootfs: Rootfs { base: place.to_owned(), lower: vec![Scratch::TREE.into()] },
            files: vec![],
            scratch: Scratch::Disk(place.to_owned()),
            strategy: RootStrategy::Copy,
        };
        let mut mounts = system_mounts();
        let handlers = bind_emulator(&policy, platform, emulator, &mut mounts);
        Self { mounts, handlers, ..Self::empty(policy, root, caller, (0, 0), platform) }
    }

    /// A plan without mounts and handlers, for a command with these user and group ids.
    fn empty(policy: Policy, root: Root, caller: (u32, u32), (uid, gid): (u32, u32), platform: Platform) -> Self {
        Self {
            root,
            mounts: vec![],
            handlers: vec![],
            personality_32_bit: platform == Platform::I386 && Platform::host() == Platform::Amd64,
            // Interposed directories have short positions already.
            positions: match policy.interposed.directory_order {
                None if policy.emulation.is_some() && platform.is_32_bit() => Positions::Short,
                _ => Positions::Kernel,
            },
            caller,
            uid,
            gid,
            policy,
        }
    }

    /// Whether the filter passes some calls to init for an answer.
    pub(super) fn needs_listener(&self) -> bool {
        self.policy.profile == Profile::Provision
    }

    /// Whether init has to be the tracer of the command. It also is for short positions, if the host allows it.
    pub(super) fn is_traced(&self) -> bool {
        self.policy.explain.is_some()
            || self.policy.emulation == Some(EmulationMode::Ptrace)
            || !self.policy.interposed.is_none()
    }
}

/// The mounts of every run.
fn system_mounts() -> Vec<Mount> {
    vec![
        Mount::directory("/proc", 0o755),
        Mount::Proc,
        Mount::directory("/sys", 0o755),
        Mount::Sys,
        Mount::directory("/dev", 0o755),
        Mount::Dev(Device::ALL.to_vec()),
    ]
}

/// Mounts the emulator, if there is one, and returns the handler that starts it.
fn bind_emulator(
    policy: &Policy,
    platform: Platform,
    emulator: Option<PathBuf>,
    mounts: &mut Vec<Mount>,
) -> Vec<Handler> {
    let wanted = emulator.filter(|_| policy.emulation != Some(EmulationMode::Host));
    let handlers = wanted.map(|source| {
        let handler = Handler::new(platform);
        let target = handler.interpreter.clone().into();
        mounts.push(Mount::Bind(Bind { source, target, read_only: true }));
        handler
    });
    handlers.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::fs::opened::Opened;
    use crate::sandbox::policy::{FakeRoot, Feature, PathOwner};

    fn plan(platform: Platform, profile: Profile, known: bool) -> Plan {
        let policy = Policy {
            profile,
            fake_root: FakeRoot::Stateless,
            binds: vec![Shared {
                bind: Bind { source: "/home/me/project".into(), target: "/work".into(), read_only: false },
                source: Opened::here().unwrap(),
            }],
            environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
            required: vec![Feature::Seccomp],
            emulation: (!Platform::Amd64.runs(platform)).then_some(EmulationMode::Binfmt),
            ..Policy::new(vec!["make".into()], "/work".into())
        };
        let rootfs = Rootfs::new("/store/layers".into(), &[Digest::of(b"low"), Digest::of(b"high")]);
        let identity =
            Identity { uid: 501, gid: 502, name: "builder".into(), home: "/home/builder".into(), known, moved: false };
        let foreign = !Platform::Amd64.runs(platform);
        let emulator = foreign.then(|| PathBuf::from("/store/blobs/sha256/qemu"));
        let root = Root {
            rootfs,
            files: vec![],
            scratch: Scratch::Memory("/store/tmp".into()),
            strategy: RootStrategy::Overlay,
        };
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

    #[test]
    fn a_plan_in_a_tree_adds_only_the_system() {
        let owner = PathOwner { path: "var/mail".into(), owner: (0, 8) };
        let policy = Policy {
            profile: Profile::Provision,
            fake_root: FakeRoot::Stateful,
            owners: Some(vec![owner]),
            emulation: Some(EmulationMode::Binfmt),
            ..Policy::new(vec!["/bin/sh".into()], "/".into())
        };
        let plan =
            Plan::in_tree(policy, Path::new("/tmp/1"), (1000, 1000), Platform::ArmV7, Some("/store/qemu".into()));
        insta::assert_json_snapshot!("in-tree", plan);
    }
}
