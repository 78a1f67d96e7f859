//! `hermes.toml`: the settings of a project.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, Stat, fstat, statat};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::fs::beneath::Links;
use crate::fs::opened::{Opened, up};
use crate::fs::regular::{self, Type};
use crate::fs::trust::Trust;
use crate::lock::{BuildSettings, Source};
use crate::platform::Platform;
use crate::toolchain::{Definition, SourceDefinition, ToolchainError};

/// The name of the file.
pub(crate) const PROJECT_FILE: &str = "hermes.toml";

/// Largest such file, in bytes. Also the limit for toolchain files.
pub(crate) const MAX_FILE: u64 = 1 << 20;

/// A project: its directory and `hermes.toml`.
#[derive(Debug, Clone)]
pub struct Project {
    /// The directory of `hermes.toml` and `hermes.lock`.
    pub directory: Opened,
    /// Default toolchain.
    pub toolchain: Option<String>,
    /// Default platform.
    pub platform: Option<Platform>,
    /// Toolchains that the project defines.
    pub toolchains: BTreeMap<String, Definition>,
    /// What is mounted instead of the current directory.
    pub mount: Option<Mounted>,
    /// Whether only this user can have written the file.
    pub is_own: bool,
    /// Settings of builds.
    pub build: BuildSettings,
    /// Sources, by name.
    pub sources: BTreeMap<String, SourceDefinition>,
}

/// The part of a project that is mounted into the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mounted {
    /// The directory of `hermes.toml`. The command starts in the subdirectory in which hermes was started.
    Project,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRun {
    mount: Option<Mounted>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireProject {
    toolchain: Option<String>,
    platform: Option<Platform>,
    #[serde(default)]
    toolchains: BTreeMap<String, Definition>,
    #[serde(default)]
    run: WireRun,
    #[serde(default)]
    build: BuildSettings,
    #[serde(default, deserialize_with = "sources")]
    source: BTreeMap<String, SourceDefinition>,
}

fn sources<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, SourceDefinition>, D::Error> {
    let sources = BTreeMap::<String, SourceDefinition>::deserialize(deserializer)?;
    match sources.keys().find(|name| !Source::is_name(name)) {
        Some(name) => Err(D::Error::custom(format!("'{}' is not a valid name of a source", name.escape_default()))),
        None => Ok(sources),
    }
}

impl Project {
    /// Finds the project around `start`: the nearest directory upwards with a `hermes.toml`. Skips a file of another user in a
    /// directory that everybody can write to, such as `/tmp`, or, above `start`, that a group can write to. Skipped files are
    /// passed to `passed_over`.
    ///
    /// # Errors
    /// The file cannot be read or is not valid.
    pub fn find(start: &Opened, mut passed_over: impl FnMut(&Path)) -> Result<Option<Self>, ToolchainError> {
        for levels in 0..start.path().ancestors().count() {
            let found = statat(start, up(levels).join(PROJECT_FILE), AtFlags::SYMLINK_NOFOLLOW);
            // The user chose to work in a directory of a group, but not what is above it.
            let others = if levels == 0 { 0o002 } else { 0o022 };
            let mut read = || -> io::Result<_> {
                found?;
                let directory = start.above(levels)?;
                let found = read(&directory, others)?;
                if found.is_none() {
                    passed_over(&directory.path().join(PROJECT_FILE));
                }
                Ok(found.map(|(bytes, is_own)| (bytes, is_own, directory)))
            };
            match read() {
                Ok(Some((bytes, is_own, directory))) => {
                    let project = Self::parse(&bytes, directory)?;
                    return Ok(Some(Self { is_own, ..project }));
                }
                Ok(None) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory
                    ) => {}
                Err(source) => {
                    let directory = start.path().ancestors().nth(levels).unwrap_or(Path::new("/"));
                    return Err(ToolchainError::Unreadable { path: directory.join(PROJECT_FILE), source });
                }
            }
        }
        Ok(None)
    }

    /// Parses the content of the file in `directory`.
    ///
    /// # Errors
    /// Malformed text; an invalid setting.
    pub fn parse(bytes: &[u8], directory: Opened) -> Result<Self, ToolchainError> {
        let text = String::from_utf8_lossy(bytes);
        let path = directory.path().join(PROJECT_FILE);
        let malformed = |source| ToolchainError::Malformed { path: path.clone(), source: Box::new(source) };
        let wire: WireProject = toml::from_str(&text).map_err(malformed)?;
        wire.build.check().map_err(|what| malformed(toml::de::Error::custom(what)))?;
        Ok(Self {
            directory,
            toolchain: wire.toolchain,
            platform: wire.platform,
            toolchains: wire.toolchains,
            mount: wire.run.mount,
            is_own: false,
            build: wire.build,
            sources: wire.source,
        })
    }
}

/// Reads the file in `directory`. Also returns whether only this user can have written it. `None` for a file of another user
/// in a directory that `others` (bits of a mode) can write to.
fn read(directory: &Opened, others: u32) -> io::Result<Option<(Vec<u8>, bool)>> {
    let is_strangers = |file: &Stat| Ok::<_, io::Error>(is_strangers(file.st_uid, fstat(directory)?.st_mode & others));
    let file = match regular::open(directory, Path::new(PROJECT_FILE), Links::Refuse) {
        Ok(file) => file,
        Err(error) => {
            let found = statat(directory, PROJECT_FILE, AtFlags::SYMLINK_NOFOLLOW)?;
            return if is_strangers(&found)? { Ok(None) } else { Err(error) };
        }
    };
    let stat = fstat(&file)?;
    if is_strangers(&stat)? {
        return Ok(None);
    }
    let trust = Trust::in_caller();
    let is_own = trust.check(&stat, Type::File).and(trust.check(&fstat(directory)?, Type::Directory)).is_ok();
    regular::read(&file, MAX_FILE).map(|bytes| Some((bytes, is_own)))
}

/// Whether a file belongs to neither this user nor root, in a directory that others can write to (bits of its mode).
fn is_strangers(owner: u32, others: u32) -> bool {
    others != 0 && ![0, rustix::process::getuid().as_raw()].contains(&owner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::Content;

    #[test]
    fn the_nearest_project_counts() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(dir.path().join(PROJECT_FILE), "toolchain = 'dockcross'\nplatform = 'arm64'\n").unwrap();
        let inner = Opened::directory(&inner).unwrap();
        let project = Project::find(&inner, |_| ()).unwrap().unwrap();
        assert_eq!((project.directory.path(), project.platform), (dir.path(), Some(Platform::Arm64)));
        std::fs::write(dir.path().join("a").join(PROJECT_FILE), "[toolchains.own.platform.armv6]\nimage = 'x/y'\n")
            .unwrap();
        let project = Project::find(&inner, |_| ()).unwrap().unwrap();
        assert_eq!(
            project.toolchains["own"].platform[&Platform::ArmV6].content,
            Content::Image("x/y".parse().unwrap())
        );
    }

    #[test]
    fn files_of_other_users_where_others_may_write() {
        let own = rustix::process::getuid().as_raw();
        let stranger = own.wrapping_add(1).max(1);
        for (mode, here, above) in
            [(0o755_u32, false, false), (0o775, false, true), (0o777, true, true), (0o2770, false, true)]
        {
            let is_strangers = |owner, others| is_strangers(owner, mode & others);
            assert_eq!((is_strangers(stranger, 0o002), is_strangers(stranger, 0o022)), (here, above), "{mode:o}");
            assert!(!is_strangers(own, 0o022) && !is_strangers(0, 0o022));
        }
    }

    #[test]
    fn mistakes_are_shown_where_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PROJECT_FILE);
        for (text, word) in [
            ("toolchian = 'x'", "toolchian"),
            ("platform = 'vax'", "vax"),
            ("[build]\numask = '999'", "umask"),
            ("[run]\nmount = '/'", "project"),
            ("[run]\nnet = 'host'", "mount"),
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
            ("[source.'../x']\nurl = 'https://host/x'", "not a valid name"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Project::find(&Opened::directory(dir.path()).unwrap(), |_| ()).unwrap_err();
            let ToolchainError::Malformed { source, .. } = error else { panic!("{text}: {error}") };
            assert!(source.to_string().contains(word), "{text}: {source}");
        }
    }
}
