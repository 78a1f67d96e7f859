//! Every environment variable hermes reads.

/// Directory of the store; default `$XDG_DATA_HOME/hermes`.
pub(super) const STORE: &str = "HERMES_STORE";
/// The user's configuration file; default `$XDG_CONFIG_HOME/hermes/config.toml`.
pub(super) const CONFIG: &str = "HERMES_CONFIG";
/// Directories where emulators are looked for.
pub(super) const PATH: &str = "PATH";
/// Set in CI, where progress bars are noise.
pub(super) const CI: &str = "CI";
/// Kind of terminal, passed into a sandbox that has one.
pub(super) const TERM: &str = "TERM";
