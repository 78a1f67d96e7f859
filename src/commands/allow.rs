//! `hermes allow`, and the checks by which other verbs require the user's consent for settings of the project that reach beyond it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::archive;
use crate::commands::{Context, Error};
use crate::consent::{Access, Allowed, ConsentError, Memory, ProjectPath, Setting, Settings};
use crate::lock::Network;
use crate::source::{self, Label};
use crate::toolchain::{Definition, EmulatorSource, SourceDefinition};

/// Allows everything that the project in the current directory requests, from now on; returns these settings.
pub(crate) fn allow(context: &Context) -> Result<Settings, Error> {
    if context.project.is_none() {
        return Err(ConsentError::NoProject.into());
    }
    let settings = context.settings();
    if !settings.settings.is_empty() {
        memory(context)?.add(&settings).map_err(|source| ConsentError::Write { source })?;
    }
    Ok(settings)
}

/// Everything that is allowed permanently.
pub(crate) fn list(context: &Context) -> Result<Vec<Settings>, Error> {
    Ok(memory(context)?.list()?)
}

/// Revokes everything that is allowed for a project: for that of the current directory, or for the one in the directory
/// `project`, which need not exist. Returns what was allowed.
pub(crate) fn revoke(context: &Context, project: Option<&Path>) -> Result<Vec<Settings>, Error> {
    let own = context.project.as_ref().map(|project| project.directory.path());
    let project = project.or(own).ok_or(ConsentError::NoProject)?;
    Ok(memory(context)?.revoke(project)?)
}

fn memory(context: &Context) -> Result<&Memory, ConsentError> {
    context.consent.memory.as_ref().ok_or(ConsentError::NoMemory)
}

/// The setting that asks for the host's network.
fn network() -> Setting {
    Setting::new("build.net", Access::HostNetwork)
}

impl Context {
    /// All settings of the project that need consent.
    #[must_use]
    pub(crate) fn settings(&self) -> Settings {
        let Some(project) = &self.project else {
            return Settings { project: self.directory().to_owned(), settings: BTreeSet::new() };
        };
        let mut settings = self.settings_of(&project.sources);
        settings.extend((self.build().net == Network::Host).then(network));
        settings.extend(self.mount());
        for (name, definition) in &project.toolchains {
            settings.extend(emulators(name, definition, project.directory.path()));
            settings.extend(packages(name, definition, project.directory.path()));
            settings.extend(additions(name, definition, project.directory.path()));
        }
        Settings { project: project.directory.path().to_owned(), settings }
    }

    /// The settings of these sources that need consent.
    fn settings_of(&self, sources: &BTreeMap<String, SourceDefinition>) -> BTreeSet<Setting> {
        let Some(project) = &self.project else { return BTreeSet::new() };
        let of_one = |(name, source): (&String, &SourceDefinition)| {
            source::settings(&Label::of_project(name), source, project.directory.path())
        };
        sources.iter().flat_map(of_one).collect()
    }

    /// The setting that mounts all of the project from a directory below it, if another user can have written that.
    fn mount(&self) -> Option<Setting> {
        let project = self.project.as_ref().filter(|project| project.mount.is_some() && !project.is_own)?;
        Some(Setting::new("run.mount", Access::Mount(project.directory.path().to_owned())))
    }

    /// Requires consent to mount all of the project.
    pub(super) fn allow_mount(&self) -> Result<(), Error> {
        self.decide(self.mount().into_iter().collect()).map(drop)
    }

    /// Requires consent to what these sources of the project request.
    pub(super) fn allow_sources(&self, sources: &BTreeMap<String, SourceDefinition>) -> Result<Allowed, Error> {
        self.decide(self.settings_of(sources))
    }

    /// Requires consent to what the sources of the project request, and to the host's network, if it is requested. Verbs
    /// begin with this, before anything is downloaded.
    pub(super) fn allow_project(&self, asks_for_network: bool) -> Result<(), Error> {
        let mut needed = self.project.as_ref().map(|project| self.settings_of(&project.sources)).unwrap_or_default();
        needed.extend(asks_for_network.then(network));
        self.decide(needed).map(drop)
    }

    /// Requires consent to read the emulator that a toolchain of the project names as the file at `path`. The user's own
    /// toolchains need no consent.
    pub(super) fn allow_emulator(&self, path: &Path) -> Result<(), Error> {
        let Some(project) = &self.project else { return Ok(()) };
        let access = ProjectPath::of(project.directory.path(), path).access();
        let all = project.toolchains.iter().flat_map(|(name, of)| emulators(name, of, project.directory.path()));
        self.decide(all.filter(|setting| Some(&setting.access) == access.as_ref()).collect()).map(drop)
    }

    /// Requires consent to what the packages of the toolchain `name` request. The user's own toolchains need no consent.
    pub(super) fn allow_packages(&self, name: &str) -> Result<Allowed, Error> {
        let Some(project) = &self.project else { return Ok(Allowed::default()) };
        let definition = project.toolchains.get(name);
        self.decide(definition.into_iter().flat_map(|of| packages(name, of, project.directory.path())).collect())
    }

    /// Requires consent to what the sources of the toolchain `name` request. The user's own toolchains need no consent.
    pub(super) fn allow_additions(&self, name: &str) -> Result<Allowed, Error> {
        let Some(project) = &self.project else { return Ok(Allowed::default()) };
        let definition = project.toolchains.get(name);
        self.decide(definition.into_iter().flat_map(|of| additions(name, of, project.directory.path())).collect())
    }

    fn decide(&self, needed: BTreeSet<Setting>) -> Result<Allowed, Error> {
        if needed.is_empty() {
            return Ok(Allowed::default());
        }
        let mut all = self.settings();
        // A recorded run, or a lock, may need settings that the project no longer has.
        all.settings.extend(needed.iter().cloned());
        Ok(self.consent.decide(&all, needed, self.reporter.as_ref())?)
    }
}

/// The settings for packages of the project's toolchain `name` that need consent.
fn packages(name: &str, definition: &Definition, project: &Path) -> Vec<Setting> {
    definition.debian.iter().flat_map(|debian| archive::settings(name, debian, project)).collect()
}

/// The settings for sources of the project's toolchain `name` that need consent.
fn additions(name: &str, definition: &Definition, project: &Path) -> Vec<Setting> {
    let of_platforms = definition.platform.values().map(|target| &target.additions);
    let sources = std::iter::once(&definition.additions).chain(of_platforms).flat_map(|all| &all.sources);
    sources
        .flat_map(|(source, of)| source::settings(&Label::of_toolchain(name, source), &of.definition, project))
        .collect()
}

/// The settings for emulators in the project's toolchain `name` that need consent.
fn emulators(name: &str, definition: &Definition, project: &Path) -> Vec<Setting> {
    let of_platforms = definition.platform.iter().map(|(platform, target)| {
        (format!("toolchains.{name}.platform.{}.emulator.file", platform.name()), target.emulator.as_ref())
    });
    let all = std::iter::once((format!("toolchains.{name}.emulator.file"), definition.emulator.as_ref()));
    let setting = |(key, emulator): (String, Option<&EmulatorSource>)| match emulator {
        Some(EmulatorSource::File { path, .. }) => Some(Setting::new(key, ProjectPath::of(project, path).access()?)),
        _ => None,
    };
    all.chain(of_platforms).filter_map(setting).collect()
}
