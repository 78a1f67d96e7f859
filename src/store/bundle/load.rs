//! Loading of a bundle: it is unpacked into `tmp/` and verified before anything of it enters the store.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::digest::Digest;
use crate::fs::atomic;
use crate::lock::{self, Lock};
use crate::oci::{self, Descriptor, Document};
use crate::progress::{Reporter, TaskId};
use crate::store::bundle::contents::{BUNDLE, Contents, Form, PACKAGES, PART, Part};
use crate::store::bundle::read::{Fault, Tar};
use crate::store::layout::BUNDLE_VERSION;
use crate::store::layout::OCI_LAYOUT;
use crate::store::staging::TempDir;
use crate::store::{Lease, Store, StoreError};
use crate::visible::shortened;

/// Longest lock read, in bytes.
const MAX_LOCK: u64 = 16 << 20;

/// A bundle that is whole. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct StagedBundle {
    lock: Lock,
    form: Form,
    parts: Vec<Part>,
    blobs: Vec<Digest>,
    temp: TempDir,
}

/// The part of the index that is read before the lock is known.
#[derive(Deserialize)]
struct WireIndex {
    manifests: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// What was read, blob by blob, with what was wrong with them.
struct Unpacked {
    index: Vec<u8>,
    form: Form,
    blobs: BTreeMap<Digest, u64>,
    wrong: Option<(Digest, Digest)>,
}

impl Store {
    /// Reads the bundle `source` to its end, and verifies all of it. Blobs go to `tmp/`.
    ///
    /// # Errors
    /// [`StoreError::NotABundle`], [`StoreError::BundleVersion`], [`StoreError::Bundle`]; a lock of a newer version.
    pub fn stage_bundle(&self, source: &Path, reporter: &dyn Reporter) -> Result<StagedBundle, StoreError> {
        let file = File::open(source).map_err(StoreError::io("read", source))?;
        let length = file.metadata().map_err(StoreError::io("read", source))?.len();
        let temp = self.temp_dir()?;
        let task = reporter.start(&format!("reading {}", source.display()), length);
        let input = Counted { inner: BufReader::with_capacity(1 << 20, file), reporter, task };
        let unpacked = unpack(Tar::new(input), source, temp.path());
        reporter.finish(task);
        verify(unpacked?, source, temp)
    }
}

impl StagedBundle {
    /// The lock that the bundle was made of.
    #[must_use]
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// What it has of roots of packages.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// What it holds.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Brings the blobs into `store`, where `lease` keeps them. Those of the lock's emulators become programs.
    pub fn publish(&self, store: &Store, lease: &mut Lease) -> Result<(), StoreError> {
        for digest in &self.blobs {
            let path = staged(self.temp.path(), digest);
            if self.lock.emulators.values().any(|emulator| emulator.digest == *digest) {
                let file = File::open(&path).map_err(StoreError::io("read", &path))?;
                lease.add_program(&file, &path)?;
            } else {
                // One that is there, and may be damaged, is replaced.
                store.adopt(&path, digest)?;
            }
        }
        Ok(())
    }
}

fn staged(temp: &Path, digest: &Digest) -> PathBuf {
    temp.join(digest.hex())
}

fn unpack(mut tar: Tar<impl Read>, source: &Path, temp: &Path) -> Result<Unpacked, StoreError> {
    let fault = |fault| match fault {
        Fault::Io(error) => StoreError::io("read", source)(error),
        Fault::Truncated => damaged(source, "it is truncated".to_owned()),
        Fault::Damaged(what) => damaged(source, what),
    };
    let not = |why| StoreError::NotABundle { path: source.to_owned(), why };
    match tar.next() {
        Ok(Some((name, size))) if name == "oci-layout" => {
            if tar.small(&name, size, 4 << 10).map_err(fault)? != OCI_LAYOUT {
                return Err(damaged(source, "oci-layout".to_owned()));
            }
        }
        Err(Fault::Io(error)) => return Err(fault(Fault::Io(error))),
        _ => return Err(not("it does not begin like a bundle")),
    }
    let index = match tar.next().map_err(fault)? {
        Some((name, size)) if name == "index.json" => tar.small(&name, size, oci::MAX_MANIFEST).map_err(fault)?,
        _ => return Err(not("its second member is not index.json")),
    };
    let form = form(&index, source)?;
    for directory in ["blobs/", "blobs/sha256/"] {
        match tar.next().map_err(fault)? {
            Some((name, 0)) if name == directory => {}
            _ => return Err(damaged(source, format!("{directory} is at the wrong position"))),
        }
    }
    let mut unpacked = Unpacked { index, form, blobs: BTreeMap::new(), wrong: None };
    while let Some((name, size)) = tar.next().map_err(fault)? {
        let digest = name.strip_prefix("blobs/sha256/").and_then(|hex| Digest::from_hex(hex).ok());
        let last = unpacked.blobs.last_key_value().map(|(last, _)| *last);
        let Some(digest) = digest.filter(|digest| last.is_none_or(|last| last < *digest)) else {
            return Err(damaged(source, format!("unexpected member '{name}'")));
        };
        let path = staged(temp, &digest);
        let mut file = File::create_new(&path).map_err(StoreError::io("create", &path))?;
        let actual = tar.content(&name, size, &mut file).map_err(fault)?;
        if actual != digest {
            unpacked.wrong.get_or_insert((digest, actual));
        }
        unpacked.blobs.insert(digest, size);
    }
    Ok(unpacked)
}

/// Checks what the bundle says its version is; what form it says it has.
fn form(index: &[u8], source: &Path) -> Result<Form, StoreError> {
    let parsed: WireIndex =
        serde_json::from_slice(index).map_err(|_| damaged(source, "its index.json is not valid".to_owned()))?;
    match parsed.annotations.get(BUNDLE) {
        // Any other value differs from what is generated again.
        Some(found) if found == BUNDLE_VERSION && parsed.annotations.contains_key(PACKAGES) => Ok(Form::Packages),
        Some(found) if found == BUNDLE_VERSION => Ok(Form::Images),
        Some(found) => {
            let found = shortened(found, 20);
            Err(StoreError::BundleVersion { path: source.to_owned(), found })
        }
        None => {
            let why = "it is an image layout without a lockfile: use 'hermes import'";
            Err(StoreError::NotABundle { path: source.to_owned(), why })
        }
    }
}

/// What is in a bundle must be what its lock makes of it.
fn verify(unpacked: Unpacked, source: &Path, temp: TempDir) -> Result<StagedBundle, StoreError> {
    let Unpacked { index, form, blobs, wrong } = unpacked;
    let text = lock_text(&index, temp.path());
    let is_wrong = |digest: &Digest| wrong.is_some_and(|(wrong, _)| wrong == *digest);
    let text = match text {
        Some((digest, text)) if !is_wrong(&digest) => text,
        _ => match wrong {
            Some((expected, actual)) => {
                return Err(damaged(source, format!("the blob {expected} in it is {actual}")));
            }
            None => return Err(damaged(source, "its index.json does not reference a lockfile".to_owned())),
        },
    };
    let unreadable = |error| StoreError::BundleLock { path: source.to_owned(), source: Box::new(error) };
    let lock = lock::parse(&String::from_utf8_lossy(&text), &source.join("hermes.lock")).map_err(unreadable)?;
    let contents = Contents::of(&lock, form, text, source)?;
    if let Some((expected, actual)) = wrong {
        return Err(damaged(source, format!("{}, {expected}, is {actual}", contents.name(&expected))));
    }
    if contents.index != index {
        return Err(damaged(source, "its index.json does not match its lockfile".to_owned()));
    }
    let mut extra = blobs.clone();
    for (digest, size) in contents.order() {
        match extra.remove(digest) {
            None => return Err(damaged(source, format!("{}, {digest}, is not in it", contents.name(digest)))),
            Some(actual) if actual != size => {
                let name = contents.name(digest);
                return Err(damaged(source, format!("{name}, {digest}, should have {size} bytes and has {actual}")));
            }
            Some(_) => {}
        }
    }
    if let Some((digest, _)) = extra.first_key_value() {
        return Err(damaged(source, format!("its lockfile does not reference the blob {digest}")));
    }
    let blobs = contents.blobs.keys().copied().collect();
    Ok(StagedBundle { lock, form, parts: contents.parts, blobs, temp })
}

/// The lock, to which the index leads, and its digest.
fn lock_text(index: &[u8], temp: &Path) -> Option<(Digest, Vec<u8>)> {
    let index: WireIndex = serde_json::from_slice(index).ok()?;
    let is_lock = |entry: &&Descriptor| entry.annotations.get(PART).is_some_and(|part| part == "lock");
    let entry = index.manifests.iter().find(is_lock)?;
    let manifest = atomic::read_limited(&staged(temp, &entry.digest), oci::MAX_MANIFEST).ok()?;
    let Ok(Document::Manifest(manifest)) = Document::parse(&manifest, Some(oci::MANIFEST)) else { return None };
    let digest = manifest.layers.first()?.digest;
    Some((digest, atomic::read_limited(&staged(temp, &digest), MAX_LOCK).ok()?))
}

fn damaged(path: &Path, what: String) -> StoreError {
    StoreError::Bundle { path: path.to_owned(), what }
}

/// Tells how far the bundle is read.
struct Counted<'a, R> {
    inner: R,
    reporter: &'a dyn Reporter,
    task: TaskId,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.reporter.advance(self.task, length as u64);
        Ok(length)
    }
}
