//! Definition of a toolchain.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::fs::trust::Distrust;
use crate::hint::{ErrorKind, Hint};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::toolchain::foreign::{EmulatorSource, Native};

/// A toolchain: an image for each target platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Description in one line.
    #[serde(default)]
    pub description: String,
    /// Default emulator of foreign programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulator: Option<EmulatorSource>,
    /// Default native tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<Native>,
    /// By target platform.
    pub platform: BTreeMap<Platform, TargetDefinition>,
}

/// A target platform of a toolchain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TargetDefinition {
    pub image: Reference,
    /// For a cross toolchain: the platform of the programs in the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_platform: Option<Platform>,
    /// Emulator of foreign programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulator: Option<EmulatorSource>,
    /// Native tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<Native>,
}

/// A toolchain that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// No such name.
    #[error("unknown toolchain '{name}'")]
    Unknown {
        name: String,
        /// All names.
        known: Vec<String>,
    },
    /// It does not build for the platform.
    #[error("the toolchain '{name}' does not build for {}", platform.name())]
    Platform {
        name: String,
        platform: Platform,
        /// Its target platforms.
        known: Vec<Platform>,
    },
    /// A file is not a definition.
    #[error("invalid file {path}")]
    Malformed { path: PathBuf, source: Box<toml::de::Error> },
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Unreadable { path: PathBuf, source: std::io::Error },
}

impl Hint for ToolchainError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreadable { .. } => ErrorKind::Failed,
            _ => ErrorKind::Usage,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Unknown { known, .. } => vec![
                format!("known toolchains: {}", known.join(", ")),
                "add one as a [toolchains.NAME] table of hermes.toml, or use an image directly: --image REF".into(),
            ],
            Self::Platform { known, .. } => {
                let known: Vec<_> = known.iter().map(|platform| platform.name()).collect();
                vec![format!("it builds for: {}", known.join(", "))]
            }
            Self::Unreadable { path, source } => {
                Distrust::of(source).map_or_else(Vec::new, |distrust| distrust.hints(path))
            }
            Self::Malformed { .. } => vec![],
        }
    }
}
