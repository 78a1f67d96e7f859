//! Every environment variable hermes reads.

/// Directory of the store; default `$XDG_DATA_HOME/hermes`.
pub(super) const STORE: &str = "HERMES_STORE";
/// Directories of stores that may be read, divided by colons.
pub(super) const SITE_STORE: &str = "HERMES_SITE_STORE";
/// The user's configuration file; default `$XDG_CONFIG_HOME/hermes/config.toml`.
pub(super) const CONFIG: &str = "HERMES_CONFIG";
/// Directories where emulators and credential helpers are looked for.
pub(super) const PATH: &str = "PATH";
/// The caller's home directory, for what `--explain` says of it.
pub(super) const HOME: &str = "HOME";
/// Set in CI, where progress bars are noise.
pub(super) const CI: &str = "CI";
/// Kind of terminal, passed into a sandbox that has one.
pub(super) const TERM: &str = "TERM";
/// The file with credentials, in place of docker's; podman's variable.
pub(super) const AUTH_FILE: &str = "REGISTRY_AUTH_FILE";
/// Directory of docker's `config.json`; default `~/.docker`.
pub(super) const DOCKER_CONFIG: &str = "DOCKER_CONFIG";
/// Proxies, in the order in which they are looked for: curl has the names in small letters.
pub(super) const HTTPS_PROXY: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// The same for plain http.
pub(super) const HTTP_PROXY: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
/// Hosts that are reached without a proxy.
pub(super) const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// All proxy variables, for commands that have the host's network.
pub(super) const ALL_PROXIES: [&str; 8] =
    ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"];
/// What git gets of the environment beside the absolute directories of `PATH`: where its libraries are, the agent with ssh's
/// keys, Kerberos for ssh, proxies and certificate authorities. No other variable leads it elsewhere or has it run a program.
pub(super) const OF_GIT: [&str; 16] = [
    "LD_LIBRARY_PATH",
    "TMPDIR",
    "USER",
    "LOGNAME",
    "SSH_AUTH_SOCK",
    "KRB5CCNAME",
    "HTTPS_PROXY",
    "https_proxy",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
];
/// Where podman keeps credentials: `containers/auth.json`.
pub(super) const RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";
/// The file of pip's configuration that overrides all others.
pub(super) const PIP_CONFIG_FILE: &str = "PIP_CONFIG_FILE";
/// Indexes of Python packages, as pip reads them.
pub(super) const PIP_INDEX_URL: &str = "PIP_INDEX_URL";
/// Further ones.
pub(super) const PIP_EXTRA_INDEX_URL: &str = "PIP_EXTRA_INDEX_URL";
/// No index is used.
pub(super) const PIP_NO_INDEX: &str = "PIP_NO_INDEX";
/// Directories with `pip/pip.conf` of the system.
pub(super) const CONFIG_DIRS: &str = "XDG_CONFIG_DIRS";
/// A Python environment, which has a `pip.conf` of its own.
pub(super) const VIRTUAL_ENV: &str = "VIRTUAL_ENV";
/// The file with credentials for package indexes; default `~/.netrc`.
pub(super) const NETRC: &str = "NETRC";
