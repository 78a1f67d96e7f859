//! `hermes run`.

use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use crate::commands::accelerate::{self, Accelerated, Wanted};
use crate::commands::bare;
use crate::commands::composition::{self, RootKind};
use crate::commands::environment::Environment;
use crate::commands::foreign::{self, Foreign};
use crate::commands::outputs;
use crate::commands::prepare::Prepared;
use crate::commands::recording::{self, Clock};
use crate::commands::source::acquire;
use crate::commands::surroundings::Surroundings;
use crate::commands::{CallerProxies, Context, Error, Target, TargetSelector};
use crate::digest::Digest;
use crate::emulation::{self, Accel, Crash, EmulationMode};
use crate::fs::atomic;
use crate::fs::beneath;
use crate::fs::opened::Opened;
use crate::hint::Hint as _;
use crate::lock::{Build, Image, Lock, Personality};
use crate::oci::{self, ImageConfig};
use crate::record::{self, By, Run};
use crate::reference::Reference;
use crate::resolve::{ResolveError, check_level};
use crate::rootfs::{self, Accounts, HostFiles, Identity, InjectedFile, Rootfs};
use crate::sandbox::{
    self, AppliedLimits, Bind, Caller, FakeRoot, Feature, Group, Isolation, Limits, Network, Outcome, Plan, Policy,
    Profile, Root, SandboxError, Scratch, Shared, SubIds,
};
use crate::store::{Lease, Store};
use crate::toolchain::Mounted;

/// Where the current directory is inside: dockcross's convention.
pub(super) const WORK: &str = Build::WORK;
/// Docker's default, for images that set none.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Longest file of the host's names that a run gets, in bytes.
const MAX_HOST_FILE: u64 = 1 << 20;

/// Who there is inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Users {
    /// One user.
    One,
    /// Those that the caller's range of ids can stand for.
    Many,
}

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Which image.
    pub selector: TargetSelector,
    /// `-v`.
    pub volumes: Vec<Shared>,
    /// `-e`, resolved.
    pub environment: Vec<(OsString, OsString)>,
    /// Those of it that were given by name alone, so that their values may be secrets: they are not recorded.
    pub passed_on: Vec<OsString>,
    /// `-w`.
    pub directory: Option<PathBuf>,
    /// Where and when it is, to the command.
    pub surroundings: Surroundings,
    /// `--net`; `None` for what the project says.
    pub network: Option<Network>,
    /// Who says so.
    pub network_by: By,
    /// `--entrypoint`; an empty one removes the image's.
    pub entrypoint: Option<OsString>,
    /// `--root`.
    pub root: bool,
    /// `--fake-root`; means nothing without `root`.
    pub fake_root: FakeRoot,
    /// `--userns`; means nothing without `root`.
    pub users: Users,
    /// `--require`.
    pub required: Vec<Feature>,
    /// `--memory`, `--cpus`, `--pids`.
    pub limits: Limits,
    /// `--timeout`.
    pub timeout: Option<Duration>,
    /// `--isolation`.
    pub isolation: Isolation,
    /// `--rootfs`.
    pub root_kind: RootKind,
    /// `--accel`.
    pub accel: Accel,
    /// `--emulation`; `None` for the first way that works here.
    pub emulation: Option<EmulationMode>,
    /// `--explain`: who is to be told what was refused to the command.
    pub explain: Option<Caller>,
    /// `--output`, from the top of the project: what of it is recorded.
    pub outputs: Vec<PathBuf>,
    /// The record that this repeats.
    pub repeats: Option<Digest>,
    /// The command line, or what is added to the entrypoint.
    pub argv: Vec<OsString>,
    /// `TERM` of the caller, where standard input and output are terminals.
    pub terminal: Option<OsString>,
}

/// A command that ran.
pub(crate) struct Ran {
    /// How it ended.
    pub outcome: Outcome,
    /// What is on record of it.
    pub record: Box<Run>,
    /// Its end may be the emulator's fault.
    pub crash: Option<Crash>,
}

/// What became of it.
pub(crate) enum Done {
    /// The command ran.
    Ran(Ran),
    /// Something was fetched first. This process has had threads, so it may not start a sandbox
    /// (`sandbox::spawn`): the caller starts the program anew, which finds all that it needs, since the
    /// lease keeps it.
    Fetched(Lease),
}

/// Runs a command in an image.
///
/// # Errors
/// Any stage's.
pub(crate) fn run(context: &Context, mut request: Request) -> Result<Done, Error> {
    let clock = Clock::start();
    request.outputs = outputs::checked(&request.outputs)?;
    let build = context.build();
    settle_network(context, &mut request)?;
    settle_mount(context, &mut request)?;
    pass_proxies(context, &mut request);
    request.required.extend(&build.require);
    let target = context.choose(request.selector.clone())?;
    let mut binds = match request.isolation {
        Isolation::Namespaces => shared(&request.volumes, request.surroundings.work())?,
        Isolation::Landlock => bare::check(&request, &target)?,
    };
    let store = context.open_store()?;
    let accel = accelerate::asked(&request, &target)?;
    let (mut prepared, foreign) = foreign::ready(context, &store, &target, request.emulation, accel)?;
    binds.extend(acquire::ready(context, &store, &target, request.isolation, &mut prepared)?);
    if let Some(report) = prepared.fetched {
        context
            .reporter
            .verbose(&format!("fetched {} layers, {} bytes", report.layers_downloaded, report.bytes_downloaded));
        return Ok(Done::Fetched(prepared.lease));
    }
    if request.isolation == Isolation::Landlock {
        return bare::run(context, request, &target, &store, prepared, binds, clock);
    }
    let build = context.at_last_commit(prepared.build.clone())?;
    let ready = Ready { build, target, binds, store, accel, prepared, foreign, clock };
    in_namespaces(context, request, ready)
}

/// Has `request` say what network there is, and finds out whether the user allows what the project asks of the host for it.
///
/// # Errors
/// [`crate::consent::ConsentError`].
pub(super) fn settle_network(context: &Context, request: &mut Request) -> Result<(), Error> {
    if request.network.is_none() {
        request.network = Some(context.build().net);
        request.network_by = By::Project;
    }
    context.allow_project(request.network_by == By::Project && request.network == Some(Network::Host))
}

/// Passes the caller's proxies on to a command that has the host's network, where the user wants that, or says that they are not.
fn pass_proxies(context: &Context, request: &mut Request) {
    // A record has the proxies of its run.
    if request.network != Some(Network::Host) || request.repeats.is_some() {
        return;
    }
    let build = context.build().env;
    let is_set = |name: &OsStr| {
        let by_project = name.to_str().is_some_and(|name| build.contains_key(name));
        by_project || request.environment.iter().any(|(known, _)| known == name)
    };
    let CallerProxies { variables, are_passed_on } = &context.proxies;
    let lacking: Vec<_> = variables.iter().filter(|(name, _)| !is_set(name)).cloned().collect();
    if *are_passed_on {
        request.passed_on.extend(lacking.iter().map(|(name, _)| name.clone()));
        request.environment.extend(lacking);
    } else if lacking.len() == variables.len() && !lacking.is_empty() && !context.reexecuted {
        let options: Vec<_> = lacking.iter().map(|(name, _)| format!("-e {}", name.to_string_lossy())).collect();
        context.reporter.warn(&format!(
            "the command does not get your proxies; to pass them on: {}, or [run] pass-proxy = true in config.toml",
            options.join(" ")
        ));
    }
}

/// Has all of the project mounted where its file says so and hermes was started below it. The command starts in the same
/// directory.
///
/// # Errors
/// [`crate::consent::ConsentError`].
pub(super) fn settle_mount(context: &Context, request: &mut Request) -> Result<(), Error> {
    let work = request.surroundings.work().to_owned();
    let project = context.project.as_ref().filter(|project| project.mount == Some(Mounted::Project));
    let Some(directory) = project.map(|project| &project.directory) else { return Ok(()) };
    let inside = context.directory().strip_prefix(directory.path()).unwrap_or(Path::new(""));
    if inside.as_os_str().is_empty() || request.volumes.iter().any(|volume| volume.bind.target == work) {
        return Ok(());
    }
    context.allow_mount()?;
    if request.isolation == Isolation::Landlock {
        // Where everything is at its own path, and the command starts here.
        request.volumes.push(Shared::directory(directory.clone(), directory.path().to_owned()));
        return Ok(());
    }
    request.directory.get_or_insert_with(|| work.join(inside));
    request.volumes.insert(0, Shared::directory(directory.clone(), work));
    Ok(())
}

/// What a run has before its root is made.
struct Ready {
    build: Build,
    target: Target,
    binds: Vec<Shared>,
    store: Store,
    accel: Accel,
    prepared: Prepared,
    foreign: Option<Foreign>,
    clock: Clock,
}

/// Runs a command in a root of its own.
fn in_namespaces(context: &Context, mut request: Request, ready: Ready) -> Result<Done, Error> {
    let Ready { build, target, binds, store, accel, prepared, mut foreign, mut clock } = ready;
    let config = config(&store, &target.reference, &prepared.image)?;
    check_level(&target.reference, &prepared.image, &config)?;
    clock.prepared();
    let project = recording::project(&binds, request.surroundings.work())?;
    let asked = recording::asked(&request, &target, &project);
    request.surroundings.follow(&build);
    let Prepared { image, native, sources, lease, .. } = prepared;
    let profile = if request.root { Profile::Provision } else { Profile::Build };
    let composed = composition::first(context, &image, &store, request.root_kind, profile)?;
    let rootfs = &composed.rootfs;
    let caller = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let mut accounts = Accounts::of(rootfs)?;
    let mut identity = rootfs::resolve(&config.user, request.root, build.uid, &accounts)?;
    request.surroundings.settle(&mut identity, &mut accounts);
    let (held, group) = hold(context, request.limits);
    let sub_ids = (request.root && request.users == Users::Many).then(|| SubIds::of(caller.0)).transpose()?;
    if sub_ids.is_some() && !matches!(composed.scratch, Scratch::Memory(_)) {
        return Err(SandboxError::RangeOnDisk.into());
    }
    let has_locale = has_locale(&build, &config, rootfs);
    let environment = environment(&config, &identity, &request, &build, &target, (foreign.is_some(), has_locale));
    let variables = recording::variables(&request, &environment);
    let path = environment.iter().find(|(name, _)| name == "PATH").and_then(|(_, path)| path.to_str());
    let accelerated = match (&native, &mut foreign) {
        (Some(native), Some(foreign)) => {
            let (target, image, path) = (&target, &image, path.unwrap_or(DEFAULT_PATH));
            let root_kind = request.root_kind;
            let wanted = Wanted { target, image, native, rootfs, root_kind, identity: &identity, caller, path };
            accelerate::accelerate(context, &store, accel, &wanted, foreign)?
        }
        _ => Accelerated::default(),
    };
    let argv = command_line(&config, request.entrypoint, request.argv)
        .ok_or_else(|| Error::NoCommand(target.reference.clone()))?;
    let directory = directory(request.directory.as_deref(), &config, request.surroundings.work());
    let policy = Policy {
        profile,
        fake_root: if request.root && sub_ids.is_none() { request.fake_root } else { FakeRoot::Off },
        sub_ids,
        search: context.search.clone(),
        network: request.network.unwrap_or(build.net),
        binds,
        environment,
        terminal: request.terminal.is_some(),
        required: request.required,
        timeout: request.timeout,
        limits: held.process,
        emulation: foreign.as_ref().map(|foreign| foreign.mode),
        explain: request.explain,
        placements: accelerated.placements,
        hostname: request.surroundings.hostname().to_owned(),
        umask: request.surroundings.umask(),
        nproc: request.surroundings.nproc,
        fixed_addresses: build.personality.contains(&Personality::AddrNoRandomize),
        interposed: request.surroundings.interposed,
        ..Policy::new(argv, directory)
    };
    let files = files(&policy, rootfs, &accounts, &identity);
    let known = foreign.as_ref().and_then(|foreign| foreign.emulator.as_ref());
    let entries = Lock { sources, ..recording::entries(build, &target, &image, known, native.as_ref()) };
    let native = native.filter(|_| !accelerated.tools.is_empty());
    let mut begun = Run {
        native: native.map(|image| record::Native { manifest: image.manifest.digest, tools: accelerated.tools }),
        seen: request.surroundings.seen(Path::new(&identity.home), &policy.binds),
        ..recording::begun(&policy, (variables, request.repeats), &target, asked, &image, known)
    };
    let emulator = foreign.as_ref().and_then(|foreign| foreign.path.clone());
    let root = Root { rootfs: rootfs.clone(), files, scratch: composed.scratch.clone(), rung: composed.rung };
    let mut plan = Plan::new(policy, root, caller, &identity, target.image_platform, emulator);
    recording::before(&store, &project, &mut begun)?;
    clock.ready();
    let otherwise = |plan: &mut Plan, error: &SandboxError| {
        foreign.as_mut().is_some_and(|foreign| foreign.goes_on(context, &store, plan, error))
    };
    let (outcome, reaper) =
        composition::run(context, &image, &store, request.root_kind, &mut plan, group.as_ref(), otherwise)?;
    let mut run = Run {
        enforced: outcome.enforced.clone(),
        ended: outcome.ended,
        cause: outcome.cause,
        root: plan.root.rung,
        emulation: plan.policy.emulation,
        limits: held,
        timings: clock.timings(),
        ..begun
    };
    let recorded = recording::after(context, &store, &project, &clock, &mut run, &entries);
    drop(reaper);
    // Only now may others remove what the run has used.
    drop(lease);
    recorded?;
    let by = foreign.and_then(|foreign| foreign.emulator).filter(|_| outcome.cause.is_none());
    let crash = by.and_then(|by| Crash::of(outcome.exit_code(), target.image_platform, &by));
    Ok(Done::Ran(Ran { outcome, record: Box::new(run), crash }))
}

/// The files of the run itself.
fn files(policy: &Policy, rootfs: &Rootfs, accounts: &Accounts, identity: &Identity) -> Vec<InjectedFile> {
    let read = |path: &str| {
        let bytes = atomic::read_limited(Path::new(path), MAX_HOST_FILE).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let host = (policy.network == Network::Host)
        .then(|| HostFiles { resolver: read("/etc/resolv.conf"), hosts: read("/etc/hosts") });
    let one_user = policy.fake_root != FakeRoot::Off;
    rootfs::injected(rootfs, accounts, identity, &policy.hostname, host, one_user)
}

/// The config of an image in the store.
pub(super) fn config(store: &Store, reference: &Reference, image: &Image) -> Result<ImageConfig, Error> {
    let bytes = store.read_blob(&image.config, oci::MAX_CONFIG)?;
    ImageConfig::parse_alone(&bytes).map_err(|source| {
        let (reference, digest) = (Box::new(reference.clone()), image.config.digest);
        ResolveError::Document { reference, digest, source }.into()
    })
}

/// Has the limits held, and says where that is not quite what the user may think.
pub(super) fn hold(context: &Context, limits: Limits) -> (AppliedLimits, Option<Group>) {
    let (held, group, why) = sandbox::apply_limits(limits);
    if let Some(why) = why {
        let cause = why.source().map(|source| format!(": {source}")).unwrap_or_default();
        context.reporter.warn(&format!("{}; {why}{cause}", held.notes().join("; ")));
        why.hints().iter().for_each(|hint| context.reporter.verbose(hint));
    }
    (held, group)
}

/// The current directory, which is at `at`, then what `-v` says, which may be there instead.
fn shared(volumes: &[Shared], at: &Path) -> Result<Vec<Shared>, Error> {
    let mut shared = volumes.to_vec();
    if !volumes.iter().any(|volume| volume.bind.target == at) {
        shared.insert(0, Shared::directory(here()?, at.to_owned()));
    }
    Ok(shared)
}

/// The current directory, which must be readable.
pub(super) fn here() -> Result<Opened, Error> {
    let here = Opened::here().and_then(|here| {
        rustix::fs::openat(&here, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(here)
    });
    here.map_err(|source| Error::WorkDirectory { source })
}

/// What a volume is to show, which must be there.
///
/// # Errors
/// [`Error::Volume`].
pub(crate) fn share(bind: Bind) -> Result<Shared, Error> {
    let path = bind.source.clone();
    Shared::new(bind).map_err(|source| Error::Volume { path, source })
}

/// `-w`, else the image's, else the current directory, which is at `work`. An image that says nothing says `/`; one that
/// says `/work` means the current directory.
fn directory(asked: Option<&Path>, config: &ImageConfig, work: &Path) -> PathBuf {
    let of_image = Some(config.working_dir.as_str()).filter(|path| !["", "/", WORK].contains(path));
    beneath::plain(&Path::new("/").join(asked.or(of_image.map(Path::new)).unwrap_or(work)))
}

/// The usual surroundings, the image's variables, then what hermes knows better, the project's, and the user's.
fn environment(
    config: &ImageConfig,
    identity: &Identity,
    request: &Request,
    build: &Build,
    target: &Target,
    (emulated, has_locale): (bool, bool),
) -> Vec<(OsString, OsString)> {
    let mut environment = Environment::default();
    environment.set("PATH", DEFAULT_PATH);
    environment.set("HOME", identity.home.clone());
    for (name, value) in surroundings(build).filter(|(name, _)| name != "LANG" || has_locale) {
        environment.set(name, value);
    }
    for (name, value) in variables(config) {
        // Those of QEMU would change what it emulates, for instance, or have it load a plugin.
        if !(emulated && name.starts_with(emulation::VARIABLES)) {
            environment.set(name, value);
        }
    }
    if let Some(term) = &request.terminal {
        environment.set("TERM", term.clone());
    }
    if emulated {
        for (name, value) in emulation::environment(target.image_platform) {
            environment.set(*name, *value);
        }
    }
    for (name, value) in &build.env {
        environment.set(name, value);
    }
    for (name, value) in &request.environment {
        environment.set(name, value);
    }
    environment.into_list()
}

/// Whether programs of the image know the locale that the build is to have. Only the default is looked for: another one is
/// the project's affair.
fn has_locale(build: &Build, config: &ImageConfig, rootfs: &Rootfs) -> bool {
    build.locale != Build::LOCALE || variables(config).any(|(name, _)| name == "LANG") || rootfs.has_utf8_locale()
}

/// What a build is told of time and place. An image that says otherwise is right: it may not have the locale.
pub(super) fn surroundings(build: &Build) -> impl Iterator<Item = (OsString, OsString)> {
    let epoch = build.epoch.seconds().map(|epoch| ("SOURCE_DATE_EPOCH", epoch.to_string()));
    let rest = [("LANG", build.locale.clone()), ("TZ", build.time_zone.clone())];
    epoch.into_iter().chain(rest).map(|(name, value)| (name.into(), value.into()))
}

/// The variables of the image.
pub(super) fn variables(config: &ImageConfig) -> impl Iterator<Item = (&str, &str)> {
    config.env.iter().filter_map(|pair| pair.split_once('=')).filter(|(name, _)| !name.is_empty())
}

/// Entrypoint and Cmd as the image spec and Docker have them: arguments replace Cmd, and another
/// entrypoint makes Cmd void.
pub(super) fn command_line(
    config: &ImageConfig,
    entrypoint: Option<OsString>,
    argv: Vec<OsString>,
) -> Option<Vec<OsString>> {
    let strings = |words: &[String]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let cmd = if argv.is_empty() && entrypoint.is_none() { strings(&config.cmd) } else { argv };
    let mut line = match entrypoint {
        Some(program) if program.is_empty() => vec![],
        Some(program) => vec![program],
        None => strings(&config.entrypoint),
    };
    line.extend(cmd);
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(entrypoint: &[&str], cmd: &[&str]) -> ImageConfig {
        let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        ImageConfig { entrypoint: strings(entrypoint), cmd: strings(cmd), ..ImageConfig::default() }
    }

    #[test]
    fn entrypoint_and_cmd() {
        let words = |text: &str| text.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        for (entrypoint, cmd, asked, argv, line) in [
            (&["e"][..], &["c"][..], None, "", Some("e c")),
            (&["e"], &["c"], None, "a b", Some("e a b")),
            (&[], &["c"], None, "a", Some("a")),
            (&[], &["c", "d"], None, "", Some("c d")),
            (&["e"], &["c"], Some("x"), "", Some("x")),
            (&["e"], &["c"], Some("x"), "a", Some("x a")),
            (&["e"], &["c"], Some(""), "a", Some("a")),
            (&["e"], &["c"], Some(""), "", None),
            (&[], &[], None, "", None),
        ] {
            let got = command_line(&config(entrypoint, cmd), asked.map(OsString::from), words(argv));
            assert_eq!(got, line.map(words), "{entrypoint:?} {cmd:?} {asked:?} {argv:?}");
        }
    }

    #[test]
    fn where_a_command_starts() {
        for (asked, image, work, want) in [
            (None, "", "/work", "/work"),
            (None, "/", "/work", "/work"),
            (None, "/src", "/work", "/src"),
            (None, "src", "/work", "/src"),
            (Some("/x"), "/src", "/work", "/x"),
            (Some("y"), "", "/work", "/y"),
            (None, "", "/other", "/other"),
            (None, "/work", "/other", "/other"),
            (None, "/src", "/other", "/src"),
        ] {
            let config = ImageConfig { working_dir: image.into(), ..ImageConfig::default() };
            assert_eq!(
                directory(asked.map(Path::new), &config, Path::new(work)),
                Path::new(want),
                "{asked:?} {image:?}"
            );
        }
    }
}
