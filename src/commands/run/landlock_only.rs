//! `hermes run --isolation landlock`: the cross compilers of an image, on a host without user namespaces.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use crate::commands::run::environment::{
    DEFAULT_PATH, Environment, apply_limits, build_variables, command_line, image_variables,
};
use crate::commands::run::request::{Invocation, here};
use crate::commands::run::session::{Conditions, Executed, RunSession, Sandbox};
use crate::commands::{Error, OwnError, Target};
use crate::fs::opened::Opened;
use crate::hint::{ErrorKind, Hint};
use crate::oci::ImageConfig;
use crate::platform::Platform;
use crate::record::{GuestView, Users};
use crate::reference::Reference;
use crate::rootfs::{Rootfs, Tree};
use crate::sandbox::{
    self, AppliedLimits, Device, Feature, LandlockPlan, Network, Policy, Reach, RootStrategy, Shared,
};
use crate::store::TempDir;
use crate::sys::file::path_of;
use crate::sys::process::landlock_abi;

/// Where the host has its programs.
const HOST_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";
/// Directories of the host that can be read, if they exist: those that programs need, and none of users.
const SYSTEM: [&str; 12] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc",
    "/proc",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/nix/store",
    "/gnu/store",
];

/// Why an image is not run without namespaces.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LandlockOnlyError {
    /// An option that means something else, or nothing, without namespaces.
    #[error("{0} needs namespaces, which --isolation landlock does not use")]
    Option(&'static str),
    /// Nothing stands between a user 0 of the host and the host.
    #[error("--isolation landlock cannot be used by root")]
    Root,
    /// The image is for other machines.
    #[error("--isolation landlock needs an image for {}, and this image is for {}", Platform::host().name(), .0.name())]
    Foreign(Platform),
    /// The image compiles for nothing but the machine it runs on.
    #[error("{0} has no cross compiler on its PATH, which --isolation landlock requires")]
    NoCompiler(Reference),
    /// There are no mounts.
    #[error("cannot mount {path} at another path: --isolation landlock makes no mounts")]
    Moved {
        /// Where it is to be.
        path: PathBuf,
    },
    /// `-w` names a directory outside the current one.
    #[error("{path} is outside the current directory, where --isolation landlock starts commands")]
    Elsewhere {
        /// `-w`
        path: PathBuf,
    },
    /// The image's files would be the command's to change.
    #[error("the writable {path} overlaps the directory {tree} of the store")]
    Store {
        /// What could be written to.
        path: PathBuf,
        /// The image.
        tree: PathBuf,
    },
    /// The programs of the image cannot be made ready.
    #[error("cannot prepare the programs of {tree}")]
    Programs {
        /// The image.
        tree: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl OwnError for LandlockOnlyError {}

impl Hint for LandlockOnlyError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Option(_) | Self::Moved { .. } | Self::Elsewhere { .. } => ErrorKind::Usage,
            _ => ErrorKind::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Option(_) => {
                vec!["omit one of the two; 'hermes doctor' shows what namespaces need on this host".into()]
            }
            Self::Root => vec!["run hermes as an ordinary user".into()],
            Self::Foreign(_) | Self::NoCompiler(_) => {
                vec!["use a cross toolchain: --toolchain dockcross --platform arm64".into()]
            }
            Self::Moved { .. } => vec!["omit the target: -v DIR, or -v DIR:DIR:ro".into()],
            Self::Elsewhere { .. } => {
                vec!["-w expects the current directory or a directory in it, by its path on this host".into()]
            }
            Self::Store { .. } => {
                vec!["start in the directory of the project, or move the store: HERMES_STORE=DIRECTORY".into()]
            }
            Self::Programs { .. } => vec![],
        }
    }
}

/// The files of the host that the command can use, if the options, the caller and the image allow this kind of isolation.
///
/// # Errors
/// [`LandlockOnlyError`].
pub(super) fn binds(invocation: &Invocation, target: &Target) -> Result<Vec<Shared>, Error> {
    let request = &invocation.request;
    let options = [
        (request.root, "--root"),
        (request.users == Users::Range, "--userns range"),
        (request.rootfs.is_some(), "--rootfs"),
        (request.required.contains(&Feature::Netns), "--require netns"),
        (request.explain, "--explain"),
    ];
    let option = options.iter().find(|(is_set, _)| *is_set).map(|(_, option)| *option);
    if let Some(option) = option.or(request.guest_overrides.needs_namespaces()) {
        return Err(LandlockOnlyError::Option(option).into());
    }
    if rustix::process::getuid().is_root() {
        return Err(LandlockOnlyError::Root.into());
    }
    if target.image_platform != Platform::host() {
        return Err(LandlockOnlyError::Foreign(target.image_platform).into());
    }
    if !target.additions.sources.is_empty() {
        return Err(LandlockOnlyError::Option("a toolchain that mounts sources").into());
    }
    let volumes = invocation.volumes();
    let here = here()?;
    let path = here.path().to_owned();
    if let Some(Shared { bind, .. }) = volumes.iter().find(|volume| volume.bind.source != volume.bind.target) {
        return Err(LandlockOnlyError::Moved { path: bind.source.clone() }.into());
    }
    Ok([&[Shared::directory(here, path)], &volumes[..]].concat())
}

/// A line that says what protection this kind of isolation lacks.
fn note(network: Network) -> String {
    let mut open = vec!["runs this host's programs on this host's C library", "sees names, processes, /usr and /etc"];
    if network == Network::Host {
        open.push("has the host's network");
    }
    if landlock_abi() < 6 {
        open.push("can signal your other processes (Linux 6.12 forbids that)");
    }
    format!("not hermetic (--isolation landlock): without namespaces the command {}", open.join(", "))
}

/// A planned run without namespaces.
pub(super) struct LandlockOnly {
    pub(super) plan: LandlockPlan,
    conditions: Conditions,
    /// The directory of [`Places`].
    _scratch: TempDir,
}

impl LandlockOnly {
    /// Makes the programs of the image ready, and the plan.
    ///
    /// # Errors
    /// The image has no cross compiler, or the command could write to the store.
    pub(super) fn prepare(session: &mut RunSession<'_>) -> Result<Self, Error> {
        let RunSession { context, store, network, .. } = &*session;
        let tree = Rootfs::merged_tree(&session.image, store)?.ok_or(Error::NoLayers)?;
        let failed = |source| LandlockOnlyError::Programs { tree: tree.clone(), source };
        let tree = Tree::open(&tree).map_err(failed)?;
        let scratch = store.scratch()?;
        let place = std::fs::canonicalize(scratch.path()).map_err(failed)?;
        let places = Places::make(&place).map_err(failed)?;
        prepare_programs(session, &tree, &places)?;
        check_store(session, &tree)?;
        context.reporter.warn(&note(*network));
        let (limits, group) = apply_limits(context, session.invocation.request.limits);
        if limits.process.pids.is_some() {
            // RLIMIT_NPROC counts all processes of the user if there is no user namespace.
            return Err(LandlockOnlyError::Option("--pids without a cgroup").into());
        }
        let paths = paths(&tree, &places, &session.binds, *network).map_err(failed)?;
        let directory = directory(&session.project, session.invocation.request.directory.as_deref())?;
        let policy = policy(session, &tree, &places, directory.path().to_owned(), limits)?;
        let guest = session.guest.view(&places.home, &[]);
        let guest = GuestView { hostname: policy.hostname.clone(), work: None, ..guest };
        let plan = LandlockPlan { paths, directory, policy };
        Ok(Self { plan, conditions: Conditions { limits, group, guest }, _scratch: scratch })
    }
}

impl Sandbox for LandlockOnly {
    fn policy(&self) -> &Policy {
        &self.plan.policy
    }

    fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    fn native_tools(&mut self) -> Vec<String> {
        vec![]
    }

    fn execute(&mut self, _: &mut RunSession<'_>) -> Result<Executed, Error> {
        let outcome = sandbox::run_landlock_only(&self.plan, self.conditions.group.as_ref())?;
        Ok(Executed { outcome, root_strategy: RootStrategy::Merged, emulation: None, reaper: None })
    }
}

/// Writes scripts that start the cross compilers of the image, and links to its libraries.
fn prepare_programs(session: &RunSession<'_>, tree: &Tree, places: &Places) -> Result<(), Error> {
    let config = &session.config;
    let failed = |source| LandlockOnlyError::Programs { tree: tree.path().to_owned(), source };
    let path = match list(config, "PATH") {
        path if path.is_empty() => DEFAULT_PATH.split(':').map(Path::new).collect(),
        path => path,
    };
    let host_has = |name: &str| HOST_PATH.split(':').any(|directory| Path::new(directory).join(name).exists());
    if tree.wrap(&path, &places.bin, &places.lib, host_has).map_err(failed)?.is_empty() {
        return Err(LandlockOnlyError::NoCompiler(session.target.reference.clone()).into());
    }
    tree.link_libraries(&list(config, "LD_LIBRARY_PATH"), &places.lib).map_err(failed)?;
    Ok(())
}

/// Refuses directories through which the command could write to the store.
fn check_store(session: &RunSession<'_>, tree: &Tree) -> Result<(), Error> {
    let failed = |source| LandlockOnlyError::Programs { tree: tree.path().to_owned(), source };
    for shared in session.binds.iter().filter(|shared| !shared.bind.read_only) {
        let path = real(&shared.source).map_err(failed)?;
        let store = std::fs::canonicalize(session.store.root()).map_err(failed)?;
        if tree.path().starts_with(&path) || path.starts_with(&store) {
            return Err(LandlockOnlyError::Store { path, tree: tree.path().to_owned() }.into());
        }
    }
    Ok(())
}

fn policy(
    session: &mut RunSession<'_>,
    tree: &Tree,
    places: &Places,
    directory: PathBuf,
    limits: AppliedLimits,
) -> Result<Policy, Error> {
    let request = &session.invocation.request;
    let environment = environment(session, tree, places);
    // The entrypoint of the image expects the image as its root.
    let mut argv = command_line(&ImageConfig::default(), request.entrypoint.as_ref(), &request.argv)
        .ok_or_else(|| Error::NoCommand(session.target.reference.clone()))?;
    // A compiler by its path in the image; all other paths are the host's.
    if let Some(script) = argv.first().and_then(|program| moved(tree, places, program))
        && script.starts_with(&places.bin)
    {
        argv[0] = script.into();
    }
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(Policy { hostname, ..session.policy(argv, directory, environment, limits) })
}

/// Directories that are made for one run and removed after it.
struct Places {
    /// Scripts that start the programs of the image.
    bin: PathBuf,
    /// Links to its libraries.
    lib: PathBuf,
    /// `HOME`: the caller's own has secrets, and settings that would show in what is built.
    home: PathBuf,
    /// `TMPDIR`.
    tmp: PathBuf,
}

impl Places {
    fn make(at: &Path) -> std::io::Result<Self> {
        let [bin, lib, home, tmp] = ["bin", "lib", "home", "tmp"].map(|name| at.join(name));
        [&bin, &lib, &home, &tmp].into_iter().try_for_each(std::fs::create_dir)?;
        Ok(Self { bin, lib, home, tmp })
    }
}

/// The absolute paths in a variable of the image.
fn list<'a>(config: &'a ImageConfig, name: &str) -> Vec<&'a Path> {
    let found = config.env.iter().rev().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_default().split(':').filter(|path| path.starts_with('/')).map(Path::new).collect()
}

/// The current path of `place`, without links.
fn real(place: &Opened) -> std::io::Result<PathBuf> {
    std::fs::read_link(path_of(place.as_fd()))
}

/// `-w`, in the current directory `here`, which it is else.
fn directory(here: &Opened, asked: Option<&Path>) -> Result<Opened, Error> {
    let Some(asked) = asked else { return Ok(here.clone()) };
    let path = here.path().join(asked);
    // A relative path begins at the current directory, even if that has moved.
    let found = Opened::directory(&here.reach().join(asked));
    let found = found.and_then(|found| Ok((real(&found)?, real(here)?, found)));
    match found {
        Ok((real, above, found)) if real.starts_with(&above) => Ok(found.named(real)),
        Ok(_) => Err(LandlockOnlyError::Elsewhere { path }.into()),
        Err(source) => Err(Error::Volume { path, source }),
    }
}

/// What the command may do where.
fn paths(tree: &Tree, places: &Places, shared: &[Shared], network: Network) -> std::io::Result<Vec<(Opened, Reach)>> {
    let read = SYSTEM.iter().copied().chain((network == Network::Host).then_some("/etc/resolv.conf"));
    let read = read.map(|path| (PathBuf::from(path), Reach::Read));
    let devices = Device::ALL.iter().map(|device| (Path::new("/dev").join(device.name()), Reach::Device));
    // Of what there is: systems differ.
    let there = read.chain(devices).filter_map(|(path, reach)| Some((Opened::new(&path).ok()?, reach)));
    let image = [tree.path(), &places.bin, &places.lib].map(|path| (path, Reach::Read));
    let own = [&places.home, &places.tmp].map(|path| (path.as_path(), Reach::All));
    let own = image.into_iter().chain(own).map(|(path, reach)| Ok((Opened::new(path)?, reach)));
    let shared = shared
        .iter()
        .map(|Shared { bind, source }| (source.clone(), if bind.read_only { Reach::Read } else { Reach::All }));
    there.map(Ok).chain(own).chain(shared.map(Ok)).collect()
}

/// The path on the host for a path of the image: the script that starts the program, or the file in the tree.
fn moved(tree: &Tree, places: &Places, path: &OsStr) -> Option<PathBuf> {
    let path = Path::new(path);
    let found = tree.find(path).filter(|_| path.is_absolute() && path != Path::new("/"))?;
    let script = path.file_name().map(|name| places.bin.join(name)).filter(|script| script.exists());
    Some(script.filter(|_| found.is_file()).unwrap_or(found))
}

/// The variables of every build; the image's, with paths of the image as they are here; the toolchain's; then hermes' own, the
/// project's, and the caller's.
fn environment(session: &RunSession<'_>, tree: &Tree, places: &Places) -> Vec<(OsString, OsString)> {
    let RunSession { config, build, .. } = session;
    let mut environment = Environment::default();
    for (name, value) in build_variables(build) {
        environment.set(name, value);
    }
    for (name, value) in image_variables(config) {
        let there = |path: &str| moved(tree, places, path.as_ref()).map_or_else(|| path.into(), OsString::from);
        // Variables of the dynamic loader would affect the host's programs too.
        if !name.starts_with("LD_") {
            environment.set(name, value.split(':').map(there).collect::<Vec<_>>().join(OsStr::new(":")));
        }
    }
    for (name, value) in &session.target.additions.environment {
        environment.set(name, value);
    }
    environment.set("PATH", [places.bin.as_os_str(), OsStr::new(HOST_PATH)].join(OsStr::new(":")));
    environment.set("HOME", places.home.clone());
    environment.set("TMPDIR", places.tmp.clone());
    environment.set_requested(&session.invocation, build);
    environment.into_list()
}
