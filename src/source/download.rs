//! An archive, from the first place that has it.

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

/// Longest archive taken, in bytes.
const MAX_ARCHIVE: u64 = 16 << 30;

/// What is looked for, and where.
#[derive(Clone, Copy)]
pub(crate) struct Search<'a> {
    /// The source's name.
    pub name: &'a str,
    /// What the project says of it.
    pub definition: &'a SourceDefinition,
    /// The archive, by the lock or `hermes.toml`. Without, only the origin can be asked.
    pub digest: Option<Digest>,
    /// The site's mirrors, asked after the source's own.
    pub mirrors: &'a [String],
    /// The directory of the project.
    pub project: &'a Opened,
    /// What of the host may be read for it.
    pub allowed: &'a Allowed,
    /// What of the host git has.
    pub git: &'a GitHost,
}

impl Search<'_> {
    /// The places, in the order in which they are asked.
    fn places(&self) -> Result<Vec<Location>, SourceError> {
        let mut places = vec![Location::of(&self.definition.origin, self.project.path())?];
        if let Some(digest) = &self.digest {
            for mirror in &self.definition.mirrors {
                places.push(Location::in_mirror(mirror, digest, self.project.path())?);
            }
            for mirror in self.mirrors {
                places.push(Location::in_mirror_of_user(mirror, digest)?);
            }
        }
        Ok(places)
    }

    /// Whether a place can be asked without a network.
    ///
    /// # Errors
    /// A place that is none.
    pub(crate) fn has_local_places(&self) -> Result<bool, SourceError> {
        Ok(self.places()?.iter().any(Location::is_local))
    }
}

/// Receives the archive, which is yet to be published. Places that cannot be asked, or have other bytes, are passed over;
/// without a `client` those that take a network.
///
/// # Errors
/// [`SourceError::Changed`] where there were other bytes and nowhere the right ones; [`SourceError::Nowhere`],
/// [`SourceError::Offline`]; the store's.
pub(crate) async fn download(
    search: &Search<'_>,
    store: &Store,
    client: Option<&Client>,
    reporter: &dyn Reporter,
) -> Result<Incoming, SourceError> {
    let name = search.name;
    let (mut tried, mut changed) = (Vec::new(), None);
    let places = search.places()?;
    for place in places.iter().filter(|place| client.is_some() || place.is_local()) {
        let incoming = match receive(place, search, store, client, reporter).await {
            Ok(incoming) => incoming,
            // What is too large here may be smaller elsewhere: a place can say anything.
            Err(error @ (SourceError::Store(_) | SourceError::Location { .. }))
                if !matches!(error, SourceError::Store(StoreError::NoRoom { .. })) =>
            {
                return Err(error);
            }
            Err(error) => {
                let line = error_chain(&error);
                reporter.verbose(&format!("source {name}: {}: {line}", place.shown()));
                tried.push((place.shown(), line, error));
                continue;
            }
        };
        let (got, _) = incoming.so_far();
        match search.digest {
            Some(expected) if expected != got => {
                reporter.warn(&format!("source {name}: {} has other bytes now: sha256 {}", place.shown(), got.hex()));
                let (expected, got) = (Box::new(expected), Box::new(got));
                changed.get_or_insert(SourceError::Changed {
                    name: name.to_owned(),
                    place: place.shown(),
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
    if client.is_none() && !places.iter().all(Location::is_local) {
        return Err(SourceError::Offline { name: name.to_owned() });
    }
    match <[_; 1]>::try_from(tried) {
        // The only one speaks for itself.
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
        Ok([(place, line, _)]) => {
            Err(SourceError::Nowhere { name: name.to_owned(), tried: format!("{place}: {line}") })
        }
        Err(tried) => {
            let tried: Vec<_> = tried.into_iter().map(|(place, line, _)| format!("{place}: {line}")).collect();
            Err(SourceError::Nowhere { name: name.to_owned(), tried: tried.join("; ") })
        }
    }
}

async fn receive(
    place: &Location,
    search: &Search<'_>,
    store: &Store,
    client: Option<&Client>,
    reporter: &dyn Reporter,
) -> Result<Incoming, SourceError> {
    let mut incoming = store.receive_blob(MAX_ARCHIVE)?;
    let label = format!("source {}", search.name);
    match (place, client) {
        (Location::File { of_project, name }, _) => {
            let Search { project, allowed, .. } = search;
            let file = match name {
                None => of_project.open(project, allowed),
                Some(name) => of_project.open_in(project, allowed, name),
            };
            from_file(file, place, &mut incoming, store)?;
        }
        (Location::Mirror(path), _) => from_file(open_mirror(path), place, &mut incoming, store)?,
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
    place: &Location,
    incoming: &mut Incoming,
    store: &Store,
) -> Result<(), SourceError> {
    let failed = |source| SourceError::File { verb: "read", path: place.shown().into(), source };
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

/// Opens a file of a directory that the user names, without waiting for whoever writes to it, if it is a FIFO.
fn open_mirror(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a file")) }
}

/// Receives the one layer of an artifact.
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
    let why = "what stands there is no source";
    let layer = layer.ok_or_else(|| SourceError::Location { url: reference.to_string(), why });
    // Somebody else's artifact is as good as none.
    let layer = layer.map_err(|error| SourceError::Nowhere { name: label.to_owned(), tried: error.to_string() })?;
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
