//! `hermes run --isolation landlock`: the cross compilers of an image, on a host without user namespaces.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use crate::commands::OwnError;
use crate::commands::composition::RootKind;
use crate::commands::environment::Environment;
use crate::commands::prepare::Prepared;
use crate::commands::recording::{self, Clock};
use crate::commands::run::{self, Done, Ran, Request, Users};
use crate::commands::{Context, Error, Target};
use crate::fs::opened::Opened;
use crate::hint::{ErrorKind, Hint};
use crate::lock::{Build, Lock};
use crate::oci::ImageConfig;
use crate::platform::Platform;
use crate::record::{Run, Seen};
use crate::reference::Reference;
use crate::rootfs::{Rootfs, Tree};
use crate::sandbox::{self, Device, Feature, Isolation, LandlockPlan, Network, Policy, Reach, Rung, Shared};
use crate::store::Store;
use crate::sys::file::path_of;
use crate::sys::process::landlock_abi;

/// Where the host has its programs.
const HOST_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";
/// What of the host can be read, as far as it is there: what programs need, and nothing of users.
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
pub(crate) enum BareError {
    /// An option that means something else, or nothing, without namespaces.
    #[error("{0} needs a sandbox of namespaces, and --isolation landlock makes none")]
    Option(&'static str),
    /// Nothing stands between a user 0 of the host and the host.
    #[error("--isolation landlock is not for root")]
    Root,
    /// The image is for other machines.
    #[error("--isolation landlock runs cross toolchains of {}, and this image is for {}", Platform::host().name(), .0.name())]
    Foreign(Platform),
    /// The image compiles for nothing but the machine it runs on.
    #[error("{0} has no cross compiler on its PATH, and --isolation landlock is for cross toolchains only")]
    NoCompiler(Reference),
    /// There are no mounts.
    #[error("{path} cannot be at another place: --isolation landlock makes no mounts")]
    Moved {
        /// Where it is to be.
        path: PathBuf,
    },
    /// There is no root of its own.
    #[error("{path} is not in the current directory, where --isolation landlock has commands start")]
    Elsewhere {
        /// `-w`
        path: PathBuf,
    },
    /// The image's files would be the command's to change.
    #[error("{path} and the store's {tree} are in one another, and the command may write to the first")]
    Store {
        /// What could be written to.
        path: PathBuf,
        /// The image.
        tree: PathBuf,
    },
    /// The programs of the image cannot be made ready.
    #[error("cannot make the programs of {tree} ready to run")]
    Programs {
        /// The image.
        tree: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl OwnError for BareError {}

impl Hint for BareError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Option(_) | Self::Moved { .. } | Self::Elsewhere { .. } => ErrorKind::Usage,
            _ => ErrorKind::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Option(_) => vec!["leave one of the two out; 'hermes doctor' says what namespaces need here".into()],
            Self::Root => vec!["use an ordinary user".into()],
            Self::Foreign(_) | Self::NoCompiler(_) => {
                vec!["one that is: --toolchain dockcross --platform arm64".into()]
            }
            Self::Moved { .. } => vec!["give the directory alone, or with ':ro': -v DIR, -v DIR:DIR:ro".into()],
            Self::Elsewhere { .. } => {
                vec!["-w takes the current directory or one in it, by its name on this host".into()]
            }
            Self::Store { .. } => vec!["start in the directory of the project; or HERMES_STORE=DIR, elsewhere".into()],
            Self::Programs { .. } => vec![],
        }
    }
}

/// What can be said before the image is looked for: what of the host the command may use.
///
/// # Errors
/// Options that cannot be had, a caller who is root, a foreign image.
pub(super) fn check(request: &Request, target: &Target) -> Result<Vec<Shared>, Error> {
    let options = [
        (request.root, "--root"),
        (request.users == Users::Many, "--userns range"),
        (request.root_kind != RootKind::Auto, "--rootfs"),
        (request.required.contains(&Feature::Netns), "--require netns"),
        (request.explain.is_some(), "--explain"),
    ];
    let option = options.iter().find(|(asked, _)| *asked).map(|(_, option)| *option);
    if let Some(option) = option.or(request.surroundings.needs_namespaces()) {
        return Err(BareError::Option(option).into());
    }
    if rustix::process::getuid().is_root() {
        return Err(BareError::Root.into());
    }
    if target.image_platform != Platform::host() {
        return Err(BareError::Foreign(target.image_platform).into());
    }
    shared(&request.volumes)
}

/// What is given up, in a line.
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

/// Runs a command on the programs of an image that `prepared` has.
///
/// # Errors
/// The image has no cross compiler, something of it is where it should not be, or the command cannot be started.
pub(super) fn run(
    context: &Context,
    mut request: Request,
    target: &Target,
    store: &Store,
    prepared: Prepared,
    binds: Vec<Shared>,
    mut clock: Clock,
) -> Result<Done, Error> {
    let config = &run::config(store, &target.reference, &prepared.image)?;
    clock.prepared();
    let project = binds.first().map_or_else(run::here, |first| Ok(first.source.clone()))?;
    let asked = recording::asked(&request, target, &project);
    let Prepared { build, image, sources, lease, .. } = prepared;
    let build = context.at_last_commit(build)?;
    request.surroundings.follow(&build);
    let network = request.network.unwrap_or_default();
    let tree = Rootfs::merged_tree(&image, store)?.ok_or(Error::NoLayers)?;
    let failed = |source| BareError::Programs { tree: tree.clone(), source };
    let tree = Tree::open(&tree).map_err(failed)?;
    let scratch = store.scratch()?;
    let place = std::fs::canonicalize(scratch.path()).map_err(failed)?;
    let places = Places::make(&place).map_err(failed)?;
    let path = match list(config, "PATH") {
        path if path.is_empty() => run::DEFAULT_PATH.split(':').map(Path::new).collect(),
        path => path,
    };
    let host_has = |name: &str| HOST_PATH.split(':').any(|directory| Path::new(directory).join(name).exists());
    if tree.wrap(&path, &places.bin, &places.lib, host_has).map_err(failed)?.is_empty() {
        return Err(BareError::NoCompiler(target.reference.clone()).into());
    }
    tree.link_libraries(&list(config, "LD_LIBRARY_PATH"), &places.lib).map_err(failed)?;

    for shared in binds.iter().filter(|shared| !shared.bind.read_only) {
        let path = real(&shared.source).map_err(failed)?;
        let store = std::fs::canonicalize(store.root()).map_err(failed)?;
        if tree.path().starts_with(&path) || path.starts_with(&store) {
            return Err(BareError::Store { path, tree: tree.path().to_owned() }.into());
        }
    }
    context.reporter.warn(&note(network));
    let (held, group) = run::hold(context, request.limits);
    if held.process.pids.is_some() {
        // RLIMIT_NPROC counts all processes of the user, where there is no user namespace.
        return Err(BareError::Option("--pids without a cgroup").into());
    }
    let environment = environment(config, &request, &build, &tree, &places);
    let variables = recording::variables(&request, &environment);
    // The entrypoint of the image is made for a root of its own.
    let mut argv = run::command_line(&ImageConfig::default(), request.entrypoint, request.argv)
        .ok_or_else(|| Error::NoCommand(target.reference.clone()))?;
    // A compiler by its path in the image; all other paths are the host's.
    if let Some(script) = argv.first().and_then(|program| moved(&tree, &places, program))
        && script.starts_with(&places.bin)
    {
        argv[0] = script.into();
    }
    let directory = directory(&project, request.directory.as_deref())?;
    let plan = LandlockPlan {
        paths: paths(&tree, &places, &binds, network).map_err(failed)?,
        policy: Policy {
            network,
            binds,
            environment,
            terminal: request.terminal.is_some(),
            required: request.required,
            timeout: request.timeout,
            limits: held.process,
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            umask: request.surroundings.umask(),
            nproc: request.surroundings.nproc,
            ..Policy::new(argv, directory.path().to_owned())
        },
        directory,
    };
    let seen =
        Seen { hostname: plan.policy.hostname.clone(), work: None, ..request.surroundings.seen(&places.home, &[]) };
    let entries = Lock { sources, ..recording::entries(build, target, &image, None, None) };
    let mut begun = recording::begun(&plan.policy, (variables, request.repeats), target, asked, &image, None);
    recording::before(store, &project, &mut begun)?;
    clock.ready();
    let outcome = sandbox::run_landlock_only(&plan, group.as_ref())?;
    let mut run = Run {
        isolation: Isolation::Landlock,
        seen,
        enforced: outcome.enforced.clone(),
        ended: outcome.ended,
        cause: outcome.cause,
        root: Rung::Merged,
        limits: held,
        timings: clock.timings(),
        ..begun
    };
    let recorded = recording::after(context, store, &project, &clock, &mut run, &entries);
    drop(scratch);
    drop(lease);
    recorded?;
    Ok(Done::Ran(Ran { outcome, record: Box::new(run), crash: None }))
}

/// What is made for one run, and removed after it.
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

/// The current directory, then what `-v` says.
fn shared(volumes: &[Shared]) -> Result<Vec<Shared>, Error> {
    let here = run::here()?;
    let target = here.path().to_owned();
    if let Some(Shared { bind, .. }) = volumes.iter().find(|volume| volume.bind.source != volume.bind.target) {
        return Err(BareError::Moved { path: bind.source.clone() }.into());
    }
    Ok([&[Shared::directory(here, target)], volumes].concat())
}

/// Where `place` is by now, without links.
fn real(place: &Opened) -> std::io::Result<PathBuf> {
    std::fs::read_link(path_of(place.as_fd()))
}

/// `-w`, in the current directory `here`, which it is else.
fn directory(here: &Opened, asked: Option<&Path>) -> Result<Opened, Error> {
    let Some(asked) = asked else { return Ok(here.clone()) };
    let path = here.path().join(asked);
    // A path that does not begin at the root does so here, wherever that is by now.
    let found = Opened::directory(&here.reach().join(asked));
    let found = found.and_then(|found| Ok((real(&found)?, real(here)?, found)));
    match found {
        Ok((real, above, found)) if real.starts_with(&above) => Ok(found.named(real)),
        Ok(_) => Err(BareError::Elsewhere { path }.into()),
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

/// Where a path of the image is: its script, or it itself in the tree.
fn moved(tree: &Tree, places: &Places, path: &OsStr) -> Option<PathBuf> {
    let path = Path::new(path);
    let found = tree.find(path).filter(|_| path.is_absolute() && path != Path::new("/"))?;
    let script = path.file_name().map(|name| places.bin.join(name)).filter(|script| script.exists());
    Some(script.filter(|_| found.is_file()).unwrap_or(found))
}

/// The usual surroundings; the image's variables, with the paths that are in it as they are here; then hermes' own, the
/// project's, and the user's.
fn environment(
    config: &ImageConfig,
    request: &Request,
    build: &Build,
    tree: &Tree,
    places: &Places,
) -> Vec<(OsString, OsString)> {
    let mut environment = Environment::default();
    for (name, value) in run::surroundings(build) {
        environment.set(name, value);
    }
    for (name, value) in run::variables(config) {
        let there = |path: &str| moved(tree, places, path.as_ref()).map_or_else(|| path.into(), OsString::from);
        // The loader's are for a root of its own: here they would be the host's programs' too.
        if !name.starts_with("LD_") {
            environment.set(name, value.split(':').map(there).collect::<Vec<_>>().join(OsStr::new(":")));
        }
    }
    environment.set("PATH", [places.bin.as_os_str(), OsStr::new(HOST_PATH)].join(OsStr::new(":")));
    environment.set("HOME", places.home.clone());
    environment.set("TMPDIR", places.tmp.clone());
    if let Some(term) = &request.terminal {
        environment.set("TERM", term.clone());
    }
    for (name, value) in &build.env {
        environment.set(name, value);
    }
    for (name, value) in &request.environment {
        environment.set(name, value);
    }
    environment.into_list()
}
