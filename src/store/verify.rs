//! Looking at every byte of the store, and taking out what is not what it should be.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde::Serialize;

use crate::digest::Digest;
use crate::fs::boot;
use crate::fs::measure::{Counted, measure};
use crate::layer::{Depth, hash, show};
use crate::progress::Reporter;
use crate::reference::Reference;
use crate::store::durability::{open_directory, read_line};
use crate::store::layout::OCI_LAYOUT;
use crate::store::prune::is_document;
use crate::store::refs::ref_name;
use crate::store::staging::DONE;
use crate::store::{Closure, Store, StoreError};

/// What was looked at, and what is wrong.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verified {
    /// Blobs hashed.
    pub blobs: usize,
    /// Unpacked layers compared.
    pub layers: usize,
    /// Unpacked sources hashed.
    pub sources: usize,
    /// Bytes read.
    pub bytes: u64,
    /// What is wrong, by path.
    pub damage: Vec<Damage>,
}

/// One file that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
    /// What was done about it.
    pub treatment: Treatment,
}

/// What was done about damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Treatment {
    /// The blob, layer or name was taken out; the next pull or run brings it back.
    Removed,
    /// It was written anew.
    Rewritten,
    /// A running process uses it, so it stays for now.
    InUse,
    /// Nothing: something is missing, which the next pull brings back, or nothing was to be changed.
    Left,
}

/// What can be taken out as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Blob(Digest),
    Layer(Digest),
    Source(Digest),
}

/// What is wrong with a part, and which file or directory was looked at: device and inode.
struct Finding {
    part: Part,
    identity: (u64, u64),
    damage: Vec<(PathBuf, String)>,
    /// Only its `done` is wrong, which is written anew.
    settle: bool,
}

impl Store {
    /// Hashes every blob, compares every unpacked layer with its table of contents, and looks at names
    /// and the files of the layout; with `names`, only at what those lead to. What is damaged is taken
    /// out of the store or written anew, unless `dry_run` or while a running process uses it.
    ///
    /// # Errors
    /// A name of `names` whose file is damaged is none: it is reported. The system's, where the store
    /// cannot be listed or changed.
    pub fn verify(&self, names: &[Reference], dry_run: bool, reporter: &dyn Reporter) -> Result<Verified, StoreError> {
        let mut verified = Verified::default();
        // Names first: what they lead to depends on them.
        self.verify_refs(names, dry_run, &mut verified.damage)?;
        if names.is_empty() {
            self.verify_gc_roots(dry_run, &mut verified.damage)?;
            self.verify_layout(dry_run, &mut verified.damage)?;
        }
        let parts = self.parts(names, &mut verified.damage)?;
        verified.blobs = parts.iter().filter(|part| matches!(part, Part::Blob(_))).count();
        verified.layers = parts.iter().filter(|part| matches!(part, Part::Layer(_))).count();
        verified.sources = parts.len() - verified.blobs - verified.layers;
        let (findings, bytes) = self.look_at(&parts, reporter);
        verified.bytes = bytes;
        for finding in findings {
            let treatment = if dry_run { Treatment::Left } else { self.treat(&finding, reporter)? };
            let damage = finding.damage.into_iter();
            verified.damage.extend(damage.map(|(path, what)| Damage { path, what, treatment }));
        }
        verified.damage.sort();
        Ok(verified)
    }

    /// What is to be looked at, the largest first, so that no thread is left with it at the end.
    fn parts(&self, names: &[Reference], damage: &mut Vec<Damage>) -> Result<Vec<Part>, StoreError> {
        let mut parts = Vec::new();
        if names.is_empty() {
            let kinds = [
                ("blobs/sha256", Part::Blob as fn(Digest) -> Part),
                ("layers", Part::Layer),
                ("sources", Part::Source),
            ];
            for (directory, part) in kinds {
                let directory = self.path(directory);
                // A store of a hermes that had no sources.
                if part(Digest::of(b"")) == Part::Source(Digest::of(b"")) && !directory.exists() {
                    continue;
                }
                for entry in fs::read_dir(&directory).map_err(StoreError::io("read", &directory))? {
                    let entry = entry.map_err(StoreError::io("read", &directory))?;
                    match entry.file_name().to_str().and_then(|name| Digest::from_hex(name).ok()) {
                        Some(digest) => parts.push(part(digest)),
                        None => damage.push(Damage {
                            path: entry.path(),
                            what: "is not called by a digest; hermes does not use it".into(),
                            treatment: Treatment::Left,
                        }),
                    }
                }
            }
        } else {
            let mut needs = Closure::default();
            for name in names {
                // One that is damaged leads nowhere, and was reported.
                if let Ok(Some(top)) = self.find_ref(name) {
                    self.reach(&top, &mut needs, 0, &|_| Ok(()))?;
                }
            }
            parts.extend(needs.blobs.keys().copied().map(Part::Blob));
            parts.extend(needs.layers.keys().copied().map(Part::Layer));
            parts.retain(|part| fs::symlink_metadata(self.place(*part)).is_ok());
        }
        let size = |part: &Part| measure(&self.place(*part), &mut Counted::new()).bytes;
        parts.sort_by_cached_key(|part| (std::cmp::Reverse(size(part)), *part));
        Ok(parts)
    }

    fn place(&self, part: Part) -> PathBuf {
        match part {
            Part::Blob(digest) => self.blob_path(&digest),
            Part::Layer(diff_id) => self.layer(&diff_id),
            Part::Source(key) => self.source(&key),
        }
    }

    /// Looks at all parts, on all processors.
    fn look_at(&self, parts: &[Part], reporter: &dyn Reporter) -> (Vec<Finding>, u64) {
        let total = parts.iter().map(|part| measure(&self.place(*part), &mut Counted::new()).bytes).sum();
        let task = reporter.start("verifying", total);
        let (next, bytes) = (AtomicUsize::new(0), AtomicU64::new(0));
        let findings = Mutex::new(Vec::new());
        let advance = |read: u64| {
            bytes.fetch_add(read, Ordering::Relaxed);
            reporter.advance(task, read);
        };
        let work = || {
            while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Some(finding) = self.look(*part, &advance) {
                    findings.lock().unwrap_or_else(PoisonError::into_inner).push(finding);
                }
            }
        };
        let threads = thread::available_parallelism().map_or(1, usize::from).min(parts.len());
        thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        reporter.finish(task);
        let mut findings = findings.into_inner().unwrap_or_else(PoisonError::into_inner);
        findings.sort_by_key(|finding| finding.part);
        (findings, bytes.into_inner())
    }

    fn look(&self, part: Part, advance: &(dyn Fn(u64) + Sync)) -> Option<Finding> {
        let place = self.place(part);
        // Removed meanwhile: nothing is wrong with it.
        let identity = identity(&place)?;
        let mut settle = false;
        let damage = match part {
            Part::Blob(digest) => {
                self.blob_fault(&place, &digest, advance).map(|what| (place.clone(), what)).into_iter().collect()
            }
            Part::Source(key) => {
                let fault = self.source_fault(&key);
                advance(measure(&place, &mut Counted::new()).bytes);
                fault.map(|what| (self.source_path(&key), what)).into_iter().collect()
            }
            Part::Layer(diff_id) => {
                let done = place.join(DONE);
                let text = read_line(&done);
                let faults = if text.is_some() {
                    let faults = self.check_layer(&diff_id, Depth::Contents, advance);
                    let path = |path: &[u8]| place.join(OsStr::from_bytes(path));
                    faults.into_iter().map(|fault| (path(&fault.path), fault.what)).collect()
                } else {
                    vec![(done.clone(), "is missing: the layer is not whole".to_owned())]
                };
                let text = text.unwrap_or_default();
                settle = faults.is_empty() && !text.is_empty() && !boot::is_current(&text);
                if settle && !boot::is_id(&text) {
                    vec![(done, "is not what hermes writes there".to_owned())]
                } else {
                    faults
                }
            }
        };
        (settle || !damage.is_empty()).then_some(Finding { part, identity, damage, settle })
    }

    /// What is wrong with the blob at `path`.
    fn blob_fault(&self, path: &Path, expected: &Digest, advance: &dyn Fn(u64)) -> Option<String> {
        let meta = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => return Some(error.to_string()),
            Ok(meta) => meta,
        };
        if !meta.is_file() {
            return Some("is not a file".into());
        }
        match self.inner.trust.open(path).and_then(|mut file| hash(&mut file, advance)) {
            Ok(actual) if actual == *expected => None,
            Ok(actual) => Some(format!("its content is {actual}")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(error.to_string()),
        }
    }

    /// Takes a damaged part out, if it is still the one that was looked at and nobody uses it.
    fn treat(&self, finding: &Finding, reporter: &dyn Reporter) -> Result<Treatment, StoreError> {
        let place = self.place(finding.part);
        if finding.settle {
            let directory = open_directory(&place).map_err(StoreError::io("read", &place))?;
            return self.settle(&directory).map(|()| Treatment::Rewritten);
        }
        let gate = self.close_gate(reporter)?;
        let leased = self.leases(gate.is_some())?;
        let used = leased.iter().any(|(_, needs)| match finding.part {
            Part::Blob(digest) => needs.blobs.contains_key(&digest),
            Part::Layer(diff_id) => needs.layers.contains_key(&diff_id),
            Part::Source(key) => needs.sources.contains_key(&key),
        });
        if used {
            return Ok(Treatment::InUse);
        }
        if identity(&place) == Some(finding.identity) {
            let mut trash = self.trash()?;
            trash.take(&place)?;
            if let Part::Layer(_) = finding.part {
                // They have its files too. One that is leased has none of it, or the layer were leased.
                let leased = leased.iter().flat_map(|(_, needs)| &needs.trees).copied().collect();
                self.take_roots(&mut trash, &leased)?;
            }
            drop(gate);
            trash.empty()?;
        }
        Ok(Treatment::Removed)
    }

    /// Looks at `refs/`, or only at those of `names`.
    fn verify_refs(&self, names: &[Reference], dry_run: bool, damage: &mut Vec<Damage>) -> Result<(), StoreError> {
        let directory = self.path("refs");
        let wanted: BTreeSet<PathBuf> = names.iter().map(|name| self.ref_path(name)).collect();
        let mut paths = Vec::new();
        for entry in fs::read_dir(&directory).map_err(StoreError::io("read", &directory))? {
            paths.push(entry.map_err(StoreError::io("read", &directory))?.path());
        }
        for path in paths.into_iter().filter(|path| names.is_empty() || wanted.contains(path)) {
            let wrong = match self.read_ref(path.clone()) {
                Ok(None) => continue,
                Err(error) => Some(error_text(&error)),
                Ok(Some(wire)) if !path.ends_with(ref_name(&wire.name)) => {
                    Some(format!("says {}, and is not the file for it", wire.name))
                }
                Ok(Some(wire)) if !is_document(&wire.target.media_type) => {
                    Some("does not lead to an index or a manifest".into())
                }
                Ok(Some(wire)) => {
                    if !self.has_blob(&wire.target) {
                        let what = format!("leads to {}, which is not in the store", wire.target.digest);
                        damage.push(Damage { path, what, treatment: Treatment::Left });
                    }
                    continue;
                }
            };
            if let Some(what) = wrong {
                damage.push(self.take_out(path, what, dry_run)?);
            }
        }
        Ok(())
    }

    fn verify_gc_roots(&self, dry_run: bool, damage: &mut Vec<Damage>) -> Result<(), StoreError> {
        for entry in self.gc_root_files()? {
            let what = match self.read_gc_root(&entry) {
                Ok(Some(_)) => continue,
                Ok(None) => "does not name the lock file that it was made for".to_owned(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => error.to_string(),
            };
            damage.push(self.take_out(entry, what, dry_run)?);
        }
        Ok(())
    }

    /// A small file that others make again.
    fn take_out(&self, path: PathBuf, what: String, dry_run: bool) -> Result<Damage, StoreError> {
        if dry_run {
            return Ok(Damage { path, what, treatment: Treatment::Left });
        }
        self.discard(&path)?;
        Ok(Damage { path, what, treatment: Treatment::Removed })
    }

    /// Looks at what makes the store an image layout. All of it can be written anew.
    fn verify_layout(&self, dry_run: bool, damage: &mut Vec<Damage>) -> Result<(), StoreError> {
        let treatment = if dry_run { Treatment::Left } else { Treatment::Rewritten };
        if !self.is_file("oci-layout", OCI_LAYOUT) {
            let what = "is not what makes this an OCI image layout".to_owned();
            damage.push(Damage { path: self.path("oci-layout"), what, treatment });
            if !dry_run {
                self.publish("oci-layout", OCI_LAYOUT)?;
            }
        }
        let _guard = self.lock_refs()?;
        // Names that cannot be read were taken out, unless nothing was to be changed.
        let Ok(refs) = self.refs() else { return Ok(()) };
        if !self.is_file("index.json", &self.index_of(refs)?) {
            let what = "does not list the names that the store has".to_owned();
            damage.push(Damage { path: self.path("index.json"), what, treatment });
            if !dry_run {
                self.write_index()?;
            }
        }
        Ok(())
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// The causes of an error: what it is about is said by the path.
fn error_text(error: &StoreError) -> String {
    let mut text = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = if text.is_empty() { error.to_string() } else { format!("{text}: {error}") };
        cause = error.source();
    }
    show(if text.is_empty() { error.to_string() } else { text }.as_bytes())
}
