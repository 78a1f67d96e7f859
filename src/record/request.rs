//! The request of a run: what the caller asked for. The command line makes it, the runner carries it out, the record
//! stores it, and a rebuild reads it back.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::emulation::{Accel, EmulationMode};
use crate::oci::WirePlatform;
use crate::platform::Platform;
use crate::record::{GuestOverrides, Text, Variable};
use crate::reference::Reference;
use crate::sandbox::{Bind, FakeRoot, Feature, Isolation, Limits, Network, RootStrategy};
use crate::size;

/// The request of a run, with each option of `hermes run`. What belongs to one process only, such as open files and the
/// caller's terminal, is not part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct RunRequest {
    /// `--platform`, `--toolchain`, `--image`, `--image-platform`.
    pub selector: TargetSelector,
    /// `-v`, with the paths that the sources had when they were opened.
    pub volumes: Vec<Bind>,
    /// `-e`.
    pub environment: Vec<Variable>,
    /// `-w`.
    pub directory: Option<PathBuf>,
    /// Options of the guest view.
    pub guest_overrides: GuestOverrides,
    /// `--net`; `None` for the project's setting.
    pub network: Option<Network>,
    /// `--entrypoint`; an empty one removes the image's.
    pub entrypoint: Option<Text>,
    /// `--root`.
    pub root: bool,
    /// `--fake-root`; has no effect without `root`.
    pub fake_root: FakeRoot,
    /// `--userns`; has no effect without `root`.
    pub users: Users,
    /// `--require`.
    pub required: Vec<Feature>,
    /// `--memory`, `--cpus`, `--pids`.
    pub limits: Limits,
    /// `--timeout`, in seconds.
    #[serde(with = "size::optional_seconds")]
    pub timeout: Option<Duration>,
    /// `--nice`; `None` for the caller's nice value.
    pub nice: Option<i8>,
    /// `--isolation`.
    pub isolation: Isolation,
    /// `--rootfs`; `None` for the first strategy that the host allows.
    pub rootfs: Option<RootStrategy>,
    /// `--accel`.
    pub accel: Accel,
    /// `--emulation`; `None` for the first mode that works.
    pub emulation: Option<EmulationMode>,
    /// `--explain`. A rebuild explains nothing.
    pub explain: bool,
    /// Whether the command has a terminal. It has none in a rebuild.
    pub terminal: bool,
    /// `--output`, relative to the project.
    pub outputs: Vec<PathBuf>,
    /// The command line, or what is added to the entrypoint.
    pub argv: Vec<Text>,
}

/// The options that select a target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct TargetSelector {
    /// `--platform`.
    pub platform: Option<Platform>,
    /// `--toolchain`.
    pub toolchain: Option<String>,
    /// `--image`.
    pub image: Option<Reference>,
    /// `--image-platform`.
    pub image_platform: Option<WirePlatform>,
}

/// Users inside the sandbox (`--userns`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Users {
    /// One user.
    #[default]
    Single,
    /// As many as the caller's range of subordinate ids allows.
    Range,
}

impl RunRequest {
    /// The value of a variable that `-e` sets.
    #[must_use]
    pub fn variable(&self, name: &OsStr) -> Option<&Variable> {
        self.environment.iter().find(|variable| variable.name.0 == name)
    }

    /// Sets a variable as `-e NAME=VALUE` does.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.push(Variable::new(name.into(), value.into()));
    }

    /// Names and values of the variables that `-e` sets.
    pub fn variables(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.environment.iter().filter_map(|variable| Some((&variable.name.0, &variable.value.as_ref()?.0)))
    }

    /// Whether the variable is passed on from the caller, so that its value may be a secret.
    #[must_use]
    pub fn passes_on(&self, name: &OsStr) -> bool {
        self.environment.iter().any(|variable| variable.is_passed_on && variable.name.0 == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let request = RunRequest {
            selector: TargetSelector { platform: Some(Platform::Arm64), ..TargetSelector::default() },
            timeout: Some(Duration::from_secs(60)),
            rootfs: Some(RootStrategy::Merged),
            users: Users::Range,
            nice: Some(-1),
            argv: vec![Text("make".into())],
            ..RunRequest::default()
        };
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<RunRequest>(&json).unwrap(), request, "{json}");
        assert_eq!(serde_json::from_str::<RunRequest>("{}").unwrap(), RunRequest::default());
    }

    #[test]
    fn a_value_that_is_passed_on_is_not_written() {
        let secret = Variable::passed_on("TOKEN".into(), "hunter2".into());
        let request = RunRequest { environment: vec![secret], ..RunRequest::default() };
        let json = serde_json::to_string(&request).unwrap();
        assert!(json.contains(r#"{"name":"TOKEN"}"#) && !json.contains("hunter2"), "{json}");
        let read: RunRequest = serde_json::from_str(&json).unwrap();
        assert!(read.passes_on("TOKEN".as_ref()) && read.variables().next().is_none());
    }
}
