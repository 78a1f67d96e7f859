//! Definition of a toolchain.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::dpkg::Request;
use crate::fs::trust::Distrust;
use crate::hint::{ErrorKind, Hint};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::toolchain::additions::{Additions, ToolchainSource};
use crate::toolchain::debian::Debian;
use crate::toolchain::foreign::{EmulatorSource, Native};

/// A toolchain: an image or packages for each target platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireDefinition", into = "WireDefinition")]
pub struct Definition {
    /// Description in one line.
    pub description: String,
    /// The packages of the platforms without an image.
    pub debian: Option<Debian>,
    /// Default emulator of foreign programs.
    pub emulator: Option<EmulatorSource>,
    /// Default native tools.
    pub native: Option<Native>,
    /// Sources and variables for all platforms.
    pub additions: Additions,
    /// By target platform.
    pub platform: BTreeMap<Platform, TargetDefinition>,
}

/// A target platform of a toolchain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetDefinition {
    /// What programs run in.
    pub content: Content,
    /// For a cross toolchain: the platform of the programs in the image.
    pub image_platform: Option<Platform>,
    /// Emulator of foreign programs.
    pub emulator: Option<EmulatorSource>,
    /// Native tools.
    pub native: Option<Native>,
    /// Sources and variables, besides those for all platforms.
    pub additions: Additions,
}

/// The origin of a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// An image.
    Image(Reference),
    /// Packages of the toolchain's archive.
    Packages {
        /// Packages besides those for all platforms.
        request: Vec<Request>,
        /// Whether the packages' scripts are run; otherwise the packages are unpacked, and no more.
        scripts: bool,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireDefinition {
    #[serde(default)]
    description: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    path: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    debian: Option<Debian>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    emulator: Option<EmulatorSource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    native: Option<Native>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    environment: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    source: BTreeMap<String, ToolchainSource>,
    platform: BTreeMap<Platform, WireTarget>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WireTarget {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    packages: Option<Vec<Request>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scripts: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image_platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    path: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    emulator: Option<EmulatorSource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    native: Option<Native>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    environment: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    source: BTreeMap<String, ToolchainSource>,
}

impl TryFrom<WireDefinition> for Definition {
    type Error = String;

    fn try_from(wire: WireDefinition) -> Result<Self, String> {
        let WireDefinition { description, path, debian, emulator, native, environment, source, platform } = wire;
        let additions = Additions { sources: source, environment, path };
        additions.check()?;
        additions.with(&Additions::default())?;
        let target = |(platform, wire): (Platform, WireTarget)| {
            let name = platform.name();
            let content = match (wire.image, wire.packages, &debian) {
                (Some(_), Some(_), _) => return Err(format!("platform {name} has image or packages, not both")),
                (Some(_), None, _) if wire.scripts.is_some() => {
                    return Err(format!("scripts of platform {name} are those of packages, and it has an image"));
                }
                (Some(image), None, _) => Content::Image(image),
                (None, packages, Some(_)) => {
                    Content::Packages { request: packages.unwrap_or_default(), scripts: wire.scripts.unwrap_or(true) }
                }
                (None, Some(_), None) => return Err(format!("packages of platform {name} need a [debian] table")),
                (None, None, None) => return Err(format!("platform {name} needs image, or a [debian] table")),
            };
            let WireTarget { image_platform, path, emulator, native, environment, source, .. } = wire;
            needs_archive(emulator.as_ref(), debian.as_ref())?;
            let own = Additions { sources: source, environment, path };
            let of_platform = |why| format!("platform {name}: {why}");
            own.check().and_then(|()| additions.with(&own).map(drop)).map_err(of_platform)?;
            Ok((platform, TargetDefinition { content, image_platform, emulator, native, additions: own }))
        };
        let platform = platform.into_iter().map(target).collect::<Result<_, _>>()?;
        needs_archive(emulator.as_ref(), debian.as_ref())?;
        Ok(Self { description, debian, emulator, native, additions, platform })
    }
}

/// That there is an archive for an emulator out of a package.
fn needs_archive(emulator: Option<&EmulatorSource>, debian: Option<&Debian>) -> Result<(), String> {
    match (emulator, debian) {
        (Some(EmulatorSource::Package { .. }), None) => {
            Err("'package' of an emulator needs a [debian] table".to_owned())
        }
        _ => Ok(()),
    }
}

impl From<Definition> for WireDefinition {
    fn from(definition: Definition) -> Self {
        let Definition { description, debian, emulator, native, additions, platform } = definition;
        let target = |(platform, target): (Platform, TargetDefinition)| {
            let TargetDefinition { content, image_platform, emulator, native, additions } = target;
            let Additions { sources: source, environment, path } = additions;
            let (image, packages, scripts) = match content {
                Content::Image(image) => (Some(image), None, None),
                Content::Packages { request, scripts } => (None, Some(request), (!scripts).then_some(false)),
            };
            let wire =
                WireTarget { image, packages, scripts, image_platform, path, emulator, native, environment, source };
            (platform, wire)
        };
        let platform = platform.into_iter().map(target).collect();
        let Additions { sources: source, environment, path } = additions;
        Self { description, path, debian, emulator, native, environment, source, platform }
    }
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
    /// A toolchain of packages whose name cannot be part of a reference.
    #[error("'{name}' is not a name for a toolchain of packages")]
    Name { name: String },
    /// The project has such a toolchain.
    #[error("hermes.toml has a toolchain '{name}' already")]
    Taken { name: String },
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
            Self::Name { .. } => {
                vec!["use lower-case letters and digits, joined by '-', '_' or '.'".into()]
            }
            Self::Taken { .. } => vec!["use another name, or change its tables in hermes.toml".into()],
            Self::Malformed { .. } => vec![],
        }
    }
}
