//! `hermes toolchain list`, `show` and `add`.

use std::fmt::Write as _;

use serde::Serialize;

use crate::commands::lock::{self, Locked, What};
use crate::commands::{Context, Error, project_file};
use crate::dpkg::Request;
use crate::fs::opened::Opened;
use crate::lock::root_reference;
use crate::platform::Platform;
use crate::toolchain::{Catalog, Definition, Project, ToolchainError};

/// A toolchain with its name.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Named {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(flatten)]
    pub definition: Definition,
}

/// A toolchain of Debian packages.
#[derive(Debug, Clone)]
pub(crate) struct New {
    /// Its name.
    pub name: String,
    /// Suites or codenames of the archive.
    pub suites: Vec<String>,
    /// File with the keys that may sign the archive; `None` for Debian's.
    pub signed_by: Option<String>,
    /// Target platforms; none for this host's.
    pub platforms: Vec<Platform>,
    /// Packages for all platforms.
    pub packages: Vec<Request>,
}

/// All toolchains, by name.
pub(crate) fn list(context: &Context) -> Result<Vec<Named>, Error> {
    context.catalog.names().iter().map(|name| show(context, name)).collect()
}

/// One toolchain.
pub(crate) fn show(context: &Context, name: &str) -> Result<Named, Error> {
    Ok(Named { name: name.to_owned(), definition: context.catalog.find(name)? })
}

/// Locks a new toolchain, and adds it to `hermes.toml` of the project, or of the current directory if that is in no project.
///
/// # Errors
/// The project has a toolchain of this name; the name is not one of a toolchain of packages; those of locking: `hermes.toml` is
/// then as it was.
pub(crate) fn add(context: &Context, new: &New) -> Result<Locked, Error> {
    let New { name, .. } = new;
    let (host, escaped) = (Platform::host(), || name.escape_default().to_string());
    if root_reference(name, host, host).is_none() {
        return Err(ToolchainError::Name { name: escaped() }.into());
    }
    if context.project.as_ref().is_some_and(|project| project.toolchains.contains_key(name)) {
        return Err(ToolchainError::Taken { name: escaped() }.into());
    }
    let directory = match &context.project {
        Some(project) => project.directory.clone(),
        None => Opened::directory(context.here()?).map_err(|source| Error::WorkDirectory { source })?,
    };
    let tables = tables(new);
    let (_, project) = project_file::with_table(&directory, &tables)?;
    let is_own = context.project.as_ref().is_none_or(|project| project.is_own);
    let catalog = Catalog { project: project.toolchains.clone(), ..context.catalog.clone() };
    let context = Context { catalog, project: Some(Project { is_own, ..project }), ..context.clone() };
    // Before the file is written, since it would be useless if there are no such packages.
    let toolchain = Some(name.clone());
    let locked =
        lock::lock(&context, &lock::Request { toolchain, platforms: vec![], what: What::Complete, fetch: false })?;
    project_file::append(&directory, &tables)?;
    Ok(locked)
}

/// The tables of a toolchain.
fn tables(New { name, suites, signed_by, platforms, packages }: &New) -> String {
    let name = project_file::key(name);
    let list = |texts: Vec<String>| texts.iter().map(|one| project_file::text(one)).collect::<Vec<_>>().join(", ");
    let packages = list(packages.iter().map(ToString::to_string).collect());
    let keys = signed_by.as_ref().map(|file| format!("signed-by = {}\n", project_file::text(file))).unwrap_or_default();
    let suites = list(suites.clone());
    let mut text = format!("[toolchains.{name}.debian]\nsuites = [{suites}]\n{keys}packages = [{packages}]\n");
    let host = [Platform::host()];
    for platform in if platforms.is_empty() { &host[..] } else { platforms } {
        let _ = write!(text, "\n[toolchains.{name}.platform.{}]\n", project_file::key(platform.name()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_a_toolchain() {
        let new = New {
            name: "own-1.2".into(),
            suites: vec!["bookworm".into(), "bookworm-updates".into()],
            signed_by: None,
            platforms: vec![Platform::Amd64, Platform::Arm64],
            packages: vec!["gcc".parse().unwrap(), "cmake=3.25.1-1".parse().unwrap()],
        };
        let expected = "[toolchains.\"own-1.2\".debian]\nsuites = [\"bookworm\", \"bookworm-updates\"]\n\
            packages = [\"gcc\", \"cmake=3.25.1-1\"]\n\n[toolchains.\"own-1.2\".platform.linux-x86_64]\n\n\
            [toolchains.\"own-1.2\".platform.linux-aarch64]\n";
        assert_eq!(tables(&new), expected);
        let directory = tempfile::tempdir().unwrap();
        let directory = Opened::directory(directory.path()).unwrap();
        let (_, project) = project_file::with_table(&directory, &tables(&new)).unwrap();
        let definition = &project.toolchains["own-1.2"];
        assert_eq!(definition.platform.len(), 2);
        let debian = definition.debian.as_ref().unwrap();
        assert_eq!((&debian.suites, &debian.packages), (&new.suites, &new.packages));
        // One that is added for no platform is for this host's.
        let plain = New { platforms: vec![], signed_by: Some("keys.asc".into()), ..new };
        assert!(tables(&plain).contains("\nsigned-by = \"keys.asc\"\n"));
        let (_, project) = project_file::with_table(&directory, &tables(&plain)).unwrap();
        assert!(project.toolchains["own-1.2"].platform.keys().eq([&Platform::host()]));
    }
}
