//! The configuration files `config.toml` of the user and of the system.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::consent::Rule;
use crate::fetch::MAX_JOBS;
use crate::fs::trust::Trust;
use crate::lock::Network;
use crate::platform::Platform;
use crate::registry::{Bandwidth, Host};
use crate::size::Size;
use crate::toolchain::{ToolchainError, is_mirror};

/// The system's file, read before the user's.
pub(super) const SYSTEM: &str = "/etc/hermes/config.toml";
/// Directories of podman and docker with certificates for registries.
pub(super) const CERTIFICATES: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];
const MAX_CONFIG: u64 = 1 << 20;

/// A configuration file.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Config {
    store: Option<WireStore>,
    /// How many layers are downloaded at a time.
    #[serde(default, deserialize_with = "jobs")]
    pub(super) max_concurrent: Option<u8>,
    /// Limit of the download rate.
    #[serde(default, deserialize_with = "rate")]
    pub(super) limit_rate: Option<Bandwidth>,
    /// Bytes that a layer or an archive may unpack to, however small it is itself.
    #[serde(default, deserialize_with = "size")]
    pub(super) unpack_limit: Option<Size>,
    /// Mirrors of sources, for all projects.
    #[serde(default)]
    pub(super) sources: WireSources,
    /// Archives of Debian packages, for all toolchains that name none.
    #[serde(default)]
    pub(super) debian: WireDebian,
    /// Settings of registries, by name.
    #[serde(default)]
    registry: BTreeMap<String, WireHost>,
    /// Emulators, by foreign platform.
    #[serde(default)]
    pub(super) emulator: BTreeMap<Platform, PathBuf>,
    /// What projects are allowed.
    #[serde(default)]
    allow: Vec<WireRule>,
    /// Settings of runs.
    #[serde(default)]
    pub(super) run: WireRun,
}

/// `[run]`
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WireRun {
    /// Pass the caller's proxies to commands that have the host's network.
    pub(super) pass_proxy: Option<bool>,
}

/// `[[allow]]`
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRule {
    project: PathBuf,
    #[serde(default)]
    net: Network,
    #[serde(default)]
    read: Vec<PathBuf>,
    #[serde(default)]
    ssh: Vec<String>,
}

/// `[sources]`
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireSources {
    pub(super) mirrors: Option<Vec<String>>,
}

/// `[debian]`
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireDebian {
    #[serde(default, deserialize_with = "archives")]
    pub(super) mirrors: Option<Vec<String>>,
}

/// `store = "DIRECTORY"`, or a table.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum WireStore {
    Path(PathBuf),
    Table(WireStores),
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireStores {
    path: Option<PathBuf>,
    site: Option<Vec<PathBuf>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WireHost {
    #[serde(default)]
    mirrors: Vec<String>,
    #[serde(default)]
    insecure: bool,
    ca: Option<PathBuf>,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
}

fn jobs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
    let jobs = u8::deserialize(deserializer)?;
    if (1..=MAX_JOBS).contains(&usize::from(jobs)) {
        Ok(Some(jobs))
    } else {
        Err(D::Error::custom(format!("max-concurrent must be 1 to {MAX_JOBS}")))
    }
}

fn archives<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let mirrors = Vec::<String>::deserialize(deserializer)?;
    match mirrors.iter().find(|mirror| !is_mirror(mirror)) {
        Some(mirror) => Err(D::Error::custom(format!(
            "debian.mirrors: '{}' is neither https://…, http://…, oci://REGISTRY/REPOSITORY, file:///… nor a directory, without blanks and passwords",
            mirror.escape_default()
        ))),
        None => Ok(Some(mirrors)),
    }
}

fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bandwidth>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(D::Error::custom)
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Size>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(D::Error::custom)
}

impl Config {
    /// Reads a file; one that does not exist is empty.
    pub(super) fn read(path: &Path) -> Result<Self, ToolchainError> {
        // It names programs that are run and stores that are believed.
        let bytes = match Trust::in_caller().read_named(path, MAX_CONFIG) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(ToolchainError::Unreadable { path: path.to_owned(), source }),
        };
        let malformed = |source| ToolchainError::Malformed { path: path.to_owned(), source: Box::new(source) };
        let mut config: Self = toml::from_str(&String::from_utf8_lossy(&bytes)).map_err(malformed)?;
        // A relative path is relative to the file that says it.
        let mut store = config.stores();
        let directory = path.parent().unwrap_or(Path::new("/"));
        let of_hosts = config.registry.values_mut().flat_map(|host| {
            [&mut host.ca, &mut host.client_cert, &mut host.client_key].into_iter().filter_map(Option::as_mut)
        });
        let paths = config.emulator.values_mut().chain(of_hosts);
        let of_rules =
            config.allow.iter_mut().flat_map(|rule| std::iter::once(&mut rule.project).chain(&mut rule.read));
        for path in paths.chain(&mut store.path).chain(store.site.iter_mut().flatten()).chain(of_rules) {
            *path = directory.join(&path);
        }
        let mirrors = config.sources.mirrors.iter_mut().chain(&mut config.debian.mirrors);
        for mirror in mirrors.flatten().filter(|mirror| !mirror.contains("://")) {
            *mirror = directory.join(&mirror).to_string_lossy().into_owned();
        }
        config.store = Some(WireStore::Table(store));
        Ok(config)
    }

    /// This configuration, overridden by `nearer` for each key, registry and emulator.
    pub(super) fn overridden_by(mut self, mut nearer: Self) -> Self {
        let (further, nearest) = (self.stores(), nearer.stores());
        let store = WireStores { path: nearest.path.or(further.path), site: nearest.site.or(further.site) };
        self.registry.extend(nearer.registry);
        self.emulator.extend(nearer.emulator);
        self.allow.extend(nearer.allow);
        Self {
            store: Some(WireStore::Table(store)),
            sources: WireSources { mirrors: nearer.sources.mirrors.or(self.sources.mirrors) },
            debian: WireDebian { mirrors: nearer.debian.mirrors.or(self.debian.mirrors) },
            run: WireRun { pass_proxy: nearer.run.pass_proxy.or(self.run.pass_proxy) },
            max_concurrent: nearer.max_concurrent.or(self.max_concurrent),
            limit_rate: nearer.limit_rate.or(self.limit_rate),
            unpack_limit: nearer.unpack_limit.or(self.unpack_limit),
            ..self
        }
    }

    fn stores(&mut self) -> WireStores {
        match self.store.take() {
            Some(WireStore::Path(path)) => WireStores { path: Some(path), site: None },
            Some(WireStore::Table(stores)) => stores,
            None => WireStores::default(),
        }
    }

    /// Removes and returns the directory of the store and those of the site stores.
    pub(super) fn take_stores(&mut self) -> (Option<PathBuf>, Vec<PathBuf>) {
        let stores = self.stores();
        (stores.path, stores.site.unwrap_or_default())
    }

    /// Removes and returns what projects are allowed.
    pub(super) fn take_rules(&mut self) -> Vec<Rule> {
        let rule = |WireRule { project, net, read, ssh }| Rule { project, network: net == Network::Host, read, ssh };
        std::mem::take(&mut self.allow).into_iter().map(rule).collect()
    }

    /// The registries.
    pub(super) fn hosts(&self) -> BTreeMap<String, Host> {
        let host = |host: &WireHost| {
            let WireHost { mirrors, insecure, ca, client_cert, client_key } = host.clone();
            Host { mirrors, insecure, ca, client_cert, client_key }
        };
        self.registry.iter().map(|(name, wire)| (name.clone(), host(wire))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_file_wins_a_registry_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            Config::read(&path).unwrap()
        };
        let system = write(
            "system.toml",
            "store = '/big'\nmax-concurrent = 2\nlimit-rate = '1M'\n[registry.\"docker.io\"]\nmirrors = ['a', 'b']\n[registry.\"x.y\"]\ninsecure = true\n",
        );
        let user = write(
            "user.toml",
            "limit-rate = '2M'\nunpack-limit = '20G'\n[registry.\"docker.io\"]\nmirrors = ['127.0.0.1:5055']\nca = 'own.pem'\nclient-cert = 'me.pem'\nclient-key = '/k'\n[emulator]\narmv6 = '/q'\n",
        );
        let mut config = system.overridden_by(user);
        assert_eq!(config.take_stores(), (Some("/big".into()), vec![]));
        assert_eq!(config.emulator[&Platform::ArmV6], Path::new("/q"));
        assert_eq!((config.max_concurrent, config.limit_rate), (Some(2), "2M".parse().ok()));
        assert_eq!(config.unpack_limit, Some(Size(20 << 30)));
        let hosts = config.hosts();
        assert_eq!(hosts["docker.io"].mirrors, ["127.0.0.1:5055"]);
        assert_eq!(hosts["docker.io"].ca, Some(dir.path().join("own.pem")));
        assert_eq!(hosts["docker.io"].client_cert, Some(dir.path().join("me.pem")));
        assert_eq!(hosts["docker.io"].client_key.as_deref(), Some(Path::new("/k")));
        assert!(hosts["x.y"].insecure);
        let mirrors = |text| write("debian.toml", text).debian.mirrors.unwrap();
        let archive = dir.path().join("archive").to_string_lossy().into_owned();
        let web = "https://deb.example.org/debian".to_owned();
        assert_eq!(mirrors("[debian]\nmirrors = ['archive', 'https://deb.example.org/debian']"), [archive, web]);
        let stores = |text| write("stores.toml", text).take_stores();
        let site = dir.path().join("site");
        assert_eq!(stores("store = 'own'"), (Some(dir.path().join("own")), vec![]));
        assert_eq!(stores("store.site = ['site', '/b']"), (None, vec![site.clone(), "/b".into()]));
        assert_eq!(stores("[store]\npath = '/a'\nsite = ['site']"), (Some("/a".into()), vec![site]));
        std::fs::write(dir.path().join("bad"), "store.sites = []").unwrap();
        assert!(Config::read(&dir.path().join("bad")).is_err());
        let both = write("system.toml", "store.site = ['/b']").overridden_by(write("user.toml", "store = '/own'"));
        assert_eq!({ both }.take_stores(), (Some("/own".into()), vec!["/b".into()]));
        for none in [&dir.path().join("none"), Path::new("/dev/null")] {
            assert_eq!(Config::read(none).unwrap().take_stores(), (None, vec![]));
        }
        for bad in [
            "mirrors = []",
            "max-concurrent = 0",
            "max-concurrent = 33",
            "limit-rate = '10'",
            "limit-rate = 1",
            "unpack-limit = 'x'",
            "debian.mirrors = ['ftp://deb.example.org']",
            "debian.mirrors = ['https://me:secret@deb.example.org']",
            "debian.suites = ['bookworm']",
        ] {
            std::fs::write(dir.path().join("bad"), bad).unwrap();
            assert!(matches!(Config::read(&dir.path().join("bad")), Err(ToolchainError::Malformed { .. })), "{bad}");
        }
    }
}
