//! Arguments, environment and files, resolved once.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser as _;
use etcetera::BaseStrategy as _;
use rustix::stdio::{stdin, stdout};
use rustix::termios::isatty;

use crate::cli::args::{self, Fetch, Global, RunOptions, Which};
use crate::cli::begun::Begun;
use crate::cli::config::{CERTIFICATES, Config, SYSTEM};
use crate::cli::values::OrWord;
use crate::cli::{allow, env_vars};
use crate::commands::rebuild::{self, Wish, replay};
use crate::commands::run::{self, Invocation};
use crate::commands::{CallerProxies, Context, Error, TargetSelector, fetch};
use crate::consent::{Consent, Memory, Question};
use crate::credentials::CredentialFiles;
use crate::fetch::DEFAULT_JOBS;
use crate::fs::opened::Opened;
use crate::lock::LockFile;
use crate::progress::Reporter;
use crate::record::{RunRequest, Text, Variable};
use crate::registry::{self, Proxies};
use crate::sandbox::{Bind, FakeRoot, Limits};
use crate::size::{Cpus, Size, Time};
use crate::source::{GitHost, PipHost};
use crate::toolchain::{Catalog, Project};

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The caller's home directory.
pub(super) fn home() -> Option<PathBuf> {
    variable(env_vars::HOME).map(PathBuf::from)
}

/// Those of these variables that are set.
fn variables(names: &[&str]) -> Vec<(OsString, OsString)> {
    names.iter().filter_map(|name| Some((name.into(), variable(name)?))).collect()
}

/// What every verb knows.
pub(super) fn context(global: &Global, reporter: Arc<dyn Reporter>) -> Result<Context, Error> {
    // Without a home the base directories are in the root, where nothing can be written: the store's error then names the
    // path. Never in the current directory, which may be a stranger's project.
    let base = etcetera::base_strategy::Xdg::new().ok();
    let base_path = |pick: fn(&etcetera::base_strategy::Xdg) -> PathBuf| {
        Path::new("/").join(base.as_ref().map(pick).unwrap_or_default()).join("hermes")
    };
    let config_home = base_path(etcetera::BaseStrategy::config_dir);
    let user = global
        .config
        .clone()
        .or_else(|| variable(env_vars::CONFIG).map(PathBuf::from))
        .unwrap_or_else(|| config_home.join("config.toml"));
    let mut config = Config::read(Path::new(SYSTEM))?.overridden_by(Config::read(&user)?);
    let mut hosts = config.hosts();
    for (name, mirror) in &global.mirror {
        hosts.entry(name.clone()).or_default().mirrors.push(mirror.clone());
    }
    for name in &global.insecure {
        hosts.entry(name.clone()).or_default().insecure = true;
    }
    for (name, file) in &global.ca {
        hosts.entry(name.clone()).or_default().ca = Some(file.into());
    }
    let state = base_path(|base| base.state_dir().unwrap_or_else(|| base.data_dir()));
    let consent = Consent {
        everything: global.allow_project,
        rules: config.take_rules(),
        memory: base.is_some().then(|| Memory::new(state.join("allowed"))),
        question: Some(Arc::new(allow::question) as Question),
        // The note was printed before hermes executed itself again.
        told: AtomicBool::new(global.reexec.is_some()),
    };
    // In a directory that was removed there is no project.
    let opened = Opened::here();
    let passed_over = |path: &Path| {
        let why = "it belongs to another user, in a directory where others may write";
        // Said once: this program may have executed itself again.
        if global.reexec.is_none() {
            reporter.warn(&format!("ignoring {}: {why}", path.display()));
        }
    };
    let project = opened.as_ref().map_or(Ok(None), |here| Project::find(here, passed_over))?;
    let opened = opened.map(|here| here.path().to_owned()).map_err(|error| error.raw_os_error().unwrap_or_default());
    let here = opened.clone().unwrap_or_else(|_| "/".into());
    let (configured, sites) = config.take_stores();
    let sites = variable(env_vars::SITE_STORE).map_or(sites, |list| std::env::split_paths(&list).collect());
    let store = global.store.clone().or_else(|| variable(env_vars::STORE).map(PathBuf::from)).or(configured);
    let store = store.unwrap_or_else(|| base_path(etcetera::BaseStrategy::data_dir));
    let search: Vec<PathBuf> = variable(env_vars::PATH)
        .map(|path| std::env::split_paths(&path).filter(|path| path.is_absolute()).collect())
        .unwrap_or_default();
    let credentials = credential_files(base.as_ref(), &here, &search);
    Ok(Context {
        store: here.join(store),
        sites: sites.iter().map(|site| here.join(site)).collect(),
        locks: state.join("locks"),
        lock: global.lock.as_ref().map(|path| LockFile::named(path.clone(), here.join(path))),
        catalog: Catalog {
            project: project.as_ref().map(|project| project.toolchains.clone()).unwrap_or_default(),
            directory: Some(config_home.join("toolchains")),
        },
        build: None,
        here: opened,
        consent: Arc::new(consent),
        project,
        emulators: config.emulator,
        proxies: CallerProxies {
            variables: variables(&env_vars::ALL_PROXIES),
            are_passed_on: config.run.pass_proxy.unwrap_or_default(),
        },
        git: GitHost {
            environment: variables(&env_vars::OF_GIT)
                .into_iter()
                .chain(std::env::join_paths(&search).ok().map(|path| (env_vars::PATH.into(), path)))
                .collect(),
            search: search.clone(),
        },
        pip: pip(base.as_ref()),
        search,
        registry: registry::Settings {
            hosts,
            credentials,
            proxies: proxies(),
            certificates: CERTIFICATES.map(PathBuf::from).into(),
            bandwidth: global.limit_rate.or(config.limit_rate),
            ..registry::Settings::default()
        },
        source_mirrors: config.sources.mirrors.unwrap_or_default(),
        debian_mirrors: config.debian.mirrors.unwrap_or_default(),
        required: vec![],
        offline: global.offline || global.reexec.is_some(),
        reexecuted: global.reexec.is_some(),
        locked: global.locked,
        unpack_limit: global.unpack_limit.or(config.unpack_limit),
        jobs: global.max_concurrent.or(config.max_concurrent).map_or(DEFAULT_JOBS, usize::from),
        reporter,
    })
}

fn proxies() -> Proxies {
    let first = |names: &[&str]| names.iter().find_map(|name| variable(name)?.into_string().ok());
    Proxies {
        https: first(&env_vars::HTTPS_PROXY),
        http: first(&env_vars::HTTP_PROXY),
        none: first(&env_vars::NO_PROXY).unwrap_or_default(),
    }
}

/// Where pip has its settings ("Configuration" in its user guide), and its credentials. Nothing is read.
fn pip(base: Option<&etcetera::base_strategy::Xdg>) -> PipHost {
    let text = |name| variable(name).and_then(|value| value.into_string().ok());
    let home = base.map(etcetera::BaseStrategy::home_dir);
    let own = variable(env_vars::PIP_CONFIG_FILE).map(PathBuf::from);
    let system = variable(env_vars::CONFIG_DIRS).unwrap_or_else(|| "/etc/xdg".into());
    let system: Vec<PathBuf> = std::env::split_paths(&system).filter(|path| path.is_absolute()).collect();
    // The first directory of the list overrides the others.
    let system = system.into_iter().rev().map(|path| path.join("pip/pip.conf")).chain(["/etc/pip.conf".into()]);
    // With a file of its own, pip does not read those of the user; /dev/null stands for no file at all.
    let of_user = home.filter(|_| !own.as_ref().is_some_and(|own| own.is_file()));
    let of_user = of_user.map(|home| home.join(".pip/pip.conf")).into_iter();
    let of_user = of_user.chain(
        base.filter(|_| !own.as_ref().is_some_and(|own| own.is_file()))
            .map(|base| base.config_dir().join("pip/pip.conf")),
    );
    let of_environment = variable(env_vars::VIRTUAL_ENV).map(|path| Path::new(&path).join("pip.conf"));
    let files = if own.as_deref() == Some(Path::new("/dev/null")) {
        vec![]
    } else {
        system.chain(of_user).chain(of_environment).chain(own).collect()
    };
    let netrc = match variable(env_vars::NETRC) {
        Some(path) => vec![path.into()],
        None => home.map(|home| [".netrc", "_netrc"].map(|name| home.join(name))).into_iter().flatten().collect(),
    };
    PipHost {
        files,
        index_url: text(env_vars::PIP_INDEX_URL),
        extra_index_url: text(env_vars::PIP_EXTRA_INDEX_URL),
        no_index: text(env_vars::PIP_NO_INDEX),
        netrc,
    }
}

/// Where credentials are. What `login` writes comes first, so that it is also what is found.
fn credential_files(base: Option<&etcetera::base_strategy::Xdg>, here: &Path, search: &[PathBuf]) -> CredentialFiles {
    let path = |name| variable(name).map(|value| here.join(value));
    let docker = path(env_vars::DOCKER_CONFIG).or_else(|| base.map(|base| base.home_dir().join(".docker")));
    let docker = docker.map(|dir| dir.join("config.json"));
    let podman = |dir: PathBuf| dir.join("containers/auth.json");
    let auth_file = path(env_vars::AUTH_FILE);
    let own = auth_file.clone().or_else(|| docker.clone());
    let others = [path(env_vars::RUNTIME_DIR).map(podman), base.map(|base| podman(base.config_dir()))];
    CredentialFiles {
        files: [auth_file, docker].into_iter().chain(others).flatten().collect(),
        own,
        search: search.to_vec(),
    }
}

/// Which image.
pub(super) fn selector(which: Which) -> TargetSelector {
    TargetSelector {
        platform: which.platform,
        toolchain: which.toolchain,
        image: which.image,
        image_platform: which.image_platform,
    }
}

/// A request to fetch.
pub(super) fn fetch(args: Fetch) -> fetch::Request {
    fetch::Request {
        images: args.references.into_iter().chain(args.image).collect(),
        toolchain: args.toolchain,
        platforms: args.platforms,
        all_platforms: args.all_platforms,
    }
}

/// A run, with its volumes open. `begun` has what they were before hermes executed itself again.
pub(super) fn invocation(args: RunOptions, begun: Option<&Begun>) -> Result<Invocation, Error> {
    if args.explain && args.fake_root == Some(FakeRoot::Stateful) {
        return Err(Error::ExplainWithState);
    }
    let volumes: Vec<_> = args.volumes.iter().map(|text| run::share(volume(text)?)).collect::<Result<_, _>>()?;
    begun.map_or(Ok(()), |begun| begun.check(&volumes))?;
    let term = || variable(env_vars::TERM).unwrap_or_else(|| "dumb".into());
    let request = request(args);
    let mut invocation = Invocation::new(request, volumes);
    if invocation.request.terminal {
        invocation.term = term();
    }
    invocation.caller.home = home();
    Ok(invocation)
}

/// The request of a run, without its volumes.
fn request(args: RunOptions) -> RunRequest {
    RunRequest {
        selector: selector(args.which),
        volumes: vec![],
        environment: assignments(&args.env),
        directory: args.workdir,
        guest_overrides: args.guest_overrides.into(),
        network: args.net,
        entrypoint: args.entrypoint.map(Text),
        root: args.root,
        fake_root: args.fake_root.unwrap_or_default(),
        users: args.userns,
        required: args.require,
        limits: Limits {
            memory: args.memory.map(|Size(bytes)| bytes),
            millicpus: args.cpus.map(|Cpus(millicpus)| millicpus),
            pids: args.pids,
        },
        timeout: args.timeout.map(|Time(time)| time),
        nice: args.nice,
        isolation: args.isolation,
        rootfs: args.rootfs.0,
        accel: args.accel,
        emulation: args.emulation.0,
        explain: args.explain,
        terminal: isatty(stdin()) && isatty(stdout()),
        outputs: args.outputs,
        argv: args.argv.into_iter().map(Text).collect(),
    }
}

/// A request to `hermes rebuild`.
pub(super) enum Rebuild {
    /// A command, twice.
    Twice(Box<rebuild::Request>),
    /// A recorded run.
    Recorded(replay::Request),
}

/// A request to build again. No build has a terminal.
pub(super) fn rebuild(context: &Context, mut args: args::Rebuild, begun: Option<&Begun>) -> Result<Rebuild, Error> {
    let is_plain = matches!(args::Cli::try_parse_from(["hermes", "run"]), Ok(args::Cli { verb: args::FastPath::Run(run), .. }) if run.options == args.run);
    let vary = args.vary.iter().map(|OrWord(vary)| *vary).collect::<Option<_>>().map_or(Wish::All, Wish::These);
    if args.record.is_some() || is_plain {
        if !is_plain {
            return Err(rebuild::RebuildError::Recorded.into());
        }
        let here = context.here()?.to_owned();
        return Ok(Rebuild::Recorded(replay::Request {
            record: args.record,
            check: args.check,
            vary,
            keep: args.keep,
            project: args.project.map(|path| here.join(path)),
            changed_project: args.changed_project,
            fetch: args.fetch,
            variables: std::env::vars_os().collect(),
            here,
        }));
    }
    if !args.check {
        return Err(rebuild::RebuildError::Unchecked.into());
    }
    let outputs = std::mem::take(&mut args.run.outputs);
    let mut run = invocation(args.run, begun)?;
    run.request.terminal = false;
    Ok(Rebuild::Twice(Box::new(rebuild::Request { vary, outputs, keep: args.keep, run })))
}

/// `SRC:DST[:ro|:rw]`, or `SRC` alone for the same path inside. DST is absolute.
fn volume(text: &OsStr) -> Result<Bind, Error> {
    let parts: Vec<&OsStr> = text.as_bytes().split(|byte| *byte == b':').map(OsStr::from_bytes).collect();
    let wrong = |why| Error::VolumeSyntax { text: text.into(), why };
    let (source, target, mode) = match parts[..] {
        [source] => (source, source, "rw"),
        [source, target] => (source, target, "rw"),
        [source, target, mode] => (source, target, mode.to_str().unwrap_or_default()),
        _ => return Err(wrong("too many colons")),
    };
    let target = PathBuf::from(target);
    if source.is_empty()
        || !target.is_absolute()
        || target.components().any(|part| part == std::path::Component::ParentDir)
    {
        return Err(wrong("the path inside must be absolute and without '..'"));
    }
    match mode {
        "ro" | "rw" => Ok(Bind { source: source.into(), target, read_only: mode == "ro" }),
        _ => Err(wrong("the mode after the second colon must be ro or rw")),
    }
}

/// The variables that `-e` sets: of several settings of one variable the last.
fn assignments(words: &[OsString]) -> Vec<Variable> {
    let mut set: Vec<Variable> = Vec::new();
    for word in words {
        let Some((name, value)) = assignment(word) else { continue };
        set.retain(|known| known.name.0 != name);
        let is_passed_on = *word == name;
        set.push(if is_passed_on { Variable::passed_on(name, value) } else { Variable::new(name, value) });
    }
    set
}

/// `NAME=VALUE`, or `NAME` for the caller's value, if there is one.
fn assignment(text: &OsStr) -> Option<(OsString, OsString)> {
    let bytes = text.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => Some((OsString::from_vec(bytes[..at].to_vec()), OsString::from_vec(bytes[at + 1..].to_vec()))),
        None => std::env::var_os(text).map(|value| (text.to_owned(), value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes() {
        let bind =
            |source: &str, target: &str, read_only| Bind { source: source.into(), target: target.into(), read_only };
        for (text, want) in [
            ("/a:/b", Some(bind("/a", "/b", false))),
            ("a:/b:ro", Some(bind("a", "/b", true))),
            ("/a:/b:rw", Some(bind("/a", "/b", false))),
            ("/a", Some(bind("/a", "/a", false))),
            ("a", None),
            (":/b", None),
            ("/a:b", None),
            ("/a:/../b", None),
            ("/a:/b:z", None),
            ("/a:/b:ro:ro", None),
            ("", None),
        ] {
            assert_eq!(volume(OsStr::new(text)).ok(), want, "{text:?}");
        }
    }

    #[test]
    fn assignments() {
        let pair = |name: &str, value: &str| Some((name.into(), value.into()));
        assert_eq!(assignment(OsStr::new("A=b=c")), pair("A", "b=c"));
        assert_eq!(assignment(OsStr::new("A=")), pair("A", ""));
        assert_eq!(assignment(OsStr::new("HERMES_TEST_NO_SUCH_VARIABLE")), None);
    }
}
