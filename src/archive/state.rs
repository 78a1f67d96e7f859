//! The state of an archive: what its signed releases say, and the indexes that they name.

use std::collections::BTreeMap;
use std::io::{self, Read as _};

use crate::archive::ArchiveError;
use crate::archive::debs::NO_ADDRESS;
use crate::archive::file::Source;
use crate::archive::mirror::{Addresses, Mirror};
use crate::debian::{Index, IndexFile, Keyring, Release, verify};
use crate::dpkg::Architecture;
use crate::layer::{Decoder, Limits};
use crate::lock::Archive;
use crate::oci::Descriptor;
use crate::store::{Store, StoreError};

/// Largest `InRelease`, in bytes. Debian's have up to 250 kB.
const MAX_RELEASE: u64 = 16 << 20;
/// Largest decompressed index, in bytes. That of Debian 13's main has 57 MB.
const MAX_INDEX: u64 = 512 << 20;
/// The same, compressed. That of Debian 13's main has 10 MB.
const MAX_COMPRESSED: u64 = 256 << 20;
/// Bytes that all indexes of a toolchain may have together, decompressed: they are in memory at the same time.
pub(crate) const MAX_INDEXES: u64 = 1 << 30;

/// A verified release of a suite.
#[derive(Debug)]
pub(crate) struct Suite {
    /// What the lock says of it; without indexes until they are wanted.
    pub archive: Archive,
    release: Release,
    /// Where the release was found, for messages.
    place: String,
    /// Addresses of the archive.
    mirrors: Vec<Mirror>,
}

/// What a release must be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand<'a> {
    /// The path of the suite below `dists/`.
    pub suite: &'a str,
    /// Whose signatures count.
    pub keys: &'a Keyring,
    /// The present time, in seconds since 1970, at which the release must be valid; `None` for one that is locked.
    pub now: Option<u64>,
    /// The date of the release in the lock, in seconds since 1970: an older one is refused.
    pub known: Option<u64>,
}

impl Source<'_> {
    /// The release that the first reachable one of `addresses` has now.
    ///
    /// # Errors
    /// As [`ArchiveError`] says. A release that is not acceptable is an error at once, although another address may have a good
    /// one: it must not go unnoticed.
    pub(crate) async fn current(&self, demand: Demand<'_>, addresses: &Addresses) -> Result<Suite, ArchiveError> {
        let (suite, mirrors) = (demand.suite, &addresses.present);
        if mirrors.is_empty() {
            let (suite, copies) = (suite.to_owned(), addresses.without_present_state());
            let places: Vec<_> = copies.into_iter().map(Mirror::shown).collect();
            return Err(if places.is_empty() {
                ArchiveError::NoAddress { suite }
            } else {
                ArchiveError::OnlyCopies { suite, places: places.join(", ") }
            });
        }
        let path = format!("dists/{suite}/InRelease");
        let mut tried = Vec::new();
        for mirror in mirrors.iter().filter(|mirror| self.reaches(mirror)) {
            let bytes = match self.read(mirror, &path, MAX_RELEASE).await {
                Ok(bytes) => bytes,
                Err(miss) => {
                    tried.push(format!("{}: {}", mirror.shown(), miss.text()));
                    continue;
                }
            };
            let mut found = parse(&bytes, demand, mirror.shown())?;
            let blob = self.store.add_blob(&bytes, Archive::RELEASE)?;
            found.archive.release = blob;
            found.archive.uri = mirror.uri();
            found.mirrors.clone_from(mirrors);
            return Ok(found);
        }
        let what = format!("the release of {suite}");
        Err(if tried.is_empty() {
            ArchiveError::Offline { what }
        } else {
            ArchiveError::Unavailable { what, tried: tried.join("; ") }
        })
    }

    /// The locked release, if the store has it or an address still has it.
    ///
    /// # Errors
    /// A release that is not acceptable; errors of the store.
    pub(crate) async fn locked(
        &self,
        locked: &Archive,
        keys: &Keyring,
        mirrors: &[Mirror],
    ) -> Result<Option<Suite>, ArchiveError> {
        match self.locked_release(locked, mirrors).await {
            Ok(()) => {}
            Err(error @ ArchiveError::Store(_)) => return Err(error),
            Err(_) => return Ok(None),
        }
        let bytes = self.store.read_blob(&locked.release, MAX_RELEASE)?;
        let demand = Demand { suite: &locked.suite, keys, now: None, known: None };
        let mut found = parse(&bytes, demand, "the lockfile".to_owned())?;
        found.archive.uri.clone_from(&locked.uri);
        found.archive.indexes.clone_from(&locked.indexes);
        found.mirrors = mirrors.to_vec();
        Ok(Some(found))
    }

    /// Makes the store hold a locked release.
    ///
    /// # Errors
    /// [`ArchiveError::NoDocument`] if no address has it any more; otherwise as [`ArchiveError`] says.
    pub(crate) async fn locked_release(&self, locked: &Archive, mirrors: &[Mirror]) -> Result<(), ArchiveError> {
        match self.store.read_blob(&locked.release, MAX_RELEASE) {
            Ok(_) => return Ok(()),
            Err(error @ StoreError::TooLong { .. }) => return Err(error.into()),
            // It is missing or damaged.
            Err(_) => {}
        }
        let (what, mut tried) = (locked.release_name(), Vec::new());
        let task = self.reporter.start(&what, locked.release.size);
        for mirror in mirrors.iter().filter(|mirror| self.reaches(mirror)) {
            let received = self.receive(mirror, &[locked.release_path()], &locked.release, task).await;
            let Ok(Err(miss)) = received else {
                self.reporter.finish(task);
                return received.map(drop);
            };
            // An address that has a newer state has that at the same path.
            tried.push(format!("{}: {}", mirror.shown(), miss.text()));
        }
        self.reporter.finish(task);
        Err(if tried.is_empty() && self.client.is_none() {
            ArchiveError::Offline { what }
        } else if tried.is_empty() {
            ArchiveError::NoDocument { what, tried: NO_ADDRESS.to_owned() }
        } else {
            ArchiveError::NoDocument { what, tried: tried.join("; ") }
        })
    }

    /// The packages of `components` for an architecture. Indexes that the store lacks are fetched; the suite notes them. `room`
    /// is what they may still take of [`MAX_INDEXES`].
    ///
    /// # Errors
    /// As [`ArchiveError`] says.
    pub(crate) async fn indexes(
        &self,
        suite: &mut Suite,
        components: &[String],
        architecture: &Architecture,
        room: &mut u64,
    ) -> Result<Vec<Index>, ArchiveError> {
        let name = suite.archive.suite.clone();
        let mut indexes = Vec::new();
        for component in components {
            let files = suite.release.indexes(component, architecture);
            let unfit = |source| ArchiveError::Unfit {
                suite: name.clone(),
                place: suite.place.clone(),
                source: Box::new(source),
            };
            for file in files.map_err(unfit)? {
                let blob = Descriptor::new(Archive::INDEX, file.file.digest, file.file.size);
                let index = self.index(suite, &file, &blob, architecture, room).await?;
                suite.archive.indexes.insert(file.path, blob);
                indexes.push(index);
            }
        }
        Ok(indexes)
    }

    /// Makes the store hold a locked index.
    ///
    /// # Errors
    /// [`ArchiveError::NoDocument`] if no address has it any more; otherwise as [`ArchiveError`] says.
    pub(crate) async fn locked_index(
        &self,
        archive: &Archive,
        path: &str,
        blob: &Descriptor,
        mirrors: &[Mirror],
    ) -> Result<(), ArchiveError> {
        let directory = format!("dists/{}", archive.suite);
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let by_hash = format!("{directory}/{parent}/by-hash/SHA256/{}", blob.digest.hex());
        let what = format!("{path} of {}", archive.suite);
        match self.signed_file(&what, &[by_hash, format!("{directory}/{path}")], blob, mirrors).await {
            Err(ArchiveError::Unavailable { what, tried }) => Err(ArchiveError::NoDocument { what, tried }),
            done => done,
        }
    }

    async fn index(
        &self,
        suite: &Suite,
        file: &IndexFile,
        blob: &Descriptor,
        architecture: &Architecture,
        room: &mut u64,
    ) -> Result<Index, ArchiveError> {
        let name = &suite.archive.suite;
        if !self.store.has_blob(blob) {
            let directory = format!("dists/{name}");
            let by_hash = suite.release.by_hash.then(|| format!("{directory}/{}", file.by_hash()));
            let paths: Vec<_> = by_hash.into_iter().chain([format!("{directory}/{}", file.path)]).collect();
            self.signed_file(&format!("index of {name}"), &paths, blob, &suite.mirrors).await?;
        }
        read_index(self.store, blob, name, &file.path, architecture, room)
    }
}

/// Reads an index that the store has, and that is at `path` of the archive. It may have at most `room` decompressed bytes, which
/// become fewer by its own.
///
/// # Errors
/// The store does not have it; bytes that are not an index.
pub(crate) fn read_index(
    store: &Store,
    blob: &Descriptor,
    suite: &str,
    path: &str,
    architecture: &Architecture,
    room: &mut u64,
) -> Result<Index, ArchiveError> {
    parse_index(&store.read_blob(blob, MAX_COMPRESSED)?, suite, path, architecture, room)
}

fn parse_index(
    bytes: &[u8],
    suite: &str,
    path: &str,
    architecture: &Architecture,
    room: &mut u64,
) -> Result<Index, ArchiveError> {
    let (suite, path) = (suite.to_owned(), path.to_owned());
    let text = decompressed(bytes, MAX_INDEX.min(*room));
    let decompress = |source| ArchiveError::Decompress { suite: suite.clone(), path: path.clone(), source };
    let text = text.map_err(decompress)?;
    *room = room.saturating_sub(text.len() as u64);
    Index::parse(text, architecture).map_err(|source| ArchiveError::Index { suite, path, source })
}

/// What `bytes` decompress to, at most `limit` bytes.
fn decompressed(bytes: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    let limits = Limits { bytes: limit, ..Limits::unpacking_to(limit) };
    let mut text = Vec::new();
    Decoder::of_archive(bytes, &limits).map_err(io::Error::other)?.read_to_end(&mut text)?;
    Ok(text)
}

/// Verifies and parses a release, and checks that it is the wanted one.
fn parse(bytes: &[u8], demand: Demand<'_>, place: String) -> Result<Suite, ArchiveError> {
    let Demand { suite, keys, now, known } = demand;
    let (suite, at) = (suite.to_owned(), || place.clone());
    let signed = verify(bytes, keys).map_err(|source| ArchiveError::Signature {
        suite: suite.clone(),
        place: at(),
        source: Box::new(source),
    })?;
    let release = Release::parse(&signed.text).map_err(|source| ArchiveError::Release {
        suite: suite.clone(),
        place: at(),
        source,
    })?;
    let fits = release
        .check_suite(&suite)
        .and_then(|()| now.map_or(Ok(()), |now| release.check_validity(now)))
        .and_then(|()| known.map_or(Ok(()), |known| release.check_not_older(known)));
    fits.map_err(|source| ArchiveError::Unfit { suite: suite.clone(), place: at(), source: Box::new(source) })?;
    let codename = release.codename.clone().or_else(|| release.suite.clone()).unwrap_or_else(|| suite.clone());
    let archive = Archive {
        suite,
        uri: None,
        codename,
        date: release.date,
        release: Descriptor::new(Archive::RELEASE, crate::digest::Digest::of(bytes), bytes.len() as u64),
        signed_by: signed.signers.iter().map(|signer| signer.fingerprint.to_string()).collect(),
        indexes: BTreeMap::new(),
    };
    Ok(Suite { archive, release, place, mirrors: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::error_chain;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// An index of one package, whose description has this length.
    fn index(length: usize) -> Vec<u8> {
        let text = format!(
            "Package: aa\nVersion: 1\nArchitecture: all\nFilename: a\nSize: 1\nSHA256: {DIGEST}\nDescription: {}\n",
            "x".repeat(length)
        );
        zstd::encode_all(text.as_bytes(), 1).unwrap()
    }

    #[test]
    fn what_indexes_take_in_memory_is_bounded() {
        let amd64 = "amd64".parse().unwrap();
        let read = |length, room: &mut u64| parse_index(&index(length), "a", "Packages.xz", &amd64, room).map(drop);
        // A few bytes of the archive must not become any number of bytes here.
        let error = read(4 << 20, &mut (1 << 20)).unwrap_err();
        assert!(index(4 << 20).len() < 5000 && error_chain(&error).contains("more than 1048576 bytes"), "{error:?}");
        // All indexes of a toolchain share one limit.
        let mut room = 5 << 20;
        read(2 << 20, &mut room).unwrap();
        read(2 << 20, &mut room).unwrap();
        assert!(room < 1 << 20);
        read(2 << 20, &mut room).unwrap_err();
    }
}
