//! `hermes.toml`: what a project asks for.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::fs::atomic;
use crate::lock::{Source, Wanted};
use crate::platform::Platform;
use crate::toolchain::{Definition, SourceDefinition, ToolchainError};

/// Name of the project's file.
pub const PROJECT_FILE: &str = "hermes.toml";

/// Longest file of intent read, in bytes.
pub(super) const MAX_FILE: u64 = 1 << 20;

/// A project: its directory and what its `hermes.toml` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The directory of `hermes.toml`, where `hermes.lock` lies too.
    pub directory: PathBuf,
    /// Toolchain used where none is asked for.
    pub toolchain: Option<String>,
    /// Platform used where none is asked for.
    pub platform: Option<Platform>,
    /// Toolchains of the project's own.
    pub toolchains: BTreeMap<String, Definition>,
    /// What its builds see of their surroundings.
    pub build: Wanted,
    /// What it is built from, by name.
    pub sources: BTreeMap<String, SourceDefinition>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireProject {
    toolchain: Option<String>,
    platform: Option<Platform>,
    #[serde(default)]
    toolchains: BTreeMap<String, Definition>,
    #[serde(default)]
    build: Wanted,
    #[serde(default, deserialize_with = "sources")]
    source: BTreeMap<String, SourceDefinition>,
}

fn sources<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, SourceDefinition>, D::Error> {
    let sources = BTreeMap::<String, SourceDefinition>::deserialize(deserializer)?;
    match sources.keys().find(|name| !Source::is_name(name)) {
        Some(name) => Err(D::Error::custom(format!("'{}' is no name for a source", name.escape_default()))),
        None => Ok(sources),
    }
}

impl Project {
    /// The project that `start` lies in: the nearest directory upwards with a `hermes.toml`, but not one that
    /// another user has put where everybody may write, `/tmp` say.
    ///
    /// # Errors
    /// The file cannot be read or is not valid.
    pub fn find(start: &Path) -> Result<Option<Self>, ToolchainError> {
        for directory in start.ancestors() {
            let path = directory.join(PROJECT_FILE);
            let bytes = match std::fs::symlink_metadata(&path) {
                Ok(file) if is_strangers(&file, directory) => continue,
                Ok(_) => atomic::read_limited(&path, MAX_FILE),
                Err(error) => Err(error),
            };
            match bytes {
                Ok(bytes) => return Self::parse(&bytes, &path).map(Some),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory
                    ) => {}
                Err(source) => return Err(ToolchainError::Unreadable { path, source }),
            }
        }
        Ok(None)
    }

    /// What the file at `path` says, of which these are the bytes.
    ///
    /// # Errors
    /// They are not valid.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, ToolchainError> {
        let text = String::from_utf8_lossy(bytes);
        let malformed = |source| ToolchainError::Malformed { path: path.to_owned(), source: Box::new(source) };
        let wire: WireProject = toml::from_str(&text).map_err(malformed)?;
        wire.build.check().map_err(|what| malformed(toml::de::Error::custom(what)))?;
        Ok(Self {
            directory: path.parent().unwrap_or(Path::new("/")).to_owned(),
            toolchain: wire.toolchain,
            platform: wire.platform,
            toolchains: wire.toolchains,
            build: wire.build,
            sources: wire.source,
        })
    }
}

/// Whether `file` belongs to neither this user nor root, in a directory where everybody may write.
fn is_strangers(file: &Metadata, directory: &Path) -> bool {
    let own = [0, rustix::process::getuid().as_raw()].contains(&file.uid());
    !own && std::fs::metadata(directory).is_ok_and(|directory| directory.mode() & 0o002 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_project_counts() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(dir.path().join(PROJECT_FILE), "toolchain = 'dockcross'\nplatform = 'arm64'\n").unwrap();
        let project = Project::find(&inner).unwrap().unwrap();
        assert_eq!((project.directory.as_path(), project.platform), (dir.path(), Some(Platform::Arm64)));
        std::fs::write(dir.path().join("a").join(PROJECT_FILE), "[toolchains.own.platform.armv6]\nimage = 'x/y'\n")
            .unwrap();
        let project = Project::find(&inner).unwrap().unwrap();
        assert_eq!(project.toolchains["own"].platform[&Platform::ArmV6].image.to_string(), "docker.io/x/y:latest");
    }

    #[test]
    fn mistakes_are_shown_where_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PROJECT_FILE);
        for (text, word) in [
            ("toolchian = 'x'", "toolchian"),
            ("platform = 'vax'", "vax"),
            ("[build]\numask = '999'", "umask"),
            ("[build]\nuid = 0", "build.uid"),
            ("[toolchains.x]\nimage = 'y'", "image"),
            ("[toolchains.x.platform.arm64]\nimage = 'UPPER'", "UPPER"),
            ("[toolchains.x.platform.arm64]\nimage = 'y'\nmount = '/'", "mount"),
            ("[source.x]\nsha256 = 'y'", "either url"),
            ("[source.x]\nurl = 'a'\ngit = 'b'\ncommit = 'c'", "either url"),
            ("[source.x]\ngit = 'b'\ncommit = 'main'", "full id"),
            ("[source.x]\nurl = 'https://me:secret@host/x'", "password"),
            ("[source.x]\nurl = 'https://host/x'\nsha256 = 'abc'", "64"),
            ("[source.x]\nurl = 'https://host/x'\nmount = '/'", "mount"),
            ("[source.'../x']\nurl = 'https://host/x'", "no name"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Project::find(dir.path()).unwrap_err();
            let ToolchainError::Malformed { source, .. } = error else { panic!("{text}: {error}") };
            assert!(source.to_string().contains(word), "{text}: {source}");
        }
    }
}
