//! Downloading an archive from the first location that has it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use bytes::Bytes;
use rustix::fs::{Mode, OFlags};

use crate::consent::Allowed;
use crate::digest::Digest;
use crate::fs::opened::Opened;
use crate::hint::error_chain;
use crate::oci::{self, Document};
use crate::platform::Platform;
use crate::progress::Reporter;
use crate::reference::Reference;
use crate::registry::{Client, Download, RegistryError};
use crate::source::git::{Git, GitHost};
use crate::source::index::{self, PipHost, Query};
use crate::source::location::Location;
use crate::source::{Label, SourceError, inline};
use crate::store::{Incoming, Store, StoreError};
use crate::toolchain::SourceDefinition;

/// Largest archive, in bytes.
const MAX_ARCHIVE: u64 = 16 << 30;

/// An archive to download, and where to search for it.
#[derive(Clone, Copy)]
pub(crate) struct Search<'a> {
    /// The source, in messages.
    pub label: &'a Label,
    /// Its definition.
    pub definition: &'a SourceDefinition,
    /// Digest of the archive in the lock or `hermes.toml`. Without a digest only the origin is used.
    pub digest: Option<Digest>,
    /// Mirrors of the site, tried after those of the source.
    pub mirrors: &'a [String],
    /// The platform of the programs, for packages of an index.
    pub platform: Platform,
    /// Directory of the project that defines it; `None` for a definition of the user, and for hermes' own.
    pub project: Option<&'a Opened>,
    /// Files of the host that the user allows to be read for it.
    pub allowed: &'a Allowed,
    /// The host's git.
    pub git: &'a GitHost,
    /// The host's pip.
    pub pip: &'a PipHost,
}

impl Search<'_> {
    /// The locations, in the order in which they are tried.
    fn locations(&self) -> Result<Vec<Location>, SourceError> {
        let project = self.project.map(Opened::path);
        let mut locations = vec![Location::of(&self.definition.origin, project)?];
        if let Some(digest) = &self.digest {
            for mirror in &self.definition.mirrors {
                locations.push(Location::in_mirror(mirror, digest, project)?);
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
    let name = search.label;
    let (mut tried, mut changed) = (Vec::new(), None);
    let locations = search.locations()?;
    for location in locations.iter().filter(|location| client.is_some() || location.is_local()) {
        let (incoming, stated) = match receive(location, search, store, client, reporter).await {
            Ok(received) => received,
            Err(error @ SourceError::Changed { .. }) => {
                reporter.warn(&error.to_string());
                changed.get_or_insert(error);
                continue;
            }
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
        match search.digest.or(stated) {
            Some(expected) if expected != got => {
                reporter.warn(&format!(
                    "source {name}: {} now has other content: sha256 {}",
                    location.shown(),
                    got.hex()
                ));
                let (expected, got) = (Box::new(expected), Box::new(got));
                changed.get_or_insert(SourceError::Changed {
                    name: name.clone(),
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
        return Err(SourceError::Offline { name: name.clone() });
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
                    | SourceError::NoIndex { .. }
                    | SourceError::NoWheel { .. }
                    | SourceError::SeveralWheels { .. }
                    | SourceError::Unavailable { .. }
                    | SourceError::Registry(_)
                    | SourceError::Store(_)),
                ),
            ],
        ) => Err(error),
        Ok([(location, line, _)]) => {
            Err(SourceError::Unavailable { name: name.clone(), tried: format!("{location}: {line}") })
        }
        Err(tried) => {
            let tried: Vec<_> = tried.into_iter().map(|(location, line, _)| format!("{location}: {line}")).collect();
            Err(SourceError::Unavailable { name: name.clone(), tried: tried.join("; ") })
        }
    }
}

/// Receives the archive from a location. Also returns the digest that the location states for it.
async fn receive(
    location: &Location,
    search: &Search<'_>,
    store: &Store,
    client: Option<&Client>,
    reporter: &dyn Reporter,
) -> Result<(Incoming, Option<Digest>), SourceError> {
    let mut incoming = store.receive_blob(MAX_ARCHIVE)?;
    let mut stated = None;
    let label = format!("source {}", search.label);
    match (location, client) {
        (Location::File { of_project, name }, _) => {
            let Search { project, allowed, .. } = search;
            let denied = || io::Error::new(io::ErrorKind::PermissionDenied, "there is no project");
            let file = project.ok_or_else(denied).and_then(|project| match name {
                None => of_project.open(project, allowed),
                Some(name) => of_project.open_in(project, allowed, name),
            });
            from_file(file, location, &mut incoming, store)?;
        }
        (Location::Mirror(path), _) => from_file(open_mirror(path), location, &mut incoming, store)?,
        (Location::Web(url), Some(client)) => {
            let download = client.download(url).await?;
            from_web(download, &mut incoming, store, &label, reporter).await?;
        }
        (Location::Index(requirement), Some(client)) => {
            let Search { label: of, platform, digest, pip, .. } = *search;
            let query = Query { label: of, requirement, platform, digest };
            let wheel = index::find(&query, pip, client, reporter).await?;
            stated = wheel.sha256;
            let download = client.authorized_download(&wheel.url, wheel.credential.as_ref()).await?;
            from_web(download, &mut incoming, store, &label, reporter).await?;
        }
        (Location::Inline(files), _) => keep(&mut incoming, &inline::archive(files), store)?,
        (Location::Registry(reference), Some(client)) => {
            from_registry(reference, client, &mut incoming, store, search.label, reporter).await?;
        }
        (Location::Git { url, commit }, _) => {
            if let (Some(client), true) = (client, url.starts_with("http://")) {
                client.allows(url)?;
            }
            let scratch = store.scratch()?;
            reporter.warn(&format!("source {}: git fetches {commit} from {url}", search.label));
            let git = Git::find(search.git, scratch.path(), url, commit)?;
            git.write_tar(&mut incoming)?;
        }
        (Location::Web(_) | Location::Registry(_) | Location::Index(_), None) => {
            return Err(SourceError::Offline { name: search.label.clone() });
        }
    }
    Ok((incoming, stated))
}

/// Writes what `next` gives until it gives nothing more; `size` is the expected number of bytes.
async fn copy(
    mut next: impl AsyncFnMut() -> Result<Option<Bytes>, RegistryError>,
    size: u64,
    incoming: &mut Incoming,
    store: &Store,
    label: &str,
    reporter: &dyn Reporter,
) -> Result<(), SourceError> {
    let task = reporter.start(label, size);
    let outcome = async {
        while let Some(chunk) = next().await? {
            keep(incoming, &chunk, store)?;
            reporter.advance(task, chunk.len() as u64);
        }
        Ok(())
    };
    let outcome = outcome.await;
    reporter.finish(task);
    outcome
}

async fn from_web(
    mut download: Download<'_>,
    incoming: &mut Incoming,
    store: &Store,
    label: &str,
    reporter: &dyn Reporter,
) -> Result<(), SourceError> {
    let size = download.size().unwrap_or(0);
    store.require_room(size)?;
    copy(async || download.chunk().await, size, incoming, store, label, reporter).await
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
    of: &Label,
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
    let layer = layer.map_err(|error| SourceError::Unavailable { name: of.clone(), tried: error.to_string() })?;
    store.require_room(layer.size)?;
    let mut blob = client.blob(reference, &layer).await?;
    let label = format!("source {of}");
    copy(async || blob.chunk().await, layer.size, incoming, store, &label, reporter).await
}

fn keep(incoming: &mut Incoming, bytes: &[u8], store: &Store) -> Result<(), SourceError> {
    let failed = |source| SourceError::File { verb: "write", path: store.root().join("tmp"), source };
    incoming.write_all(bytes).map_err(failed)
}
