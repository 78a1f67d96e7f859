//! The request of a run, as far as it decides what the run does.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::emulation::{Accel, EmulationMode};
use crate::platform::Platform;
use crate::record::{Surroundings, Text};
use crate::sandbox::{Bind, FakeRoot, Feature, Limits, Network, Rung};
use crate::size;
use crate::toolchain::{EmulatorSource, Native};

/// What was asked. Toolchain, platform, image and isolation are in [`crate::record::Run`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Asked {
    /// The project: what of the host was `/work`.
    pub project: PathBuf,
    /// The platform of the image's programs.
    pub image_platform: Platform,
    /// What the toolchain names for foreign programs.
    pub emulator: Option<EmulatorSource>,
    /// What it has in their place.
    pub native: Option<Native>,
    /// `-v`.
    pub volumes: Vec<Bind>,
    /// `-e`; without a value what was passed on.
    pub environment: Vec<Variable>,
    /// `-w`.
    pub directory: Option<PathBuf>,
    /// Where and when it is, to the command.
    #[serde(default)]
    pub surroundings: Surroundings,
    /// What network there was to be.
    pub network: Network,
    /// Who said so. Records of an older hermes do not tell.
    #[serde(default)]
    pub network_by: By,
    /// `--entrypoint`.
    pub entrypoint: Option<Text>,
    /// `--root`.
    pub root: bool,
    /// `--fake-root`.
    pub fake_root: FakeRoot,
    /// `--userns range`.
    pub many_users: bool,
    /// `--require`.
    pub required: Vec<Feature>,
    /// `--memory`, `--cpus`, `--pids`.
    pub limits: Limits,
    /// `--timeout`, in seconds.
    #[serde(with = "size::optional_seconds")]
    pub timeout: Option<Duration>,
    /// `--rootfs`; none for the first that the host allows.
    pub rootfs: Option<Rung>,
    /// `--accel`.
    pub accel: Accel,
    /// `--emulation`; none for the first that works.
    pub emulation: Option<EmulationMode>,
    /// Whether it had a terminal.
    pub terminal: bool,
    /// `--output`.
    pub outputs: Vec<PathBuf>,
    /// The words after the options.
    pub argv: Vec<Text>,
}

/// Who has decided something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The project's files, or the default that they leave.
    #[default]
    Project,
    /// The caller, by an option.
    Caller,
}

/// A variable of the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub name: Text,
    /// Its value; none of one that the caller passed on by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Text>,
}
