//! What a toolchain adds to its root: sources that are mounted, and variables.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::lock::{Build, Source};
use crate::toolchain::SourceDefinition;
use crate::toolchain::source::WireSource;

/// Longest path, including the final NUL (`PATH_MAX`).
const MAX_PATH: usize = 4096;
/// Directories where nothing is mounted: those of the kernel.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Additions to a root, for one target platform or for all of a toolchain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Additions {
    /// Sources, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", rename = "source")]
    pub sources: BTreeMap<String, ToolchainSource>,
    /// Variables, which override those of the image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Directories that come before those of `PATH`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
}

/// A source of a toolchain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireSource", into = "WireSource")]
pub struct ToolchainSource {
    /// What it is.
    pub definition: SourceDefinition,
    /// Where it is mounted in the root, read-only.
    pub mount: PathBuf,
}

impl TryFrom<WireSource> for ToolchainSource {
    type Error = String;

    fn try_from(wire: WireSource) -> Result<Self, String> {
        let mount = wire.mount.clone().ok_or("a source of a toolchain needs 'mount', a path in the root")?;
        let mount = PathBuf::from(mount);
        if !is_place(&mount) {
            return Err(
                "mount: expected an absolute path in the root, without '..' and outside /proc, /sys and /dev".into()
            );
        }
        let definition = wire.read()?;
        if !definition.patches.is_empty() {
            return Err("a source of a toolchain has no patches".into());
        }
        Ok(Self { definition, mount })
    }
}

impl From<ToolchainSource> for WireSource {
    fn from(source: ToolchainSource) -> Self {
        let mut wire = Self::of(&source.definition);
        wire.mount = Some(source.mount.to_string_lossy().into_owned());
        wire
    }
}

impl ToolchainSource {
    /// Makes relative directories of mirrors absolute, for a definition in a file of the user in `directory`.
    fn resolve_paths(&mut self, directory: &Path) {
        for mirror in self.definition.mirrors.iter_mut().filter(|mirror| !mirror.contains("://")) {
            *mirror = directory.join(&mirror).to_string_lossy().into_owned();
        }
    }
}

impl Additions {
    /// Whether nothing is added.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As [`ToolchainSource::resolve_paths`], for all sources.
    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        self.sources.values_mut().for_each(|source| source.resolve_paths(directory));
    }

    /// Checks what a definition says.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(name) = self.sources.keys().find(|name| !Source::is_name(name)) {
            return Err(format!("'{}' is not a valid name of a source", name.escape_default()));
        }
        if let Some((name, _)) = self.environment.iter().find(|(name, value)| !Build::is_variable(name, value)) {
            return Err(format!("environment: '{}' is not a variable with a valid value", name.escape_default()));
        }
        match self.path.iter().find(|path| !is_place(Path::new(path)) || path.contains(':')) {
            Some(path) => Err(format!("path: '{}' is not an absolute path without ':'", path.escape_default())),
            None => Ok(()),
        }
    }

    /// The additions for a target platform: those of its toolchain, and `own` ones. Variables of the platform override those of
    /// the toolchain, and its directories come first.
    ///
    /// # Errors
    /// Two sources with one name, or of which one would be mounted in the other.
    pub(super) fn with(&self, own: &Self) -> Result<Self, String> {
        if let Some(name) = own.sources.keys().find(|name| self.sources.contains_key(*name)) {
            return Err(format!("the toolchain has a source {name} for all platforms"));
        }
        let mut all = self.clone();
        all.sources.extend(own.sources.clone());
        all.environment.extend(own.environment.clone());
        all.path = own.path.iter().chain(&self.path).cloned().collect();
        // In the order of paths a directory comes right before what is in it.
        let mut mounts: Vec<&Path> = all.sources.values().map(|source| source.mount.as_path()).collect();
        mounts.sort_unstable();
        match mounts.windows(2).find(|pair| pair[1].starts_with(pair[0])) {
            Some(pair) => {
                Err(format!("one source is mounted at {}, another one at {}", pair[0].display(), pair[1].display()))
            }
            None => Ok(all),
        }
    }
}

/// Whether something can be mounted at `path`.
fn is_place(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    let mut components = path.components();
    components.next() == Some(Component::RootDir)
        && components.clone().count() > 0
        && components.all(|component| matches!(component, Component::Normal(_)))
        && bytes.len() < MAX_PATH
        && !bytes.iter().any(u8::is_ascii_control)
        && !KERNEL.iter().any(|kernel| path.starts_with(kernel))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Platform;
    use crate::toolchain::{Catalog, Definition, Origin};

    const IMAGE: &str = "[platform.linux-armv6]\nimage = 'x/y'\n";

    fn parse(text: &str) -> Result<Definition, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_platform_adds_to_its_toolchain() {
        let text = "path = ['/opt/cross/bin']\n[environment]\nCC = 'cc'\nTARGET = 'none'\n\
            [source.zig]\nurl = 'pypi:ZigLang==0.13.0'\nmount = '/opt/zig'\nmirrors = ['vendor']\n\
            [source.cross]\nmount = '/opt/cross'\nfiles = { 'bin/cc' = '#!/bin/sh' }\n\
            [platform.linux-armv6]\nimage = 'x/y'\npath = ['/opt/armv6/bin']\nenvironment = { TARGET = 'arm' }\n\
            source.sysroot = { url = 'https://host/a.tar.gz', mount = '/opt/zig-sysroot', strip = 1 }\n\
            [platform.linux-aarch64]\nimage = 'x/y'\n";
        let definition = parse(text).unwrap();
        let mut catalog = Catalog::default();
        catalog.project.insert("own".into(), definition.clone());
        let additions = catalog.target("own", Platform::ArmV6).unwrap().additions;
        assert_eq!(additions.path, ["/opt/armv6/bin", "/opt/cross/bin"]);
        let pairs: Vec<_> = additions.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("CC", "cc"), ("TARGET", "arm")]);
        let names: Vec<_> = additions.sources.keys().map(String::as_str).collect();
        assert_eq!(names, ["cross", "sysroot", "zig"]);
        assert_eq!(additions.sources["zig"].definition.origin, Origin::Package("ziglang==0.13.0".parse().unwrap()));
        let other = catalog.target("own", Platform::Arm64).unwrap().additions;
        assert_eq!((other.sources.len(), other.environment["TARGET"].as_str()), (2, "none"));
        // The output can be parsed.
        assert_eq!(parse(&toml::to_string(&definition).unwrap()).unwrap(), definition);
        let json = serde_json::to_string(&additions).unwrap();
        assert_eq!(serde_json::from_str::<Additions>(&json).unwrap(), additions);
        // Of a file of the user, directories are relative to the file.
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mine.toml"), text).unwrap();
        let catalog = Catalog { directory: Some(dir.path().to_owned()), ..Catalog::default() };
        let additions = catalog.target("mine", Platform::ArmV6).unwrap().additions;
        let vendor = dir.path().join("vendor").to_string_lossy().into_owned();
        assert_eq!(additions.sources["zig"].definition.mirrors, [vendor]);
    }

    #[test]
    fn mistakes_are_explained() {
        let of_source = |keys: &str| format!("{IMAGE}[source.a]\n{keys}\n");
        for (text, word) in [
            (of_source("url = 'https://host/a'"), "needs 'mount'"),
            (of_source("url = 'https://host/a'\nmount = 'opt'"), "absolute path"),
            (of_source("url = 'https://host/a'\nmount = '/opt/../etc'"), "absolute path"),
            (of_source("url = 'https://host/a'\nmount = '/'"), "absolute path"),
            (of_source("url = 'https://host/a'\nmount = '/proc/x'"), "/proc"),
            (of_source("url = 'https://host/a'\nmount = '/o'\npatches = ['x']"), "no patches"),
            (of_source("url = 'pypi:a>=1'\nmount = '/o'"), "NAME==VERSION"),
            (of_source("url = 'https://me:pw@host/a'\nmount = '/o'"), "password"),
            (of_source("mount = '/o'\nfiles = {}"), "files"),
            (of_source("mount = '/o'\nfiles = { '../x' = '' }"), "plain relative path"),
            (of_source("mount = '/o'\nfiles = { '/x' = '' }"), "plain relative path"),
            (of_source("mount = '/o'\nfiles = { 'x' = '' }\nstrip = 1"), "files"),
            (of_source("mount = '/o'\nfiles = { 'x' = '' }\nurl = 'https://host/a'"), "either url"),
            (format!("{IMAGE}[source.'.a']\nurl = 'https://host/a'\nmount = '/o'\n"), "name of a source"),
            (format!("{IMAGE}[environment]\n'A=B' = 'x'\n"), "environment"),
            (format!("{IMAGE}[environment]\nA = \"\\u0000\"\n"), "environment"),
            (format!("path = ['bin']\n{IMAGE}"), "path"),
            (format!("path = ['/a:/b']\n{IMAGE}"), "path"),
            (
                of_source(
                    "url = 'https://host/a'\nmount = '/opt/a'\n[source.b]\nurl = 'https://host/b'\nmount = '/opt/a/b'",
                ),
                "mounted at /opt/a,",
            ),
            (
                format!(
                    "{IMAGE}source.a = {{ url = 'https://host/a', mount = '/b' }}\n[source.a]\nurl = 'https://host/a'\nmount = '/a'\n"
                ),
                "for all platforms",
            ),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_project_has_no_packages_and_files() {
        use crate::toolchain::SourceDefinition;

        for (text, word) in [
            ("url = 'pypi:a==1'", "only sources of toolchains"),
            ("files = { 'a' = '' }", "only sources of toolchains"),
            ("url = 'https://host/a'\nmount = '/a'", "/sources/NAME"),
        ] {
            let error = toml::from_str::<SourceDefinition>(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
