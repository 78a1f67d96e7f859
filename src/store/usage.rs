//! Disk usage of the store, measured in one walk without reading files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::digest::Digest;
use crate::fs::measure::{Counted, measure};
use crate::reference::Reference;
use crate::store::layout::RECORDS;
use crate::store::objects::{ObjectId, ObjectKind};
use crate::store::totals::{Object, Totals};
use crate::store::{Closure, Store, StoreError};

/// All objects of the store, and what they take.
#[derive(Debug, Default)]
pub(super) struct Usage {
    pub(super) objects: BTreeMap<ObjectId, Object>,
    /// Blobs that came in part.
    pub(super) partial: BTreeMap<Digest, Object>,
}

/// Disk usage of the store.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DiskUsage {
    pub blobs: Totals,
    pub layers: Totals,
    pub trees: Totals,
    pub sources: Totals,
    /// Blobs that came in part.
    pub partial: Totals,
    /// The staging area, which also holds the roots of runs on old kernels.
    pub tmp: Totals,
    /// What is being removed.
    pub trash: Totals,
    /// Records of runs, by month.
    pub records: Totals,
    /// The whole store.
    pub total: Totals,
    /// The images, by name.
    pub images: Vec<ImageUsage>,
    /// Lock files whose images are kept, whether or not a name leads to them.
    pub locks: Vec<PathBuf>,
    /// What a `gc` without options would remove now; `None` where it would fail.
    pub garbage: Option<Totals>,
    /// Why it would fail.
    #[serde(skip)]
    pub trouble: Option<StoreError>,
}

/// Disk usage of an image.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageUsage {
    pub reference: Reference,
    /// Bytes on disk of its blobs and layers.
    pub bytes: u64,
    /// Its files, directories and links.
    pub inodes: u64,
    /// Of these bytes, those that no other name shares.
    pub unique_bytes: u64,
    /// When it was last used, to the day: RFC 3339.
    pub last_used: String,
}

impl Usage {
    /// What those objects of `closure` take that are in the store.
    pub(super) fn of(&self, closure: &Closure) -> Totals {
        Totals::of(closure.objects().filter_map(|id| self.objects.get(&id)))
    }

    /// What all objects of a kind take.
    pub(super) fn of_kind(&self, kind: ObjectKind) -> Totals {
        Totals::of(self.objects.iter().filter(|((of, _), _)| *of == kind).map(|(_, object)| object))
    }

    /// When everything in `closure` was last used together, which cannot be later than the last use of any of its layers;
    /// `None` where no layer is unpacked.
    pub(super) fn last_used(&self, closure: &Closure) -> Option<SystemTime> {
        let layers = closure.digests(ObjectKind::Layer);
        layers.filter_map(|diff_id| self.objects.get(&(ObjectKind::Layer, diff_id))).map(|layer| layer.used).min()
    }
}

impl Store {
    /// Measures all objects, except those that were measured in `known`.
    pub(super) fn measure(&self, known: &Usage) -> Usage {
        let mut counted = Counted::new();
        let mut usage = Usage::default();
        // Layers before merged trees, which may share files with them.
        for kind in [ObjectKind::Blob, ObjectKind::Layer, ObjectKind::Tree, ObjectKind::Source] {
            let known = |digest: &Digest| known.objects.get(&(kind, *digest)).copied();
            let found = objects(&self.path(kind.directory()), &known, &mut counted);
            usage.objects.extend(found.into_iter().map(|(digest, object)| ((kind, digest), object)));
        }
        let known = |digest: &Digest| known.partial.get(digest).copied();
        usage.partial = objects(&self.path("partial"), &known, &mut counted);
        usage
    }

    /// The disk usage of the store, by kind of object and by image.
    pub fn disk_usage(&self) -> Result<DiskUsage, StoreError> {
        let usage = self.measure(&Usage::default());
        let [trees, layers, sources, blobs] = ObjectKind::ALL.map(|kind| usage.of_kind(kind));
        let partial = Totals::of(usage.partial.values());
        let [tmp, trash, records] = ["tmp", "trash", RECORDS].map(|name| content(&self.path(name)));
        let total = Totals::sum(&[blobs, layers, trees, sources, partial, tmp, trash, records]);
        let mut images = Vec::new();
        for (reference, top) in self.refs()? {
            let mut needs = Closure::default();
            // A damaged image counts with what can still be found.
            self.reach(&top, &mut needs, 0, &|_| Ok(()))?;
            let pulled = self.ref_time(&reference);
            images.push((reference, needs, pulled));
        }
        let alone = |at: usize, needs: &Closure| {
            let others = || images.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, (_, needs, _))| needs);
            let own = needs.objects().filter(|id| !others().any(|other| other.contains(id)));
            Totals::of(own.filter_map(|id| usage.objects.get(&id)))
        };
        let rows = images.iter().enumerate().map(|(at, (reference, needs, pulled))| {
            let all = usage.of(needs);
            let used = usage.last_used(needs).map_or(*pulled, |used| used.max(*pulled));
            ImageUsage {
                reference: reference.clone(),
                bytes: all.bytes,
                inodes: all.inodes,
                unique_bytes: alone(at, needs).bytes,
                last_used: DateTime::<Utc>::from(used).to_rfc3339_opts(SecondsFormat::Secs, true),
            }
        });
        let rows = rows.collect();
        // `verify` reports damaged files.
        let entries = self.gc_root_files()?;
        let locks = entries.iter().filter_map(|entry| self.read_gc_root(entry).ok().flatten()).collect();
        let (garbage, trouble) = match self.garbage(&usage) {
            Ok(totals) => (Some(totals), None),
            Err(error) => (None, Some(error)),
        };
        Ok(DiskUsage {
            blobs,
            layers,
            trees,
            sources,
            partial,
            tmp,
            trash,
            records,
            total,
            images: rows,
            locks,
            garbage,
            trouble,
        })
    }

    /// When `name` was set.
    pub(super) fn ref_time(&self, name: &Reference) -> SystemTime {
        let meta = fs::symlink_metadata(self.ref_path(name));
        meta.and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// The entries of `directory` whose names are digests.
fn objects(
    directory: &Path,
    known: &dyn Fn(&Digest) -> Option<Object>,
    counted: &mut Counted,
) -> BTreeMap<Digest, Object> {
    let Ok(entries) = fs::read_dir(directory) else { return BTreeMap::new() };
    let objects = entries.flatten().filter_map(|entry| {
        let digest = Digest::from_hex(entry.file_name().to_str()?).ok()?;
        if let Some(object) = known(&digest) {
            return Some((digest, object));
        }
        let used = entry.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        Some((digest, Object { room: measure(&entry.path(), counted), used }))
    });
    objects.collect()
}

/// What everything in `directory` takes.
pub(super) fn content(directory: &Path) -> Totals {
    let mut totals = Totals::default();
    let mut counted = Counted::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        totals.add(measure(&entry.path(), &mut counted));
    }
    totals
}
