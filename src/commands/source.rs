//! `hermes source`: adds, fetches, lists and verifies the sources of a project.

pub(super) mod acquire;
pub(super) mod additions;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::commands::acquire::Acquirer;
use crate::commands::source::acquire::Scope;
use crate::commands::{Context, Error, project_file};
use crate::consent::{Consent, Setting, Settings};
use crate::digest::Digest;
use crate::lock;
use crate::source::{self, Label, SourceError};
use crate::store::Store;
use crate::toolchain::{Origin, Project, SourceDefinition};

/// Suffixes of archives, which are no part of a source's name.
const ENDS: [&str; 16] = [
    ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".tar.bz2", ".tbz2", ".tbz", ".tar", ".zip", ".whl",
    ".crate", ".git", ".src", ".orig",
];

/// A source of the project.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Row {
    /// Its name.
    pub name: String,
    /// Where it is found, or the repository.
    pub url: String,
    /// The commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The archive, by the lock or `hermes.toml`.
    pub digest: Option<Digest>,
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Leading path components left out.
    pub strip: Option<u32>,
    /// How many patches are applied.
    pub patches: usize,
    /// Whether it is here.
    pub state: State,
}

/// Whether a source is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// It is unpacked.
    Unpacked,
    /// Its archive is in the store.
    Archive,
    /// It is locked, and has to be fetched.
    Missing,
    /// The lock does not have it.
    Unlocked,
}

/// The result of the verification of a source.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Checked {
    /// Its name.
    pub name: String,
    /// Faults of its files; empty if it is intact, or not in the store.
    pub damage: Vec<String>,
    /// Whether the archive, or the tree, is in the store.
    pub here: bool,
}

/// Downloads the source at `url`, and adds it to `hermes.toml` and the lock.
pub(crate) fn add(context: &Context, url: &str, commit: Option<&str>, name: Option<String>) -> Result<Row, Error> {
    let project = project(context)?;
    let name = name.unwrap_or_else(|| name_of(url));
    if !lock::Source::is_name(&name) {
        return Err(SourceError::Name { name }.into());
    }
    if project.sources.contains_key(&name) {
        return Err(SourceError::Taken { name }.into());
    }
    let directory = &project.directory;
    // Before the download, since it would be useless if the file cannot be written.
    let definition = project_file::with_table(directory, &table(&name, url, commit, &Digest::of(b"")))?.1;
    let definition = definition.sources.get(&name).cloned().ok_or_else(|| SourceError::Name { name: name.clone() })?;
    let definition = SourceDefinition { sha256: None, ..definition };
    let store = context.open_store()?;
    let mut lease = store.lease();
    let definitions = BTreeMap::from([(name.clone(), definition.clone())]);
    // The user has named it on the command line, so that the rest of the project decides whether it is allowed for good.
    let before = context.settings();
    let own = source::settings(&Label::of_project(&name), &definition, directory.path());
    let allowed = Consent::of_the_user(own.iter().cloned());
    let mut acquirer = Acquirer::new(context, &store, &mut lease);
    let sources = acquirer.sources(context.lock_of_project(project), &definitions, Scope::Named, &allowed)?;
    let Some(source) = sources.get(&name) else { return Err(SourceError::Unknown { name }.into()) };
    project_file::append(directory, &table(&name, url, commit, &source.digest))?;
    remember(context, before, own);
    Ok(row(&store, &name, &definition, Some(source)))
}

/// Permanently allows what the user has just added to the project, if everything that it requested `before` was allowed.
fn remember(context: &Context, before: Settings, own: Vec<Setting>) {
    let Some(memory) = &context.consent.memory else { return };
    if own.is_empty() || !(before.settings.is_empty() || memory.has(&before)) {
        return;
    }
    let Settings { project, mut settings } = before;
    settings.extend(own);
    if let Err(error) = memory.add(&Settings { project, settings }) {
        context.reporter.warn(&format!("allowed for this command only, because it cannot be saved: {error}"));
    }
}

/// Acquires sources of the project: `names`, or all.
pub(crate) fn fetch(context: &Context, names: &[String]) -> Result<Vec<Row>, Error> {
    let wanted = wanted(context, names)?;
    let store = context.open_store()?;
    let mut lease = store.lease();
    let allowed = context.allow_sources(&wanted)?;
    let scope = if names.is_empty() { Scope::Project } else { Scope::Named };
    let mut acquirer = Acquirer::new(context, &store, &mut lease);
    let sources = acquirer.sources(context.lock_of_project(project(context)?), &wanted, scope, &allowed)?;
    Ok(wanted.iter().map(|(name, definition)| row(&store, name, definition, sources.get(name))).collect())
}

/// The sources of the project, as the lock has them. Nothing is fetched.
pub(crate) fn list(context: &Context) -> Result<Vec<Row>, Error> {
    let wanted = wanted(context, &[])?;
    let store = context.open_store()?;
    let locked = context.lock_of_project(project(context)?).read()?.sources;
    Ok(wanted.iter().map(|(name, definition)| row(&store, name, definition, locked.get(name))).collect())
}

/// Verifies the archives and trees of sources in the store.
///
/// # Errors
/// No project; a name that there is not; a lock that cannot be read. Damage is no error: it is reported.
pub(crate) fn verify(context: &Context, names: &[String]) -> Result<Vec<Checked>, Error> {
    let wanted = wanted(context, names)?;
    let store = context.open_store()?;
    let locked = context.lock_of_project(project(context)?).read()?.sources;
    let check = |name: &String| {
        let (mut damage, mut here) = (Vec::new(), false);
        if let Some(source) = locked.get(name) {
            if let Ok(mut file) = store.open_blob(&source.blob()) {
                here = true;
                match Digest::of_reader(&mut file, &|_| ()) {
                    Ok((digest, _)) if digest == source.digest => {}
                    Ok((digest, _)) => damage.push(format!("the archive is {digest}, not {}", source.digest)),
                    Err(error) => damage.push(format!("cannot read the archive: {error}")),
                }
            }
            if store.source_path(&source.key()).exists() {
                here = true;
                damage.extend(store.source_fault(&source.key()));
            }
        }
        Checked { name: name.clone(), damage, here }
    };
    Ok(wanted.keys().map(check).collect())
}

fn project(context: &Context) -> Result<&Project, Error> {
    Ok(context.project.as_ref().ok_or(SourceError::NoProject)?)
}

fn wanted(context: &Context, names: &[String]) -> Result<BTreeMap<String, SourceDefinition>, Error> {
    let all = &project(context)?.sources;
    if names.is_empty() {
        return Ok(all.clone());
    }
    let one = |name: &String| match all.get(name) {
        Some(definition) => Ok((name.clone(), definition.clone())),
        None => Err(SourceError::Unknown { name: name.clone() }.into()),
    };
    names.iter().map(one).collect()
}

fn row(store: &Store, name: &str, definition: &SourceDefinition, locked: Option<&lock::Source>) -> Row {
    let state = match locked {
        None => State::Unlocked,
        Some(source) if store.source_tree(&source.key()).is_some() => State::Unpacked,
        Some(source) if store.has_blob(&source.blob()) => State::Archive,
        Some(_) => State::Missing,
    };
    Row {
        name: name.to_owned(),
        url: definition.origin.shown(),
        commit: if let Origin::Git { commit, .. } = &definition.origin { Some(commit.clone()) } else { None },
        digest: locked.map(|source| source.digest).or(definition.sha256),
        size: locked.map(|source| source.size),
        strip: locked.map(|source| source.strip).or(definition.strip),
        patches: definition.patches.len(),
        state,
    }
}

/// The name of a source by the last part of its URL, without the version.
fn name_of(url: &str) -> String {
    let file = url.split(['?', '#']).next().unwrap_or(url).trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let mut stem = file;
    while let Some(shorter) = ENDS.iter().find_map(|end| stem.strip_suffix(end)) {
        stem = shorter;
    }
    let is_version = |at: &usize| stem[at + 1..].trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit());
    let dash = stem.char_indices().filter(|(_, c)| matches!(c, '-' | '_')).map(|(at, _)| at).find(is_version);
    dash.map_or(stem, |dash| &stem[..dash]).to_owned()
}

/// The table of a source.
fn table(name: &str, url: &str, commit: Option<&str>, digest: &Digest) -> String {
    let (key, text) = (project_file::key(name), project_file::text);
    let place = match commit {
        Some(commit) => format!("git = {}\ncommit = {}", text(url), text(commit)),
        None => format!("url = {}", text(url)),
    };
    format!("[source.{key}]\n{place}\nsha256 = \"{}\"\n", digest.hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::opened::Opened;
    use crate::toolchain::PROJECT_FILE;

    #[test]
    fn names_of_urls() {
        for (url, name) in [
            ("https://www.lua.org/ftp/lua-5.4.6.tar.gz", "lua"),
            ("https://host/zlib-1.3.1.tar.xz?x=1#y", "zlib"),
            ("https://static.crates.io/crates/serde_json/serde_json-1.0.0.crate", "serde_json"),
            ("https://host/jq_1.6.orig.tar.gz", "jq"),
            ("https://host/a/b.git", "b"),
            ("https://host/v1.2.tar.gz", "v1.2"),
            ("https://host/gtk+-3.0.zip", "gtk+"),
            ("https://host/x-v2.tgz", "x"),
            ("https://host/foo-bar-1.tbz2/", "foo-bar"),
            ("https://host/", "host"),
        ] {
            assert_eq!(name_of(url), name, "{url}");
        }
    }

    #[test]
    fn a_table_leaves_the_rest_as_it_is() {
        let temp = tempfile::tempdir().unwrap();
        let directory = Opened::directory(temp.path()).unwrap();
        let path = temp.path().join(PROJECT_FILE);
        let digest = Digest::of(b"x");
        for (before, name) in [("", "lua"), ("# mine\ntoolchain = 'debian'  # so\n", "a.b"), ("platform='arm64'", "x")]
        {
            std::fs::write(&path, before).unwrap();
            project_file::append(&directory, &table(name, "https://host/\"x\"", None, &digest)).unwrap();
            let after = std::fs::read_to_string(&path).unwrap();
            assert!(after.starts_with(before) && after.ends_with('\n'), "{after}");
            let project = Project::parse(after.as_bytes(), directory.clone()).unwrap();
            assert_eq!(project.sources[name].sha256, Some(digest));
        }
        // What it cannot be added to stays.
        std::fs::write(&path, "source = { x = { url = 'https://host/y' } }\n").unwrap();
        assert!(project_file::append(&directory, &table("z", "https://host/z", None, &digest)).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "source = { x = { url = 'https://host/y' } }\n");
    }
}
