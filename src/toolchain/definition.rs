//! One toolchain.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::fs::trust::Distrust;
use crate::hint::{ErrorKind, Hint};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::toolchain::foreign::{EmulatorSource, Native};

/// A toolchain: an image for each platform it builds for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// One line for people.
    #[serde(default)]
    pub description: String,
    /// What runs foreign programs, where a platform says nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulator: Option<EmulatorSource>,
    /// What takes the place of foreign tools, where a platform says nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<Native>,
    /// By the platform that products are for.
    pub platform: BTreeMap<Platform, TargetDefinition>,
}

/// How a toolchain builds for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TargetDefinition {
    /// The image.
    pub image: Reference,
    /// The platform of the image's programs, where that is not the one they build for: that of a
    /// cross toolchain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_platform: Option<Platform>,
    /// What runs foreign programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulator: Option<EmulatorSource>,
    /// What takes the place of foreign tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<Native>,
}

/// A toolchain that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// No such name.
    #[error("unknown toolchain '{name}'")]
    Unknown {
        /// As asked.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// It does not build for the platform.
    #[error("the toolchain '{name}' does not build for {}", platform.name())]
    Platform {
        /// The toolchain.
        name: String,
        /// As asked.
        platform: Platform,
        /// What it builds for.
        known: Vec<Platform>,
    },
    /// A file is not a definition.
    #[error("{path} is not valid")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
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
