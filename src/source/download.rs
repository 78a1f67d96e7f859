//! Downloading an archive from the first location that has it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::consent::Allowed;
use crate::digest::Digest;
use crate::fs::opened::Opened;
use crate::hint::error_chain;
use crate::oci::{self, Document};
use crate::progress::Reporter;
use crate::reference::Reference;
use crate::registry::Client;
use crate::source::SourceError;
use crate::source::git::{Git, GitHost};
use crate::source::location::Location;
use crate::store::{Incoming, Store, StoreError};
use crate::toolchain::SourceDefinition;

/// Largest archive, in bytes.
const MAX_ARCHIVE: u64 = 16 << 30;

/// An archive to download, and where to search for it.
#[derive(Clone, Copy)]
pub(crate) struct Search<'a> {
    /// Name of the source.
    pub name: &'a str,
    /// Its definition in the project.
    pub definition: &'a SourceDefinition,
    /// Digest of the archive in the lock or `hermes.toml`. Without a digest only the origin is used.
    pub digest: Option<Digest>,
    /// Mirrors of the site, tried after those of the source.
    pub mirrors: &'a [String],
    /// Directory of the project.
    pub project: &'a Opened,
    /// Files of the host that the user allows to be read for it.
    pub allowed: &'a Allowed,
    /// The host's git.
    pub git: &'a GitHost,
}

impl Search<'_> {
    /// The locations, in the order in which they are tried.
    fn locations(&self) -> Result<Vec<Location>, SourceError> {
        let mut locations = vec![Location::of(&self.definition.origin, self.project.path())?];
        if let Some(digest) = &self.digest {
            for mirror in &self.definition.mirrors {
                locations.push(Location::in_mirror(mirror, digest, self.project.path())?);
            }
            for mirror in self.mirrors {
                locations.push(Location::in_mirror_of_user(mirror, digest)?);
            }
        }
        Ok(locations)
    }

    /// Whether one of the locations needs no network.
    ///
    /// # Errors
    /// A malformed location.
    pub(crate) fn has_local_locations(&self) -> Result<bool, SourceError> {
        Ok(self.locations()?.iter().any(Location::is_local))
    }
}

/// Downloads the archive, which the caller has to publish. Locations that fail or have other bytes are skipped, and
/// without a `client` those that need the network.
///
/// # Errors
/// [`SourceError::Changed`] if locations had other bytes and none the right ones; [`SourceError::Unavailable`];
/// [`SourceError::Offline`]; errors of the store.
pub(crate) async fn download(
    search: &Search<'_>,
    store: &Store,
    client: Option<&Client>,
    reporter: &dyn Reporter,
) -> Result<Incoming, SourceError> {
    let name = search.name;
    let (mut tried, mut changed) = (Vec::new(), None);
    let locations = search.locations()?;
    for location in locations.iter().filter(|location| client.is_some() || location.is_local()) {
        let incoming = match receive(location, search, store, client, reporter).await {
            Ok(incoming) => incoming,
            // A location may state any size, so it may fit in the store from another location.
            Err(error @ (SourceError::Store(_) | SourceError::Location { .. }))
                if !matches!(error, SourceError::Store(StoreError::NoRoom { .. })) =>
            {
                return Err(error);
            }
            Err(error) => {
                let line = error_chain(&error);
                reporter.verbose(&format!("source {name}: {}: {line}", location.shown()));
                tried.push((location.shown(), line, error));
                continue;
            }
        };
        let (got, _) = incoming.so_far();
        match search.digest {
            Some(expected) if expected != got => {
                reporter.warn(&format!(
                    "source {name}: {} now has other content: sha256 {}",
                    location.shown(),
                    got.hex()
                ));
                let (expected, got) = (Box::new(expected), Box::new(got));
                changed.get_or_insert(SourceError::Changed {
                    name: name.to_owned(),
                    location: location.shown(),
                    expected,
                    got,
                });
            }
            _ => return Ok(incoming),
        }
    }
    if let Some(changed) = changed {
        return Err(changed);
    }
    if client.is_none() && !locations.iter().all(Location::is_local) {
        return Err(SourceError::Offline { name: name.to_owned() });
    }
    match <[_; 1]>::try_from(tried) {
        // The error of the only location needs no list around it.
        Ok(
            [
                (
                    _,
                    _,
                    error @ (SourceError::NoGit { .. }
                    | SourceError::Git { .. }
                    | SourceError::Registry(_)
                    | SourceError::Store(_)),
                ),
            ],
        ) => Err(error),
        Ok([(location, line, _)]) => {
            Err(SourceError::Unavailable { name: name.to_owned(), tried: format!("{location}: {line}") })
        }
        Err(tried) => {
            let tried: Vec<_> = tried.into_iter().map(|(location, line, _)| format!("{location}: {line}")).collect();
            Err(SourceError::Unavailable { name: name.to_owned(), tried: tried.join("; ") })
        }
    }
}

async fn receive(
    location: &Location,
    search: &Search<'_>,
    store: &Store,
    client: Option<&Client>,
    reporter: &dyn Reporter,
) -> Result<Incoming, SourceError> {
    let mut incoming = store.receive_blob(MAX_ARCHIVE)?;
    let label = format!("source {}", search.name);
    match (location, client) {
        (Location::File { of_project, name }, _) => {
            let Search { project, allowed, .. } = search;
            let file = match name {
                None => of_project.open(project, allowed),
                Some(name) => of_project.open_in(project, allowed, name),
            };
            from_file(file, location, &mut incoming, store)?;
        }
        (Location::Mirror(path), _) => from_file(open_mirror(path), location, &mut incoming, store)?,
        (Location::Web(url), Some(client)) => {
            let mut download = client.download(url).await?;
            store.require_room(download.size().unwrap_or(0))?;
            let task = reporter.start(&label, download.size().unwrap_or(0));
            let outcome = async {
                while let Some(chunk) = download.chunk().await? {
                    keep(&mut incoming, &chunk, store)?;
                    reporter.advance(task, chunk.len() as u64);
                }
                Ok::<_, SourceError>(())
            };
            let outcome = outcome.await;
            reporter.finish(task);
            outcome?;
        }
        (Location::Registry(reference), Some(client)) => {
            from_registry(reference, client, &mut incoming, store, &label, reporter).await?;
        }
        (Location::Git { url, commit }, _) => {
            if let (Some(client), true) = (client, url.starts_with("http://")) {
                client.allows(url)?;
            }
            let scratch = store.scratch()?;
            reporter.warn(&format!("source {}: git fetches {commit} from {url}", search.name));
            let git = Git::find(search.git, scratch.path(), url, commit)?;
            git.write_tar(&mut incoming)?;
        }
        (Location::Web(_) | Location::Registry(_), None) => {
            return Err(SourceError::Offline { name: search.name.to_owned() });
        }
    }
    Ok(incoming)
}

fn from_file(
    file: io::Result<File>,
    location: &Location,
    incoming: &mut Incoming,
    store: &Store,
) -> Result<(), SourceError> {
    let failed = |source| SourceError::File { verb: "read", path: location.shown().into(), source };
    let mut file = file.map_err(failed)?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let length = file.read(&mut buffer).map_err(failed)?;
        if length == 0 {
            return Ok(());
        }
        keep(incoming, &buffer[..length], store)?;
    }
}

/// Opens a file in a mirror directory. Does not wait for a writer if it is a FIFO.
fn open_mirror(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

/// Downloads the only layer of an artifact.
async fn from_registry(
    reference: &Reference,
    client: &Client,
    incoming: &mut Incoming,
    store: &Store,
    label: &str,
    reporter: &dyn Reporter,
) -> Result<(), SourceError> {
    let fetched = client.manifest(reference).await?;
    let manifest = Document::parse(&fetched.bytes, Some(oci::MANIFEST));
    let layer = match manifest {
        Ok(Document::Manifest(manifest)) if manifest.layers.len() == 1 => manifest.layers.into_iter().next(),
        _ => None,
    };
    let why = "the artifact there is not a source";
    let layer = layer.ok_or_else(|| SourceError::Location { url: reference.to_string(), why });
    // Another kind of artifact is treated as missing.
    let layer = layer.map_err(|error| SourceError::Unavailable { name: label.to_owned(), tried: error.to_string() })?;
    store.require_room(layer.size)?;
    let mut blob = client.blob(reference, &layer).await?;
    let task = reporter.start(label, layer.size);
    let outcome = async {
        while let Some(chunk) = blob.chunk().await? {
            keep(incoming, &chunk, store)?;
            reporter.advance(task, chunk.len() as u64);
        }
        Ok(())
    };
    let outcome = outcome.await;
    reporter.finish(task);
    outcome
}

fn keep(incoming: &mut Incoming, bytes: &[u8], store: &Store) -> Result<(), SourceError> {
    let failed = |source| SourceError::File { verb: "write", path: store.root().join("tmp"), source };
    incoming.write_all(bytes).map_err(failed)
}
