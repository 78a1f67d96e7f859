//! Verification: every byte of the store is read, and corrupt objects are removed.

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
use crate::hint::error_chain;
use crate::layer::Depth;
use crate::progress::Reporter;
use crate::reference::Reference;
use crate::store::durability::{open_directory, read_line};
use crate::store::layout::OCI_LAYOUT;
use crate::store::objects::{ObjectId, ObjectKind};
use crate::store::prune::is_document;
use crate::store::refs::ref_name;
use crate::store::staging::DONE;
use crate::store::{Closure, Store, StoreError};

/// The result of a verification.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verified {
    pub blobs: usize,
    /// Unpacked layers compared.
    pub layers: usize,
    /// Unpacked sources hashed.
    pub sources: usize,
    pub bytes: u64,
    /// Damaged files, by path.
    pub damage: Vec<Damage>,
}

/// A damaged file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Damage {
    pub path: PathBuf,
    pub what: String,
    /// What was done about it.
    pub treatment: Treatment,
}

/// What was done about damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Treatment {
    /// The object or name was removed; the next pull or run restores it.
    Removed,
    /// It was rewritten.
    Rewritten,
    /// Nothing, because a running process uses it.
    InUse,
    /// Nothing: a file is missing, which the next pull restores, or this was a dry run.
    Left,
}

/// The kinds of objects that are checked.
const CHECKED: [ObjectKind; 3] = [ObjectKind::Blob, ObjectKind::Layer, ObjectKind::Source];

/// The damage of an object, and the device and inode of the file or directory that was checked.
struct Finding {
    part: ObjectId,
    identity: (u64, u64),
    damage: Vec<(PathBuf, String)>,
    /// Whether only its `done` is wrong, which is rewritten.
    settle: bool,
}

impl Store {
    /// Hashes every blob, compares every unpacked layer with its table of contents, and checks names and the files of the
    /// layout; with `names`, checks only their closures. Damaged objects are removed from the store, and files of the layout
    /// rewritten, unless this is a `dry_run` or a running process uses them.
    ///
    /// # Errors
    /// The store cannot be listed or changed. Damage, also of the files of `names`, is no error.
    pub fn verify(&self, names: &[Reference], dry_run: bool, reporter: &dyn Reporter) -> Result<Verified, StoreError> {
        let mut verified = Verified::default();
        // Names first, since closures depend on them.
        self.verify_refs(names, dry_run, &mut verified.damage)?;
        if names.is_empty() {
            self.verify_gc_roots(dry_run, &mut verified.damage)?;
            self.verify_layout(dry_run, &mut verified.damage)?;
        }
        let parts = self.parts(names, &mut verified.damage)?;
        let count = |wanted| parts.iter().filter(|(kind, _)| *kind == wanted).count();
        [verified.blobs, verified.layers, verified.sources] = CHECKED.map(count);
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

    /// The objects to check, the largest first, so that no thread is left with a large one at the end.
    fn parts(&self, names: &[Reference], damage: &mut Vec<Damage>) -> Result<Vec<ObjectId>, StoreError> {
        let mut parts = Vec::new();
        if names.is_empty() {
            for kind in CHECKED {
                let directory = self.path(kind.directory());
                // Stores made before there were sources lack the directory.
                if kind == ObjectKind::Source && !directory.exists() {
                    continue;
                }
                for entry in fs::read_dir(&directory).map_err(StoreError::io("read", &directory))? {
                    let entry = entry.map_err(StoreError::io("read", &directory))?;
                    match entry.file_name().to_str().and_then(|name| Digest::from_hex(name).ok()) {
                        Some(digest) => parts.push((kind, digest)),
                        None => damage.push(Damage {
                            path: entry.path(),
                            what: "is not named by a digest; hermes does not use it".into(),
                            treatment: Treatment::Left,
                        }),
                    }
                }
            }
        } else {
            let mut needs = Closure::default();
            for name in names {
                // A damaged name has no closure; it was reported.
                if let Ok(Some(top)) = self.find_ref(name) {
                    self.reach(&top, &mut needs, 0, &|_| Ok(()))?;
                }
            }
            parts.extend(needs.objects().filter(|(kind, _)| CHECKED.contains(kind)));
            parts.retain(|part| fs::symlink_metadata(self.object_path(*part)).is_ok());
        }
        let size = |part: &ObjectId| measure(&self.object_path(*part), &mut Counted::new()).bytes;
        parts.sort_by_cached_key(|part| (std::cmp::Reverse(size(part)), *part));
        Ok(parts)
    }

    /// Checks all objects, on all processors.
    fn look_at(&self, parts: &[ObjectId], reporter: &dyn Reporter) -> (Vec<Finding>, u64) {
        let total = parts.iter().map(|part| measure(&self.object_path(*part), &mut Counted::new()).bytes).sum();
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

    fn look(&self, part: ObjectId, advance: &(dyn Fn(u64) + Sync)) -> Option<Finding> {
        let place = self.object_path(part);
        // One that was removed since it was listed is no damage.
        let identity = identity(&place)?;
        let mut settle = false;
        let damage = match part {
            // A merged tree is made again in every boot, and holds the files of the layers.
            (ObjectKind::Tree, _) => vec![],
            (ObjectKind::Blob, digest) => {
                self.blob_fault(&place, &digest, advance).map(|what| (place.clone(), what)).into_iter().collect()
            }
            (ObjectKind::Source, key) => {
                let fault = self.source_fault(&key);
                advance(measure(&place, &mut Counted::new()).bytes);
                fault.map(|what| (self.source_path(&key), what)).into_iter().collect()
            }
            (ObjectKind::Layer, diff_id) => {
                let done = place.join(DONE);
                let text = read_line(&done);
                let faults = if text.is_some() {
                    let faults = self.check_layer(&diff_id, Depth::Contents, advance);
                    let path = |path: &[u8]| place.join(OsStr::from_bytes(path));
                    faults.into_iter().map(|fault| (path(&fault.path), fault.what)).collect()
                } else {
                    vec![(done.clone(), "is missing: the layer is incomplete".to_owned())]
                };
                let text = text.unwrap_or_default();
                settle = faults.is_empty() && !text.is_empty() && !boot::is_current(&text);
                if settle && !boot::is_id(&text) {
                    vec![(done, "does not have the content that hermes writes".to_owned())]
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
        match self.inner.trust.open(path).and_then(|mut file| Digest::of_reader(&mut file, advance)) {
            Ok((actual, _)) if actual == *expected => None,
            Ok((actual, _)) => Some(format!("its content is {actual}")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(error.to_string()),
        }
    }

    /// Removes a damaged object, if it is still the one that was checked and no process uses it.
    fn treat(&self, finding: &Finding, reporter: &dyn Reporter) -> Result<Treatment, StoreError> {
        let place = self.object_path(finding.part);
        if finding.settle {
            let directory = open_directory(&place).map_err(StoreError::io("read", &place))?;
            return self.mark_durable(&directory).map(|()| Treatment::Rewritten);
        }
        let gate = self.close_gate(reporter)?;
        let leased = self.leases(gate.is_some())?;
        let used = leased.iter().any(|(_, needs)| needs.contains(&finding.part));
        if used {
            return Ok(Treatment::InUse);
        }
        if identity(&place) == Some(finding.identity) {
            let mut trash = self.trash()?;
            trash.take(&place)?;
            if finding.part.0 == ObjectKind::Layer {
                // Merged trees share its files. A leased tree does not, or the layer would be leased, too.
                let leased = leased.iter().flat_map(|(_, needs)| needs.digests(ObjectKind::Tree)).collect();
                self.take_roots(&mut trash, &leased)?;
            }
            drop(gate);
            trash.empty()?;
        }
        Ok(Treatment::Removed)
    }

    /// Checks `refs/`, or only the files of `names`.
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
                Err(error) => Some(causes(&error)),
                Ok(Some(wire)) if !path.ends_with(ref_name(&wire.name)) => {
                    Some(format!("contains the name {}, which belongs in another file", wire.name))
                }
                Ok(Some(wire)) if !is_document(&wire.target.media_type) => {
                    Some("does not reference an index or a manifest".into())
                }
                Ok(Some(wire)) => {
                    if !self.has_blob(&wire.target) {
                        let what = format!("references {}, which is not in the store", wire.target.digest);
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
                Ok(None) => "does not contain the path of the lockfile that it is named for".to_owned(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => error.to_string(),
            };
            damage.push(self.take_out(entry, what, dry_run)?);
        }
        Ok(())
    }

    /// Removes a small file that is made again when it is needed.
    fn take_out(&self, path: PathBuf, what: String, dry_run: bool) -> Result<Damage, StoreError> {
        if dry_run {
            return Ok(Damage { path, what, treatment: Treatment::Left });
        }
        self.discard(&path)?;
        Ok(Damage { path, what, treatment: Treatment::Removed })
    }

    /// Checks the files that make the store an image layout. All of them can be rewritten.
    fn verify_layout(&self, dry_run: bool, damage: &mut Vec<Damage>) -> Result<(), StoreError> {
        let treatment = if dry_run { Treatment::Left } else { Treatment::Rewritten };
        if !self.is_file("oci-layout", OCI_LAYOUT) {
            let what = "does not have the content of an OCI image layout".to_owned();
            damage.push(Damage { path: self.path("oci-layout"), what, treatment });
            if !dry_run {
                self.publish("oci-layout", OCI_LAYOUT)?;
            }
        }
        let _guard = self.lock_refs()?;
        // Names that cannot be read were taken out, unless nothing was to be changed.
        let Ok(refs) = self.refs() else { return Ok(()) };
        if !self.is_file("index.json", &self.index_of(refs)?) {
            let what = "does not list the names in the store".to_owned();
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

/// The causes of an error, without its subject, which the path of the damage names.
fn causes(error: &StoreError) -> String {
    error_chain(std::error::Error::source(error).unwrap_or(error))
}
