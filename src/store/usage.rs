//! Where the room in the store goes: one walk, nothing hashed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::digest::Digest;
use crate::fs::measure::{Counted, measure};
use crate::reference::Reference;
use crate::store::gc::GcRoot;
use crate::store::totals::{Object, Totals};
use crate::store::{Closure, Store, StoreError};

/// All that is kept by digest.
#[derive(Debug, Default)]
pub(super) struct Usage {
    pub(super) blobs: BTreeMap<Digest, Object>,
    pub(super) layers: BTreeMap<Digest, Object>,
    pub(super) trees: BTreeMap<Digest, Object>,
    pub(super) sources: BTreeMap<Digest, Object>,
    pub(super) partial: BTreeMap<Digest, Object>,
}

/// Where the room goes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DiskUsage {
    /// Blobs.
    pub blobs: Totals,
    /// Unpacked layers.
    pub layers: Totals,
    /// Merged trees.
    pub trees: Totals,
    /// Unpacked sources.
    pub sources: Totals,
    /// Blobs that came in part.
    pub partial: Totals,
    /// What is being made, and roots of runs on old kernels.
    pub tmp: Totals,
    /// What is being removed.
    pub trash: Totals,
    /// Records of runs, by month.
    pub records: Totals,
    /// The whole store.
    pub total: Totals,
    /// Each name.
    pub images: Vec<ImageUsage>,
    /// Lock files whose images are kept, whether or not a name leads to them.
    pub locks: Vec<PathBuf>,
    /// What a `gc` without options would remove now; `None` where it would not work.
    pub garbage: Option<Totals>,
    /// Why it would not.
    #[serde(skip)]
    pub trouble: Option<StoreError>,
}

/// What an image takes.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageUsage {
    /// Its name.
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
    /// Of those in `needs`, what is there.
    pub(super) fn of(&self, needs: &Closure) -> Totals {
        let blobs = needs.blobs.keys().filter_map(|digest| self.blobs.get(digest));
        let layers = needs.layers.keys().filter_map(|diff_id| self.layers.get(diff_id));
        let trees = needs.trees.iter().filter_map(|chain| self.trees.get(chain));
        let sources = needs.sources.keys().filter_map(|key| self.sources.get(key));
        Totals::of(blobs.chain(layers).chain(trees).chain(sources))
    }

    /// When what is in `needs` was last used as a whole, which cannot be later than any of its layers;
    /// `None` where none is unpacked.
    pub(super) fn last_used(&self, needs: &Closure) -> Option<SystemTime> {
        needs.layers.keys().filter_map(|diff_id| self.layers.get(diff_id)).map(|layer| layer.used).min()
    }
}

impl Store {
    /// Looks at all that is kept by digest, except what is in `known` already.
    pub(super) fn measure(&self, known: &Usage) -> Usage {
        let mut counted = Counted::new();
        Usage {
            blobs: things(&self.path("blobs/sha256"), &known.blobs, &mut counted),
            // Before the trees, which may share files with them.
            layers: things(&self.path("layers"), &known.layers, &mut counted),
            trees: things(&self.path("roots"), &known.trees, &mut counted),
            sources: things(&self.path("sources"), &known.sources, &mut counted),
            partial: things(&self.path("partial"), &known.partial, &mut counted),
        }
    }

    /// Where the room in the store goes.
    ///
    /// # Errors
    /// [`StoreError::Ref`]; the system's.
    pub fn disk_usage(&self) -> Result<DiskUsage, StoreError> {
        let usage = self.measure(&Usage::default());
        let (blobs, layers) = (Totals::of(usage.blobs.values()), Totals::of(usage.layers.values()));
        let (trees, partial) = (Totals::of(usage.trees.values()), Totals::of(usage.partial.values()));
        let [tmp, trash, records] = ["tmp", "trash", "records"].map(|name| content(&self.path(name)));
        let sources = Totals::of(usage.sources.values());
        let total = Totals::sum(&[blobs, layers, trees, sources, partial, tmp, trash, records]);
        let mut images = Vec::new();
        for (reference, top) in self.refs()? {
            let mut needs = Closure::default();
            // Of a damaged image, what can still be told.
            self.reach(&top, &mut needs, 0, &|_| Ok(()))?;
            let pulled = self.ref_time(&reference);
            images.push((reference, needs, pulled));
        }
        let alone = |at: usize, needs: &Closure| {
            let mut own = needs.clone();
            for (_, other, _) in images.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, image)| image) {
                own.blobs.retain(|digest, _| !other.blobs.contains_key(digest));
                own.layers.retain(|diff_id, _| !other.layers.contains_key(diff_id));
                own.sources.retain(|key, _| !other.sources.contains_key(key));
                own.trees.retain(|chain| !other.trees.contains(chain));
            }
            own
        };
        let rows = images.iter().enumerate().map(|(at, (reference, needs, pulled))| {
            let all = usage.of(needs);
            let used = usage.last_used(needs).map_or(*pulled, |used| used.max(*pulled));
            ImageUsage {
                reference: reference.clone(),
                bytes: all.bytes,
                inodes: all.inodes,
                unique_bytes: usage.of(&alone(at, needs)).bytes,
                last_used: DateTime::<Utc>::from(used).to_rfc3339_opts(SecondsFormat::Secs, true),
            }
        });
        let rows = rows.collect();
        // A file there that is damaged is `verify`'s to tell of.
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

impl GcRoot {
    /// The name, if it is one.
    pub(super) fn name(&self) -> Option<&Reference> {
        match self {
            Self::Name(name) => Some(name),
            _ => None,
        }
    }
}

/// The entries of `directory` that are called by a digest.
fn things(directory: &Path, known: &BTreeMap<Digest, Object>, counted: &mut Counted) -> BTreeMap<Digest, Object> {
    let Ok(entries) = fs::read_dir(directory) else { return BTreeMap::new() };
    let things = entries.flatten().filter_map(|entry| {
        let digest = Digest::from_hex(entry.file_name().to_str()?).ok()?;
        if let Some(thing) = known.get(&digest) {
            return Some((digest, *thing));
        }
        let used = entry.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        Some((digest, Object { room: measure(&entry.path(), counted), used }))
    });
    things.collect()
}

/// All that is in `directory`.
pub(super) fn content(directory: &Path) -> Totals {
    let mut totals = Totals::default();
    let mut counted = Counted::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        totals.add(measure(&entry.path(), &mut counted));
    }
    totals
}
