//! Arguments, environment and files, resolved once.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser as _;
use etcetera::BaseStrategy as _;

use crate::cli::args::{self, Export, Fetch, Format, Global, Net, Require, RootFs, Run, Userns, Which};
use crate::cli::begun::Begun;
use crate::cli::config::{CERTIFICATES, Config, SYSTEM};
use crate::cli::{allow, env_vars};
use crate::commands::composition::RootKind;
use crate::commands::rebuild::{Vary, Wish};
use crate::commands::run::Users;
use crate::commands::{CallerProxies, Context, Error, TargetSelector, again, export, fetch, rebuild, run};
use crate::consent::{Consent, Memory, Question};
use crate::credentials::CredentialFiles;
use crate::emulation::{Accel, EmulationMode};
use crate::fetch::DEFAULT_JOBS;
use crate::fs::opened::Opened;
use crate::lock::LockFile;
use crate::platform::Platform;
use crate::progress::Reporter;
use crate::record::By;
use crate::reference::Reference;
use crate::registry::{self, Proxies};
use crate::sandbox::{Bind, Caller, FakeRoot, Feature, Isolation, Limits, Network};
use crate::size::{Cpus, Size, Time};
use crate::source::GitHost;
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
            reporter.warn(&format!("{} is not used: {why}", path.display()));
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
pub(super) fn selector(which: Which) -> Result<TargetSelector, Error> {
    Ok(TargetSelector {
        platform: platform(which.platform.as_deref())?,
        toolchain: which.toolchain,
        image: which.image.map(|text| text.parse()).transpose()?,
        label: which.image_platform.map(|text| text.parse()).transpose()?,
        recorded: None,
    })
}

/// A request to fetch.
pub(super) fn fetch(args: Fetch) -> Result<fetch::Request, Error> {
    Ok(fetch::Request {
        images: args.references.iter().chain(&args.image).map(|text| text.parse()).collect::<Result<_, _>>()?,
        toolchain: args.toolchain,
        platforms: platforms(&args.platforms)?,
        all_platforms: args.all_platforms,
    })
}

/// An image to be exported.
pub(super) fn export(args: &Export) -> Result<export::Request, Error> {
    Ok(export::Request {
        reference: args.reference.parse()?,
        format: match args.format {
            Format::Oci => export::Format::Oci,
            Format::OciDir => export::Format::OciDirectory,
            Format::DockerArchive => export::Format::Docker,
        },
        platform: platform(args.platform.as_deref())?,
    })
}

/// Image references of the command line.
pub(super) fn references(words: &[String]) -> Result<Vec<Reference>, Error> {
    Ok(words.iter().map(|text| text.parse()).collect::<Result<_, _>>()?)
}

/// Platforms in any spelling.
pub(super) fn platforms(words: &[String]) -> Result<Vec<Platform>, Error> {
    Ok(words.iter().map(|text| text.parse()).collect::<Result<_, _>>()?)
}

/// A platform in any spelling.
pub(super) fn platform(text: Option<&str>) -> Result<Option<Platform>, Error> {
    Ok(text.map(str::parse).transpose()?)
}

/// A request to run.
pub(super) fn request(args: Run, begun: Option<&Begun>) -> Result<run::Request, Error> {
    if args.explain && matches!(args.fake_root, Some(args::FakeRoot::Stateful)) {
        return Err(Error::ExplainWithState);
    }
    let terminal = rustix::termios::isatty(rustix::stdio::stdin()) && rustix::termios::isatty(rustix::stdio::stdout());
    let (environment, passed_on) = assignments(&args.env);
    let volumes: Vec<_> = args.volumes.iter().map(|text| run::share(volume(text)?)).collect::<Result<_, _>>()?;
    begun.map_or(Ok(()), |begun| begun.check(&volumes))?;
    Ok(run::Request {
        selector: selector(args.which)?,
        volumes,
        environment,
        passed_on,
        directory: args.workdir,
        surroundings: args.surroundings.into(),
        network: args.net.map(|net| match net {
            Net::None => Network::None,
            Net::Host => Network::Host,
        }),
        network_by: By::Caller,
        entrypoint: args.entrypoint,
        root: args.root,
        users: match args.userns {
            Userns::Single => Users::One,
            Userns::Range => Users::Many,
        },
        fake_root: match args.fake_root {
            Some(args::FakeRoot::Off) => FakeRoot::Off,
            Some(args::FakeRoot::Stateful) => FakeRoot::Stateful,
            Some(args::FakeRoot::Stateless) | None => FakeRoot::Stateless,
        },
        required: args
            .require
            .iter()
            .map(|feature| match feature {
                Require::Netns => Feature::Netns,
                Require::Seccomp => Feature::Seccomp,
                Require::Landlock => Feature::Landlock,
            })
            .collect(),
        limits: Limits {
            memory: args.memory.map(|Size(bytes)| bytes),
            millicpus: args.cpus.map(|Cpus(millicpus)| millicpus),
            pids: args.pids,
        },
        timeout: args.timeout.map(|Time(time)| time),
        isolation: match args.isolation {
            args::Isolation::Namespaces => Isolation::Namespaces,
            args::Isolation::Landlock => Isolation::Landlock,
        },
        root_kind: match args.rootfs {
            RootFs::Auto => RootKind::Auto,
            RootFs::Overlay => RootKind::Overlay,
            RootFs::Merged => RootKind::Merged,
        },
        accel: match args.accel {
            args::Accel::Off => Accel::Off,
            args::Accel::Auto => Accel::Auto,
            args::Accel::Require => Accel::Require,
        },
        emulation: match args.emulation {
            args::Emulation::Auto => None,
            args::Emulation::Binfmt => Some(EmulationMode::Binfmt),
            args::Emulation::Host => Some(EmulationMode::Host),
            args::Emulation::Ptrace => Some(EmulationMode::Ptrace),
        },
        explain: args.explain.then(|| Caller { home: home() }),
        outputs: args.outputs,
        repeats: None,
        argv: args.argv,
        terminal: terminal.then(|| variable(env_vars::TERM).unwrap_or_else(|| "dumb".into())),
    })
}

/// What is to be built again.
pub(super) enum Rebuild {
    /// A command, twice.
    Twice(Box<rebuild::Request>),
    /// What is on record.
    Recorded(again::Request),
}

/// A request to build again. No build has a terminal.
pub(super) fn rebuild(context: &Context, mut args: args::Rebuild, begun: Option<&Begun>) -> Result<Rebuild, Error> {
    let is_plain = matches!(args::Cli::try_parse_from(["hermes", "run"]), Ok(args::Cli { verb: args::FastPath::Run(run), .. }) if *run == args.run);
    let vary = args.vary.iter().map(|vary| {
        Some(match vary {
            args::Vary::All => return None,
            args::Vary::Hostname => Vary::Hostname,
            args::Vary::Time => Vary::Time,
            args::Vary::Tz => Vary::Tz,
            args::Vary::Locale => Vary::Locale,
            args::Vary::Umask => Vary::Umask,
            args::Vary::DirOrder => Vary::DirOrder,
            args::Vary::Cpus => Vary::Cpus,
            args::Vary::Home => Vary::Home,
            args::Vary::BuildPath => Vary::BuildPath,
            args::Vary::Accel => Vary::Accel,
        })
    });
    let vary = vary.collect::<Option<_>>().map_or(Wish::All, Wish::These);
    if args.record.is_some() || is_plain {
        if !is_plain {
            return Err(rebuild::RebuildError::Recorded.into());
        }
        let here = context.here()?.to_owned();
        return Ok(Rebuild::Recorded(again::Request {
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
    Ok(Rebuild::Twice(Box::new(rebuild::Request {
        vary,
        outputs: std::mem::take(&mut args.run.outputs),
        keep: args.keep,
        run: run::Request { terminal: None, ..request(args.run, begun)? },
    })))
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

/// What `-e` sets, the last word on each variable, and which of it was given by name alone.
fn assignments(words: &[OsString]) -> (Vec<(OsString, OsString)>, Vec<OsString>) {
    let (mut set, mut passed_on): (Vec<(OsString, OsString)>, Vec<OsString>) = Default::default();
    for word in words {
        let Some((name, value)) = assignment(word) else { continue };
        set.retain(|(known, _)| *known != name);
        passed_on.retain(|known| *known != name);
        if *word == name {
            passed_on.push(name.clone());
        }
        set.push((name, value));
    }
    (set, passed_on)
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
