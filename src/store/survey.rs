//! Where the room in the store goes: one walk, nothing hashed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::digest::Digest;
use crate::fs::measure::{Counted, Room, measure};
use crate::reference::Reference;
use crate::store::mark::Holder;
use crate::store::{Needs, Store, StoreError};

/// How many things there are, and what they take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Blobs, layers, …
    pub count: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Files, directories and links on disk.
    pub inodes: u64,
}

impl Tally {
    pub(super) fn add(&mut self, room: Room) {
        self.count += 1;
        self.bytes += room.bytes;
        self.inodes += room.inodes;
    }

    /// All of `things`.
    pub(super) fn of<'a>(things: impl IntoIterator<Item = &'a Thing>) -> Self {
        let mut tally = Self::default();
        for thing in things {
            tally.add(thing.room);
        }
        tally
    }

    /// All of `parts` together.
    pub(super) fn sum(parts: &[Self]) -> Self {
        parts.iter().fold(Self::default(), |sum, part| Self {
            count: sum.count + part.count,
            bytes: sum.bytes + part.bytes,
            inodes: sum.inodes + part.inodes,
        })
    }
}

/// Something in the store that has a digest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thing {
    pub(super) room: Room,
    /// When it was last used; of a blob, when it came.
    pub(super) used: SystemTime,
}

/// All that is kept by digest.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) blobs: BTreeMap<Digest, Thing>,
    pub(super) layers: BTreeMap<Digest, Thing>,
    pub(super) trees: BTreeMap<Digest, Thing>,
    pub(super) sources: BTreeMap<Digest, Thing>,
    pub(super) partial: BTreeMap<Digest, Thing>,
}

/// Where the room goes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Usage {
    /// Blobs.
    pub blobs: Tally,
    /// Unpacked layers.
    pub layers: Tally,
    /// Merged trees.
    pub trees: Tally,
    /// Unpacked sources.
    pub sources: Tally,
    /// Blobs that came in part.
    pub partial: Tally,
    /// What is being made, and roots of runs on old kernels.
    pub tmp: Tally,
    /// What is being removed.
    pub trash: Tally,
    /// Records of runs, by month.
    pub records: Tally,
    /// The whole store.
    pub total: Tally,
    /// Each name.
    pub images: Vec<ImageUsage>,
    /// Lock files whose images are kept, whether or not a name leads to them.
    pub locks: Vec<PathBuf>,
    /// What a `gc` without options would remove now; `None` where it would not work.
    pub garbage: Option<Tally>,
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

impl Survey {
    /// Of those in `needs`, what is there.
    pub(super) fn of(&self, needs: &Needs) -> Tally {
        let blobs = needs.blobs.keys().filter_map(|digest| self.blobs.get(digest));
        let layers = needs.layers.keys().filter_map(|diff_id| self.layers.get(diff_id));
        let trees = needs.trees.iter().filter_map(|chain| self.trees.get(chain));
        let sources = needs.sources.keys().filter_map(|key| self.sources.get(key));
        Tally::of(blobs.chain(layers).chain(trees).chain(sources))
    }

    /// When what is in `needs` was last used as a whole, which cannot be later than any of its layers;
    /// `None` where none is unpacked.
    pub(super) fn last_used(&self, needs: &Needs) -> Option<SystemTime> {
        needs.layers.keys().filter_map(|diff_id| self.layers.get(diff_id)).map(|layer| layer.used).min()
    }
}

impl Store {
    /// Looks at all that is kept by digest, except what is in `known` already.
    pub(super) fn survey(&self, known: &Survey) -> Survey {
        let mut counted = Counted::new();
        Survey {
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
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let survey = self.survey(&Survey::default());
        let (blobs, layers) = (Tally::of(survey.blobs.values()), Tally::of(survey.layers.values()));
        let (trees, partial) = (Tally::of(survey.trees.values()), Tally::of(survey.partial.values()));
        let [tmp, trash, records] = ["tmp", "trash", "records"].map(|name| content(&self.path(name)));
        let sources = Tally::of(survey.sources.values());
        let total = Tally::sum(&[blobs, layers, trees, sources, partial, tmp, trash, records]);
        let mut images = Vec::new();
        for (reference, top) in self.refs()? {
            let mut needs = Needs::default();
            // Of a damaged image, what can still be told.
            self.reach(&top, &mut needs, 0, &|_| Ok(()))?;
            let pulled = self.ref_time(&reference);
            images.push((reference, needs, pulled));
        }
        let alone = |at: usize, needs: &Needs| {
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
            let all = survey.of(needs);
            let used = survey.last_used(needs).map_or(*pulled, |used| used.max(*pulled));
            ImageUsage {
                reference: reference.clone(),
                bytes: all.bytes,
                inodes: all.inodes,
                unique_bytes: survey.of(&alone(at, needs)).bytes,
                last_used: DateTime::<Utc>::from(used).to_rfc3339_opts(SecondsFormat::Secs, true),
            }
        });
        let rows = rows.collect();
        // A file there that is damaged is `verify`'s to tell of.
        let entries = self.seen_entries()?;
        let locks = entries.iter().filter_map(|entry| self.read_entry(entry).ok().flatten()).collect();
        let (garbage, trouble) = match self.garbage(&survey) {
            Ok(tally) => (Some(tally), None),
            Err(error) => (None, Some(error)),
        };
        Ok(Usage {
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

impl Holder {
    /// The name, if it is one.
    pub(super) fn name(&self) -> Option<&Reference> {
        match self {
            Self::Name(name) => Some(name),
            _ => None,
        }
    }
}

/// The entries of `directory` that are called by a digest.
fn things(directory: &Path, known: &BTreeMap<Digest, Thing>, counted: &mut Counted) -> BTreeMap<Digest, Thing> {
    let Ok(entries) = fs::read_dir(directory) else { return BTreeMap::new() };
    let things = entries.flatten().filter_map(|entry| {
        let digest = Digest::from_hex(entry.file_name().to_str()?).ok()?;
        if let Some(thing) = known.get(&digest) {
            return Some((digest, *thing));
        }
        let used = entry.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        Some((digest, Thing { room: measure(&entry.path(), counted), used }))
    });
    things.collect()
}

/// All that is in `directory`.
pub(super) fn content(directory: &Path) -> Tally {
    let mut tally = Tally::default();
    let mut counted = Counted::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        tally.add(measure(&entry.path(), &mut counted));
    }
    tally
}
